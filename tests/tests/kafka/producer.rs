//! A producer, while a broker refuses records or is away.

use kafka::{Error, Producer, Record};
use testbed::Kafka;

use testbed::events::{PATIENCE, produce, properties, read_all};

/// Later records must not take the place of a refused one.
#[test]
fn nothing_is_delivered_after_a_refused_record() {
    let kafka = Kafka::shared();
    let topic = testbed::unique("refused");
    kafka.create_topic(&topic, 1, &[("max.message.bytes", "1000")]);
    // Each record in its own request, several in flight.
    let properties = properties(kafka.bootstrap(), &[("batch.num.messages", "1")]);
    let producer = Producer::new(&properties).expect("the properties are valid");
    let large = [7; 5_000];
    for value in [b"a", &large[..], b"b", b"c", b"d"] {
        let record = Record { topic: &topic, partition: Some(0), value: Some(value), ..Record::default() };
        // The error may be known before the last record is sent.
        if let Err(error) = producer.send(&record, PATIENCE) {
            assert!(matches!(error, Error::Fatal { .. }), "{error}");
        }
    }
    let error = producer.flush(PATIENCE).expect_err("the large one cannot be delivered");
    assert!(matches!(error, Error::Fatal { .. }), "{error}");
    let record = Record { topic: &topic, partition: Some(0), value: Some(b"e"), ..Record::default() };
    assert!(matches!(producer.send(&record, PATIENCE), Err(Error::Fatal { .. })));
    // Records in flight had as much time to arrive as a new producer needs.
    produce(kafka.bootstrap(), &topic, 0, ["from that record on"]);
    let (_, high) = kafka.watermarks(&topic, 0);
    let events = read_all(kafka.bootstrap(), &topic, 0, high);
    let values: Vec<_> = events.iter().filter_map(|event| event.value.as_deref()).collect();
    assert_eq!(values, [&b"a"[..], b"from that record on"]);
}

#[test]
fn records_wait_for_a_broker_that_is_away() {
    let kafka = Kafka::start();
    let topic = kafka.topic("away", 1);
    let producer = Producer::new(&properties(kafka.bootstrap(), &[])).expect("the properties are valid");
    let send = |range: std::ops::Range<u32>| {
        for n in range {
            let value = n.to_be_bytes();
            let record = Record { topic: &topic, partition: Some(0), value: Some(&value), ..Record::default() };
            assert!(producer.send(&record, PATIENCE).expect("it is accepted"));
        }
    };
    send(0..100);
    assert!(producer.flush(PATIENCE).expect("nothing failed"));
    kafka.kill9();
    send(100..1_000);
    assert_eq!(producer.delivered(), 100);
    kafka.start_again();
    assert!(producer.flush(PATIENCE).expect("nothing failed"));
    let events = read_all(kafka.bootstrap(), &topic, 0, 1_000);
    let values: Vec<_> = events.into_iter().map(|event| event.value).collect();
    assert_eq!(values, (0..1_000_u32).map(|n| Some(n.to_be_bytes().to_vec())).collect::<Vec<_>>());
}

#[test]
fn a_missing_topic_is_named_in_the_error() {
    let topic = testbed::unique("missing");
    let properties = properties(Kafka::shared().bootstrap(), &[("topic.metadata.propagation.max.ms", "100")]);
    let producer = Producer::new(&properties).expect("the properties are valid");
    let record = Record { topic: &topic, partition: None, value: Some(b"a"), ..Record::default() };
    producer.send(&record, PATIENCE).expect("a topic's state is learnt later");
    let error = producer.flush(PATIENCE).expect_err("there is no such topic").to_string();
    assert!(error.contains(&topic) && error.contains("create the topic"), "{error}");
}
