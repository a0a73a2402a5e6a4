//! Queries, ranges and producing, on the embedded broker. The `tests` crate covers what that lacks on a real Kafka:
//! transactions, deletion, compaction.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::TimestampType;
use kafka::{Cluster, EmbeddedBroker, Error, Producer, Properties, Reader, Record, TopicPartition, Watermarks};
use testbed::events::{PATIENCE, broker, produce, properties, read_all};
use testbed::wire;

fn cluster(broker: &EmbeddedBroker) -> Cluster {
    let properties = properties(broker.bootstrap_servers(), &[]);
    Cluster::new(&properties, PATIENCE).expect("the properties are valid")
}

#[test]
fn topics_and_watermarks_are_found() {
    let broker = broker(&[("t", 3)]);
    produce(broker.bootstrap_servers(), "t", 2, ["a", "b"]);
    let cluster = cluster(&broker);
    assert!(!cluster.id().expect("the broker answers").is_empty());
    let topic = cluster.topic("t").expect("the broker answers");
    let topic = topic.expect("it was created");
    assert_eq!(topic.partitions, 3);
    let [empty, full] = [0, 2].map(|n| TopicPartition::new("t", n));
    let marks = cluster.watermarks(&[full.clone(), empty.clone(), full.clone()]);
    let expected = |high| Watermarks { low: 0, high, stable: high };
    let expected = BTreeMap::from([(empty, expected(0)), (full, expected(2))]);
    assert_eq!(marks.expect("the broker answers"), expected);
}

#[test]
fn lag_is_never_negative() {
    let marks = Watermarks { low: 3, high: 20, stable: 10 };
    assert_eq!([0, 9, 10, 11].map(|next| marks.lag(next)), [10, 1, 0, 0]);
}

#[test]
fn missing_partition_is_named() {
    let broker = broker(&[("t", 1)]);
    let cluster = cluster(&broker);
    let [there, missing] = [0, 5].map(|n| TopicPartition::new("t", n));
    let error = cluster.watermarks(&[there, missing]).expect_err("one is missing");
    assert!(error.to_string().contains("t/5"), "{error}");
}

#[test]
fn unreachable_cluster_is_an_error_in_time() {
    let properties = properties("127.0.0.1:1", &[]);
    let cluster = Cluster::new(&properties, Duration::from_millis(300)).expect("it is lazy");
    let error = cluster.topic("t").expect_err("nobody listens");
    assert!(matches!(&error, Error::Client { .. }), "{error}");
    assert!(error.to_string().contains("topics t"), "{error}");
    assert!(cluster.id().is_err());
    assert!(cluster.watermarks(&[TopicPartition::new("t", 0)]).is_err());
}

fn values(reader: &mut Reader, range: std::ops::Range<i64>) -> (Vec<i64>, kafka::Read) {
    let mut offsets = Vec::new();
    let partition = TopicPartition::new("t", 0);
    let read = reader.read(&partition, range, |event| {
        offsets.push(event.offset);
        Ok::<_, Error>(())
    });
    (offsets, read.expect("the broker answers"))
}

#[test]
fn range_ends_at_the_end_of_the_partition() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    produce(bootstrap, "t", 0, (0..3_000_u32).map(u32::to_be_bytes));
    let mut reader = Reader::new(&properties(bootstrap, &[]), PATIENCE).expect("valid properties");
    for (range, expected) in [
        (0..3_000, 0..3_000),
        (100..101, 100..101),
        (2_990..5_000, 2_990..3_000),
        (7..7, 7..7),
        (3_000..3_001, 3_000..3_000),
    ] {
        let (offsets, read) = values(&mut reader, range.clone());
        assert_eq!(offsets, expected.clone().collect::<Vec<_>>(), "{range:?}");
        assert_eq!((read.next, read.events), (expected.end, offsets.len() as u64), "{range:?}");
        assert!(read.erased.is_empty());
    }
}

#[test]
fn error_of_the_visitor_ends_the_reading() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    produce(bootstrap, "t", 0, ["a", "b", "c"]);
    let mut reader = Reader::new(&properties(bootstrap, &[]), PATIENCE).expect("valid properties");
    let mut seen = 0;
    let result = reader.read(&TopicPartition::new("t", 0), 0..3, |event| {
        seen += 1;
        match event.offset {
            1 => Err(Error::Fatal { reason: "enough".to_owned() }),
            _ => Ok(()),
        }
    });
    assert!(matches!(result, Err(Error::Fatal { .. })));
    assert_eq!(seen, 2);
    // The reader can be used again.
    assert_eq!(values(&mut reader, 0..3).0, [0, 1, 2]);
}

