//! Events byte for byte, on the embedded broker.

use std::time::Duration;

use evidence::TimestampType;
use kafka::{Consumer, Polled, ReadErrorKind, TopicPartition};
use testbed::events::{Kept, alone, broker, read_all, read_to};
use testbed::wire::{self, Record};

fn kept(offset: i64, timestamp_type: TimestampType, record: &Record) -> Kept {
    let record = record.clone();
    Kept {
        offset,
        timestamp: record.timestamp,
        timestamp_type,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

/// The events of a partition that holds one batch of these records.
fn round_trip(kind: TimestampType, records: &[Record]) -> Vec<Kept> {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    wire::produce(bootstrap, "t", 0, &wire::batch(kind, records));
    let end = i64::try_from(records.len()).expect("few");
    read_all(bootstrap, "t", 0, end)
}

/// A consumer of a partition with these batches.
fn consumer_of(batches: &[&[u8]]) -> (kafka::EmbeddedBroker, Consumer, TopicPartition) {
    let broker = broker(&[("t", 1)]);
    for batch in batches {
        wire::produce(broker.bootstrap_servers(), "t", 0, batch);
    }
    let partition = TopicPartition::new("t", 0);
    let mut consumer = alone(broker.bootstrap_servers());
    let started = consumer.start([(partition.clone(), 0)]);
    started.expect("it is in no group");
    (broker, consumer, partition)
}

#[test]
fn peculiar_records_arrive_unchanged() {
    let records = wire::peculiar_records();
    let read = round_trip(TimestampType::Create, &records);
    let expected: Vec<_> =
        (0..).zip(&records).map(|(offset, record)| kept(offset, TimestampType::Create, record)).collect();
    assert_eq!(read, expected);
}

#[test]
fn timestamp_types_are_distinguished() {
    let record = Record { timestamp: 1_700_000_000_000, ..Record::default() };
    let read = round_trip(TimestampType::LogAppend, std::slice::from_ref(&record));
    assert_eq!(read, [kept(0, TimestampType::LogAppend, &record)]);
}

/// librdkafka's own parser returns names as C strings, cut at the NUL.
#[test]
fn header_names_with_a_nul_differ() {
    let value = Some(b"v\0w".to_vec());
    let record = |name: &[u8]| Record { headers: vec![(name.to_vec(), value.clone())], ..Record::default() };
    let records = [record(b"na\0me"), record(b"na\0other"), record(b"\0")];
    let read = round_trip(TimestampType::Create, &records);
    for (read, record) in read.iter().zip(&records) {
        assert_eq!(read.headers, record.headers);
    }
    assert_eq!(read.len(), records.len());
}

#[test]
fn a_hundred_thousand_headers_arrive() {
    let header = |i: u32| {
        let value = (!i.is_multiple_of(3)).then(|| i.to_be_bytes().to_vec());
        (i.to_string().into_bytes(), value)
    };
    let many = Record { headers: (0..100_000).map(header).collect(), ..Record::default() };
    let one = Record { headers: vec![header(7)], ..Record::default() };
    let records = [many, one, Record::default()];
    let read = round_trip(TimestampType::Create, &records);
    for (read, record) in read.iter().zip(&records) {
        // Not assert_eq, which would print them.
        assert!(read.headers == record.headers, "at {}", read.offset);
    }
    assert_eq!(read.len(), records.len());
}

#[test]
fn unparsable_headers_are_an_error() {
    let plain = Record { value: Some(b"v".to_vec()), ..Record::default() };
    let good = wire::batch(TimestampType::Create, std::slice::from_ref(&plain));
    // Three headers missing, a negative count, a byte after the last header.
    for raw in [&[6_u8][..], &[1], &[0, 7]] {
        let bad = wire::batch_with_raw_headers(&plain, raw);
        let (_broker, mut consumer, partition) = consumer_of(&[&good, &bad, &good]);
        let error = read_to(&mut consumer, 3).expect_err("offset 1 cannot be parsed");
        let found = (error.kind, error.offset);
        assert_eq!(found, (ReadErrorKind::Unreadable, Some(1)), "{raw:?}: {error}");
        // The next event exists, but is not returned. The position stays at the bad one.
        let polled = consumer.poll(Duration::from_millis(200));
        assert!(matches!(polled, Ok(Polled::Idle)), "{polled:?}");
        assert_eq!(consumer.position(&partition), Some(1));
    }
}

#[test]
fn damaged_record_is_an_error() {
    let record = Record { value: Some(b"value".to_vec()), ..Record::default() };
    let good = wire::batch(TimestampType::Create, &[record]);
    let mut damaged = good.clone();
    // A byte of the value: parsed without a checksum, it would be an event like any other.
    *damaged.iter_mut().rev().nth(2).expect("it is longer") ^= 1;
    let (_broker, mut consumer, partition) = consumer_of(&[&good, &damaged, &good]);
    for _ in 0..2 {
        let error = read_to(&mut consumer, 3).expect_err("offset 1 is damaged");
        assert_eq!(error.kind, ReadErrorKind::Unreadable, "{error}");
        assert_eq!(consumer.position(&partition), Some(1));
        // The stored record is damaged, so a second read fails too.
        let started = consumer.start([(partition.clone(), 1)]);
        started.expect("it is in no group");
    }
}
