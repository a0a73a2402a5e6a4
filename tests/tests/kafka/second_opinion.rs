//! What is read here is what Apache Kafka's own client reads: two clients that share no code.

use evidence::TimestampType;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::{JavaRecord, Kafka};

use testbed::events::{Kept, PATIENCE, read_all};

/// Enough for several batches of each codec, with every combination of the shapes below.
const RECORDS: u32 = 600;

/// Bytes that are the same in every run.
fn bytes(seed: u32, len: usize) -> Vec<u8> {
    let blocks = (0..len.div_ceil(32)).map(|block| evidence::sha256(format!("{seed} {block}").as_bytes()));
    blocks.flat_map(|hash| *hash.as_bytes()).take(len).collect()
}

/// A key, value or header value: null, empty, short, of lengths at which varints grow, or long.
fn shape(seed: u32, which: u32) -> Option<Vec<u8>> {
    let lens = [None, Some(0), Some(1), Some(12), Some(13), Some(14), Some(63), Some(64), Some(127), Some(8192)];
    lens[which as usize % lens.len()].map(|len| bytes(seed, len))
}

/// No, one, several and equal headers, with names of any text.
fn headers(seed: u32) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let names = ["", "a", "a", "traceparent", "grüße", "名前", "a name with spaces", "x"];
    let count = [0, 1, 2, 3, 8, 70][seed as usize % 6];
    (0..count).map(|n| (names[(seed + n) as usize % names.len()], shape(seed + n, seed / 7 + n))).collect()
}

fn java(kept: Kept) -> JavaRecord {
    let kind = match kept.timestamp_type {
        TimestampType::NotAvailable => "NO_TIMESTAMP".to_owned(),
        TimestampType::Create => format!("CreateTime:{}", kept.timestamp),
        TimestampType::LogAppend => format!("LogAppendTime:{}", kept.timestamp),
    };
    let name = |name| String::from_utf8(name).expect("the names above are text");
    JavaRecord {
        offset: kept.offset,
        timestamp: kind,
        key: kept.key,
        value: kept.value,
        headers: kept.headers.into_iter().map(|(bytes, value)| (name(bytes), value)).collect(),
    }
}

fn assert_both_read_the_same(codec: &str, timestamp_type: &str) {
    let kafka = Kafka::shared();
    let topic = testbed::unique(codec);
    kafka.create_topic(&topic, 1, &[("message.timestamp.type", timestamp_type)]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("compression.type", codec)
        .set("linger.ms", "20")
        .set("batch.num.messages", "100")
        .create()
        .expect("the settings are valid");
    for seed in 0..RECORDS {
        let (key, value, headers) = (shape(seed, seed), shape(seed + 1, seed / 10), headers(seed));
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }));
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).timestamp(1_600_000_000_000 + i64::from(seed));
        let record = match &key {
            Some(key) => record.key(key),
            None => record,
        };
        let record = match &value {
            Some(value) => record.payload(value),
            None => record,
        };
        producer.send(record.headers(headers)).map_err(|(error, _)| error).expect("the queue has room");
    }
    producer.flush(PATIENCE).expect("the broker is there");
    let ours = read_all(kafka.bootstrap(), &topic, 0, i64::from(RECORDS));
    let theirs = kafka.java_reads(&topic, RECORDS as usize);
    for (seed, (ours, theirs)) in ours.into_iter().map(java).zip(theirs).enumerate() {
        assert_eq!(ours, theirs, "{codec}, {timestamp_type}, record {seed}");
    }
}

#[test]
fn java_reads_the_same_of_uncompressed_records() {
    assert_both_read_the_same("none", "CreateTime");
}

#[test]
fn java_reads_the_same_of_broker_timestamps() {
    assert_both_read_the_same("none", "LogAppendTime");
}

#[test]
fn java_reads_the_same_of_gzip() {
    assert_both_read_the_same("gzip", "CreateTime");
}

#[test]
fn java_reads_the_same_of_snappy() {
    assert_both_read_the_same("snappy", "CreateTime");
}

#[test]
fn java_reads_the_same_of_lz4() {
    assert_both_read_the_same("lz4", "CreateTime");
}

#[test]
fn java_reads_the_same_of_zstd() {
    assert_both_read_the_same("zstd", "LogAppendTime");
}
