//! Memory of partitions that are fetched and not read. A program of its own, so that no other test adds to the memory.

use std::fs;
use std::time::{Duration, Instant};

use kafka::{Consumer, Item, Polled, Producer, Record, TopicPartition};
use testbed::Kafka;
use testbed::events::{PATIENCE, properties};

/// More partitions than the defaults are made for.
const PARTITIONS: u32 = 256;
/// More events than are fetched ahead for one partition. If every partition held this many, all would exceed the limit.
const EVENTS_EACH: u32 = 2_500;
const LIMIT_MB: u64 = 200;

#[test]
fn unread_partitions_hold_little_memory() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("unread", i32::try_from(PARTITIONS).expect("few"));
    // Small events are the worst case, because librdkafka's overhead per event dominates.
    produce(kafka, &topic, &[7; 100]);
    let shared = properties(kafka.bootstrap(), &[]).shared_by(PARTITIONS as usize);
    let mut consumer = Consumer::standalone(&shared, "alone").expect("the properties are valid");
    let partitions: Vec<_> = (0..PARTITIONS).map(|n| TopicPartition::new(topic.as_str(), n)).collect();
    let before = resident_mb();
    consumer.start(partitions.iter().map(|partition| (partition.clone(), 0))).expect("it is in no group");
    partitions.iter().for_each(|partition| consumer.hold(partition));
    let held = settled_mb(&mut consumer).saturating_sub(before);
    // All partitions fetch ahead, but only a little. An event takes more memory than its bytes.
    let fetched_ahead_mb = 128_000 * 100 / 1_000_000;
    assert!((fetched_ahead_mb..LIMIT_MB).contains(&held), "{held} MB");

    // Nothing was lost.
    partitions.iter().for_each(|partition| consumer.release(partition));
    let mut next = vec![0; partitions.len()];
    let deadline = Instant::now() + PATIENCE;
    while next.iter().any(|next| *next < i64::from(EVENTS_EACH)) {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {next:?}");
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            let next = &mut next[usize::try_from(batch.partition().partition).expect("small")];
            while let Some(item) = batch.next_item() {
                match item {
                    Item::Event { event, .. } if event.offset == *next => *next += 1,
                    Item::End { .. } => {}
                    other => panic!("{other:?} instead of offset {next}"),
                }
            }
        }
    }
}

fn produce(kafka: &Kafka, topic: &str, value: &[u8]) {
    // Clients fetch whole batches. These are as large as other producers make them.
    let more = [("linger.ms", "50"), ("batch.size", "16384"), ("queue.buffering.max.messages", "20000")];
    let producer = Producer::new(&properties(kafka.bootstrap(), &more)).expect("the properties are valid");
    for partition in 0..PARTITIONS {
        for _ in 0..EVENTS_EACH {
            let record = Record { topic, partition: Some(partition), value: Some(value), ..Record::default() };
            assert!(producer.send(&record, PATIENCE).expect("it is accepted"));
        }
    }
    assert!(producer.flush(PATIENCE).expect("it is delivered"));
}

/// The memory when it no longer grows.
fn settled_mb(consumer: &mut Consumer) -> u64 {
    let (mut largest, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        let polled = consumer.poll(Duration::from_millis(100)).expect("the client works");
        assert!(!matches!(polled, Polled::Batch(_)), "{polled:?} of a held partition");
        let now = resident_mb();
        if now > largest {
            (largest, since) = (now, Instant::now());
        }
    }
    largest
}

fn resident_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    let kb: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kb / 1024
}
