//! Recreated topics, deleted events, and brokers that go away.

use evidence::TimestampType;
use kafka::{Cluster, Error, ReadErrorKind, Reader, TopicPartition, Watermarks};
use testbed::Kafka;

use testbed::events::{PATIENCE, alone, produce, properties, read_to};
use testbed::wire;

fn cluster(kafka: &Kafka) -> Cluster {
    Cluster::new(&properties(kafka.bootstrap(), &[]), PATIENCE).expect("the properties are valid")
}

fn topic_id(cluster: &Cluster, name: &str) -> String {
    let topic = cluster.topic(name).expect("the broker answers");
    topic.and_then(|topic| topic.id).expect("it exists and has an id")
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = [u8; 4]> {
    range.map(u32::to_be_bytes)
}

#[test]
fn clusters_and_topics_are_described() {
    let kafka = Kafka::shared();
    let cluster = cluster(kafka);
    assert_eq!(cluster.id().expect("the broker answers").len(), 22);
    let [one, two] = [1, 2].map(|partitions| (kafka.topic("described", partitions), partitions.cast_unsigned()));
    let missing = testbed::unique("missing");
    let topics = cluster.topics([one.0.as_str(), missing.as_str(), two.0.as_str()]).expect("the broker answers");
    assert_eq!(topics.len(), 2);
    for (name, partitions) in [&one, &two] {
        assert_eq!(topics[name].partitions, *partitions);
        assert_eq!(topics[name].id, Some(topic_id(&cluster, name)));
    }
    assert_eq!(cluster.topic(&missing).expect("the broker answers"), None);
}

/// librdkafka continues at the same offset, and even the leader epoch is the same. Only the id differs.
#[test]
fn a_recreated_topic_differs_in_its_id_only() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("anew", 1);
    let cluster = cluster(kafka);
    let old = topic_id(&cluster, &topic);
    produce(kafka.bootstrap(), &topic, 0, numbers(0..10));
    let mut consumer = alone(kafka.bootstrap());
    consumer.start([(TopicPartition::new(topic.as_str(), 0), 0)]).expect("it is in no group");
    read_to(&mut consumer, 10).expect("nothing is wrong");

    kafka.delete_topic(&topic);
    assert_eq!(cluster.topic(&topic).expect("the broker answers"), None);
    kafka.create_topic(&topic, 1, &[]);
    let record = wire::Record { value: Some(b"new".to_vec()), ..wire::Record::default() };
    let batch = wire::batch(TimestampType::Create, &vec![record; 20]);
    wire::produce(kafka.bootstrap(), &topic, 0, &batch);
    match read_to(&mut consumer, 20) {
        Ok(events) => assert!(events.iter().all(|event| event.value.as_deref() == Some(b"new"))),
        // It looked before the new events were there.
        Err(failure) => assert_eq!(failure.kind, ReadErrorKind::OutOfRange, "{failure}"),
    }
    assert_ne!(topic_id(&cluster, &topic), old);
}

#[test]
fn reading_resumes_at_the_low_watermark_after_deletion() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("deleted", 1);
    let partition = TopicPartition::new(topic.as_str(), 0);
    produce(kafka.bootstrap(), &topic, 0, numbers(0..100));
    kafka.delete_records(&topic, 0, 60);
    let mut consumer = alone(kafka.bootstrap());
    consumer.start([(partition.clone(), 40)]).expect("it is in no group");
    let failure = read_to(&mut consumer, 100).expect_err("offset 40 was deleted");
    assert_eq!((failure.kind, failure.offset), (ReadErrorKind::OutOfRange, Some(40)), "{failure}");

    let marks = cluster(kafka).watermarks(std::slice::from_ref(&partition)).expect("the broker answers")[&partition];
    assert_eq!(marks, Watermarks { low: 60, high: 100, stable: 100 });
    consumer.start([(partition.clone(), marks.low)]).expect("it is in no group");
    let events = read_to(&mut consumer, 100).expect("these are there");
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), (60..100).collect::<Vec<_>>());

    // A reader of ranges reports the deleted events.
    let mut reader = Reader::new(&properties(kafka.bootstrap(), &[]), PATIENCE).expect("valid properties");
    for (range, erased, events, next) in
        [(50..70, Some(50..60), 10, 70), (10..20, Some(10..20), 0, 20), (90..200, None, 10, 100)]
    {
        let read = reader.read(&partition, range, |_| Ok::<(), Error>(())).expect("the broker answers");
        let erased: Vec<_> = erased.into_iter().collect();
        assert_eq!((read.erased, read.events, read.next), (erased, events, next));
    }
}

#[test]
fn offsets_are_found_by_time() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("times", 1);
    for timestamp in [1_000, 3_000, 2_000] {
        let record = wire::Record { timestamp, ..wire::Record::default() };
        wire::produce(kafka.bootstrap(), &topic, 0, &wire::batch(TimestampType::Create, &[record]));
    }
    let cluster = cluster(kafka);
    let partition = TopicPartition::new(topic.as_str(), 0);
    let found = |time| cluster.offsets_for_time(std::slice::from_ref(&partition), time).expect("an answer")[&partition];
    let times = [-5, 0, 1_000, 1_001, 3_000, 3_001];
    assert_eq!(times.map(found), [Some(0), Some(0), Some(0), Some(1), Some(1), None]);
}

#[test]
fn killed_broker_loses_and_repeats_nothing() {
    let kafka = Kafka::start();
    let topic = kafka.topic("killed", 2);
    let partitions = [0, 1].map(|n| TopicPartition::new(topic.as_str(), n));
    produce(kafka.bootstrap(), &topic, 0, numbers(0..5_000));
    produce(kafka.bootstrap(), &topic, 1, numbers(0..5_000));
    let mut consumer = alone(kafka.bootstrap());
    consumer.hold(&partitions[1]);
    consumer.start([(partitions[0].clone(), 0)]).expect("it is in no group");
    read_to(&mut consumer, 5_000).expect("nothing is wrong");
    // One partition is fetched and not read, the other is at its end.
    consumer.start([(partitions[1].clone(), 0)]).expect("it is in no group");
    consumer.hold(&partitions[1]);
    kafka.kill9();
    kafka.start_again();
    produce(kafka.bootstrap(), &topic, 0, numbers(0..10));
    let events = read_to(&mut consumer, 5_010).expect("the broker is back");
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), (5_000..5_010).collect::<Vec<_>>());
    consumer.release(&partitions[1]);
    let events = read_to(&mut consumer, 5_000).expect("the broker is back");
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), (0..5_000).collect::<Vec<_>>());
}
