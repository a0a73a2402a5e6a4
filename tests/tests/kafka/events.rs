//! Events, byte for byte.

use evidence::{LeafHasher, TimestampType};
use kafka::{Item, Polled, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::Kafka;

use testbed::events::{Kept, PATIENCE, alone, read_all};
use testbed::wire;

/// The records are encoded by hand, so this also shows that a broker changes nothing.
#[test]
fn peculiar_records_arrive_unchanged() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("peculiar", 1);
    let records = wire::peculiar_records();
    let batch = wire::batch(TimestampType::Create, &records);
    assert_eq!(wire::produce(kafka.bootstrap(), &topic, 0, &batch), 0);
    let end = i64::try_from(records.len()).expect("few");
    let read = read_all(kafka.bootstrap(), &topic, 0, end);
    let expected = (0..).zip(records).map(|(offset, record)| Kept {
        offset,
        timestamp: record.timestamp,
        timestamp_type: TimestampType::Create,
        key: record.key,
        value: record.value,
        headers: record.headers,
    });
    assert_eq!(read, expected.collect::<Vec<_>>());
}

#[test]
fn broker_and_producer_timestamps_are_told_apart() {
    let kafka = Kafka::shared();
    let topic = testbed::unique("append");
    kafka.create_topic(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let record = wire::Record { timestamp: 5, ..wire::Record::default() };
    wire::produce(kafka.bootstrap(), &topic, 0, &wire::batch(TimestampType::Create, &[record]));
    let read = read_all(kafka.bootstrap(), &topic, 0, 1);
    assert_eq!(read[0].timestamp_type, TimestampType::LogAppend);
    assert!(read[0].timestamp > 1_600_000_000_000, "{:?}", read[0]);
}

#[test]
fn largest_record_and_100000_headers_arrive() {
    let kafka = Kafka::shared();
    let topic = testbed::unique("large");
    kafka.create_topic(&topic, 1, &[("max.message.bytes", "20000000")]);
    let header = |i: u32| (i.to_string().into_bytes(), (!i.is_multiple_of(3)).then(|| i.to_be_bytes().to_vec()));
    let many = wire::Record { headers: (0..100_000).map(header).collect(), ..wire::Record::default() };
    // Far more than one fetch.
    let large = wire::Record { value: Some(vec![7; 15_000_000]), ..wire::Record::default() };
    let small = wire::Record { value: Some(vec![8]), ..wire::Record::default() };
    let records = [many, large, small];
    for record in &records {
        let batch = wire::batch(TimestampType::Create, std::slice::from_ref(record));
        wire::produce(kafka.bootstrap(), &topic, 0, &batch);
    }
    let read = read_all(kafka.bootstrap(), &topic, 0, 3);
    for (read, record) in read.iter().zip(&records) {
        // assert_eq would print the whole records.
        assert!(read.headers == record.headers && read.value == record.value, "at {}", read.offset);
    }
}

/// Compression is not part of an event.
#[test]
fn all_codecs_lead_to_the_same_leaves() {
    let kafka = Kafka::shared();
    let mut all = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = kafka.topic(codec, 1);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("compression.type", codec)
            .set("linger.ms", "20")
            .create()
            .expect("the settings are valid");
        for i in 0..2_000_u32 {
            let key = i.to_be_bytes();
            let value = format!("the same words again and again, and {i}").repeat(3);
            let header = Header { key: "h", value: (i % 2 == 0).then_some(&key) };
            let record = BaseRecord::to(&topic).partition(0).key(&key).payload(&value);
            let record = record.timestamp(1_700_000_000_000 + i64::from(i));
            let sent = producer.send(record.headers(OwnedHeaders::new().insert(header)));
            sent.map_err(|(error, _)| error).expect("the queue has room");
        }
        producer.flush(PATIENCE).expect("the broker is there");
        all.push((codec, leaves(kafka.bootstrap(), &topic, 2_000)));
    }
    let (_, uncompressed) = &all[0];
    assert_eq!(uncompressed.len(), 2_000);
    for (codec, leaves) in &all {
        assert!(leaves == uncompressed, "{codec}");
    }
}

fn leaves(bootstrap: &str, topic: &str, end: i64) -> Vec<evidence::Hash> {
    let mut consumer = alone(bootstrap);
    consumer.start([(TopicPartition::new(topic, 0), 0)]).expect("it is in no group");
    let mut hasher = LeafHasher::new();
    loop {
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            while let Some(item) = batch.next_item() {
                match item {
                    Item::Event { event, .. } => hasher.push(&event),
                    Item::End { next } if next == end => {
                        return hasher.drain().leaves.to_vec();
                    }
                    Item::End { .. } => {}
                    Item::Error(error) => panic!("{error}"),
                }
            }
        }
    }
}