#[test]
fn offsets_are_found_by_time() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    for timestamp in [1_000, 2_000, 3_000] {
        let record = wire::Record { timestamp, ..wire::Record::default() };
        wire::produce(bootstrap, "t", 0, &wire::batch(TimestampType::Create, &[record]));
    }
    let partition = TopicPartition::new("t", 0);
    let cluster = cluster(&broker);
    // The embedded broker always answers with the end, so this only shows that the query works.
    let found = cluster.offsets_for_time(std::slice::from_ref(&partition), 2_000);
    assert!(found.expect("the broker answers").contains_key(&partition));
}

#[test]
fn records_arrive_in_order() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    // A queue too small for all records: sending waits for room.
    let more = [("queue.buffering.max.messages", "10")];
    let producer = Producer::new(&properties(bootstrap, &more)).expect("valid properties");
    for n in 0..1_000_u32 {
        let value = n.to_be_bytes();
        let record = Record {
            topic: "t",
            partition: Some(0),
            key: (n % 2 == 0).then_some(b"k"),
            value: (n % 3 == 0).then_some(&value),
            headers: &[("h", Some(b"1")), ("h", None)],
        };
        assert!(producer.send(&record, PATIENCE).expect("it is accepted"));
    }
    assert!(producer.flush(PATIENCE).expect("it is delivered"));
    assert_eq!(producer.delivered(), 1_000);
    let events = read_all(bootstrap, "t", 0, 1_000);
    for (n, event) in (0..1_000_u32).zip(&events) {
        assert_eq!(event.key.is_some(), n % 2 == 0);
        assert_eq!(event.value, (n % 3 == 0).then(|| n.to_be_bytes().to_vec()));
        let name = b"h".to_vec();
        assert_eq!(event.headers, [(name.clone(), Some(b"1".to_vec())), (name, None)]);
    }
}

#[test]
fn producer_waits_until_the_timeout() {
    let more = [("queue.buffering.max.messages", "1")];
    let producer = Producer::new(&properties("127.0.0.1:1", &more)).expect("valid properties");
    let record = Record { topic: "t", value: Some(b"v"), ..Record::default() };
    assert!(producer.send(&record, Duration::ZERO).expect("there is room"));
    let refused = producer.send(&record, Duration::from_millis(50));
    assert!(!refused.expect("nothing failed"), "there was no room");
    let flushed = producer.flush(Duration::from_millis(50));
    assert!(!flushed.expect("nothing failed"), "nothing was delivered");
    assert_eq!(producer.delivered(), 0);
}

#[test]
fn refused_record_does_not_affect_others() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    let producer = Producer::new(&properties(bootstrap, &[])).expect("valid properties");
    let large = vec![0; 2_000_000];
    let record = |value| Record { topic: "t", value: Some(value), ..Record::default() };
    let error = producer.send(&record(&large), PATIENCE).expect_err("it is too large");
    assert!(matches!(&error, Error::Client { .. }), "{error}");
    let nul = Record { headers: &[("a\0b", None)], ..record(b"v") };
    assert!(matches!(producer.send(&nul, PATIENCE), Err(Error::Client { .. })));
    assert!(producer.send(&record(b"v"), PATIENCE).expect("it is accepted"));
    assert!(producer.flush(PATIENCE).expect("it is delivered"));
}

#[test]
fn refused_property_is_named_without_its_value() {
    let refused = |name: &str, value: &str| {
        let all = [("bootstrap.servers", "127.0.0.1:1"), (name, value)];
        let properties = Properties::new(all).expect("librdkafka checks it later");
        let error = Producer::new(&properties).expect_err("librdkafka refuses it");
        assert!(matches!(&error, Error::Property { name: n, .. } if n == name), "{error}");
        error.to_string()
    };
    refused("no.such.property", "1");
    let error = refused("socket.timeout.ms", "hunter2");
    assert!(!error.contains("hunter2"), "{error}");
}
