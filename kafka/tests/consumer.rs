//! Reading partitions, on the embedded broker. The `tests` crate covers rebalances of all protocols on a real Kafka.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kafka::{Consumer, Error, Item, Polled, ReadErrorKind, Rebalance, Subscription, TopicPartition};
use testbed::events::{PATIENCE, alone, broker, produce, properties, read_to};

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = [u8; 4]> {
    range.map(u32::to_be_bytes)
}

/// Polls until every partition is read to its end. Returns the offsets of the events, in the order read.
fn read_each_to(consumer: &mut Consumer, ends: &[(&TopicPartition, i64)]) -> BTreeMap<TopicPartition, Vec<i64>> {
    let deadline = Instant::now() + PATIENCE;
    let mut read: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    while ends.iter().any(|(partition, end)| consumer.position(partition) != Some(*end)) {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {read:?}");
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            let partition = batch.partition().clone();
            while let Some(item) = batch.next_item() {
                match item {
                    Item::Event { event, .. } => {
                        let offsets = read.entry(partition.clone()).or_default();
                        offsets.push(event.offset);
                    }
                    Item::End { .. } => {}
                    Item::Error(error) => panic!("{error}"),
                }
            }
        }
    }
    read
}

#[test]
fn reading_begins_at_the_started_offset() {
    let broker = broker(&[("t", 3)]);
    let bootstrap = broker.bootstrap_servers();
    let partitions: Vec<_> = (0..3).map(|n| TopicPartition::new("t", n)).collect();
    for n in 0..3 {
        produce(bootstrap, "t", n, numbers(0..100));
    }
    let mut consumer = alone(bootstrap);
    let starts = [(partitions[0].clone(), 0), (partitions[1].clone(), 97)];
    consumer.start(starts).expect("it is in no group");
    let read = read_each_to(&mut consumer, &[(&partitions[0], 100), (&partitions[1], 100)]);
    let expected = BTreeMap::from([
        (partitions[0].clone(), (0..100).collect::<Vec<_>>()),
        (partitions[1].clone(), vec![97, 98, 99]),
    ]);
    assert_eq!(read, expected);

    // Start one more, and one again from another offset: the third continues.
    produce(bootstrap, "t", 1, numbers(0..1));
    let starts = [(partitions[2].clone(), 99), (partitions[0].clone(), 98)];
    consumer.start(starts).expect("it is in no group");
    let ends = [(&partitions[0], 100), (&partitions[1], 101), (&partitions[2], 100)];
    let read = read_each_to(&mut consumer, &ends);
    let expected = BTreeMap::from([
        (partitions[0].clone(), vec![98, 99]),
        (partitions[1].clone(), vec![100]),
        (partitions[2].clone(), vec![99]),
    ]);
    assert_eq!(read, expected);

    // A stopped partition returns nothing.
    consumer.stop(&partitions[..1]).expect("librdkafka accepts it");
    assert_eq!(consumer.position(&partitions[0]), None);
    produce(bootstrap, "t", 0, numbers(0..1));
    produce(bootstrap, "t", 1, numbers(0..1));
    let read = read_each_to(&mut consumer, &[(&partitions[1], 102)]);
    assert_eq!(read, BTreeMap::from([(partitions[1].clone(), vec![101])]));
}

#[test]
fn rest_of_a_batch_is_returned_again() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    produce(bootstrap, "t", 0, numbers(0..2_500));
    let partition = TopicPartition::new("t", 0);
    let mut consumer = alone(bootstrap);
    consumer.start([(partition.clone(), 0)]).expect("it is in no group");
    let mut offsets = Vec::new();
    while offsets.len() < 2_500 {
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            // Takes seven items, then drops the batch.
            for _ in 0..7 {
                if let Some(Item::Event { event, .. }) = batch.next_item() {
                    offsets.push(event.offset);
                }
            }
        }
        assert_eq!(consumer.position(&partition), offsets.last().map(|last| last + 1).or(Some(0)));
    }
    assert_eq!(offsets, (0..2_500).collect::<Vec<_>>());
}

/// A read takes about half a megabyte from librdkafka's queue, so few large events.
#[test]
fn batch_of_large_events_is_small() {
    let broker = broker(&[("large", 1)]);
    let (len, count) = (20_000, 200);
    produce(broker.bootstrap_servers(), "large", 0, (0..count).map(|_| vec![7; len]));
    let mut consumer = alone(broker.bootstrap_servers());
    consumer.start([(TopicPartition::new("large", 0), 0)]).expect("it is in no group");
    let (mut next, mut bytes_most) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while next < count {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {next}");
        let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") else { continue };
        let mut bytes = 0;
        while let Some(item) = batch.next_item() {
            match item {
                Item::Event { event, .. } if event.offset == next => (next, bytes) = (next + 1, bytes + len),
                Item::End { .. } => {}
                other => panic!("{other:?} instead of offset {next}"),
            }
        }
        bytes_most = bytes_most.max(bytes);
    }
    assert!(bytes_most <= 512 * 1024, "{bytes_most} bytes");
}

#[test]
fn held_partition_is_not_read() {
    let broker = broker(&[("t", 2)]);
    let bootstrap = broker.bootstrap_servers();
    let [held, other] = [0, 1].map(|n| TopicPartition::new("t", n));
    let mut consumer = alone(bootstrap);
    consumer.start([(held.clone(), 0), (other.clone(), 0)]).expect("it is in no group");
    consumer.hold(&held);
    for n in 0..2 {
        produce(bootstrap, "t", n, numbers(0..50));
    }
    let read = read_each_to(&mut consumer, &[(&other, 50)]);
    assert_eq!(read.keys().collect::<Vec<_>>(), [&other]);
    // It is still held after another start.
    consumer.start([(held.clone(), 10)]).expect("it is in no group");
    produce(bootstrap, "t", 1, numbers(0..1));
    let read = read_each_to(&mut consumer, &[(&other, 51)]);
    assert_eq!(read.keys().collect::<Vec<_>>(), [&other]);
    consumer.release(&held);
    let read = read_each_to(&mut consumer, &[(&held, 50)]);
    assert_eq!(read, BTreeMap::from([(held, (10..50).collect::<Vec<_>>())]));
}

#[test]
fn missing_offset_is_an_error() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    produce(bootstrap, "t", 0, numbers(0..10));
    let partition = TopicPartition::new("t", 0);
    let mut consumer = alone(bootstrap);
    consumer.start([(partition.clone(), 1_000)]).expect("it is in no group");
    let error = read_to(&mut consumer, 10).expect_err("there are ten events");
    assert_eq!((error.kind, error.offset), (ReadErrorKind::OutOfRange, Some(1_000)));
    consumer.start([(partition, 8)]).expect("it is in no group");
    let offsets: Vec<_> = read_to(&mut consumer, 10).expect("these are there").iter().map(|kept| kept.offset).collect();
    assert_eq!(offsets, [8, 9]);
}

#[test]
fn negative_offset_or_foreign_partition_is_refused() {
    let broker = broker(&[("t", 1)]);
    let partition = TopicPartition::new("t", 0);
    let mut consumer = alone(broker.bootstrap_servers());
    // librdkafka takes -2 for the beginning, and would read other events.
    let refused = consumer.start([(partition.clone(), -2)]);
    assert!(matches!(&refused, Err(Error::Partition { partition: p, .. }) if *p == partition));
    assert_eq!(consumer.position(&partition), None);

    let mut consumer = subscribe(broker.bootstrap_servers(), &["t"], &[]);
    let refused = consumer.start([(partition.clone(), 0)]);
    assert!(matches!(&refused, Err(Error::Partition { partition: p, .. }) if *p == partition));
}

#[test]
fn waker_ends_a_wait() {
    let broker = broker(&[("t", 1)]);
    let mut consumer = alone(broker.bootstrap_servers());
    // A wake before the wait counts too.
    consumer.waker().wake();
    let begun = Instant::now();
    assert!(matches!(consumer.poll(PATIENCE), Ok(Polled::Idle)));
    let waker = consumer.waker();
    let other = thread::spawn(move || waker.wake());
    assert!(matches!(consumer.poll(PATIENCE), Ok(Polled::Idle)));
    assert!(begun.elapsed() < PATIENCE / 2);
    other.join().expect("it does not panic");
}

fn subscribe(bootstrap: &str, topics: &[&str], more: &[(&str, &str)]) -> Consumer {
    let subscription = Subscription {
        group: "group".to_owned(),
        topics: topics.iter().map(ToString::to_string).collect(),
        exclude: vec!["commitments".to_owned()],
    };
    Consumer::subscribe(&properties(bootstrap, more), &subscription).expect("it is accepted")
}

/// Polls until the group assigns partitions.
fn assigned(consumer: &mut Consumer) -> Vec<TopicPartition> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match consumer.poll(PATIENCE).expect("the client works") {
            Polled::Rebalance(Rebalance::Assigned(partitions)) => return partitions,
            Polled::Batch(batch) => panic!("{batch:?} before anything was started"),
            _ => {}
        }
    }
    panic!("no partitions within {PATIENCE:?}");
}

#[test]
fn pattern_skips_excluded_and_internal_topics() {
    let topics = [("orders", 2), ("commitments", 1), ("__offsets", 1), ("commitments2", 1)];
    let broker = broker(&topics);
    let mut consumer = subscribe(broker.bootstrap_servers(), &["^.*"], &[]);
    let mut partitions = assigned(&mut consumer);
    partitions.sort();
    let expected = [("commitments2", 0), ("orders", 0), ("orders", 1)];
    assert_eq!(partitions, expected.map(|(topic, n)| TopicPartition::new(topic, n)));
    let refused = consumer.start([(TopicPartition::new("commitments", 0), 0)]);
    assert!(matches!(refused, Err(Error::Partition { .. })));
}

/// Starts the partitions of a group one by one, and again from other offsets. An eager group can only replace its whole
/// assignment, and the other partitions must continue from their positions.
#[test]
fn partitions_of_a_group_start_one_by_one() {
    for strategy in ["range", "cooperative-sticky"] {
        let broker = broker(&[("t", 3)]);
        let bootstrap = broker.bootstrap_servers();
        for n in 0..3 {
            produce(bootstrap, "t", n, numbers(0..20));
        }
        let more = [("partition.assignment.strategy", strategy)];
        let mut consumer = subscribe(bootstrap, &["t"], &more);
        let mut partitions = assigned(&mut consumer);
        partitions.sort();
        let [a, b, c] = partitions.try_into().expect("three partitions");
        consumer.start([(a.clone(), 5)]).expect("it was given");
        let read = read_each_to(&mut consumer, &[(&a, 20)]);
        assert_eq!(read, BTreeMap::from([(a.clone(), (5..20).collect())]), "{strategy}");
        consumer.start([(b.clone(), 18), (c.clone(), 19)]).expect("they were given");
        let read = read_each_to(&mut consumer, &[(&b, 20), (&c, 20)]);
        assert_eq!(read[&b], [18, 19], "{strategy}");
        assert_eq!(read[&c], [19], "{strategy}");
        assert_eq!(read.get(&a).map_or(0, Vec::len), 0, "{strategy}");
        consumer.start([(c.clone(), 17)]).expect("it was given");
        let read = read_each_to(&mut consumer, &[(&c, 20)]);
        assert_eq!(read[&c], [17, 18, 19], "{strategy}");
        consumer.stop(std::slice::from_ref(&c)).expect("librdkafka accepts it");
        for n in 0..3 {
            produce(bootstrap, "t", n, numbers(0..1));
        }
        let read = read_each_to(&mut consumer, &[(&a, 21), (&b, 21)]);
        let expected = BTreeMap::from([(a, vec![20]), (b, vec![20])]);
        assert_eq!(read, expected, "{strategy}");
        consumer.start([(c.clone(), 20)]).expect("it is still ours");
        assert_eq!(read_each_to(&mut consumer, &[(&c, 21)])[&c], [20], "{strategy}");
    }
}

#[test]
fn idle_poll_sleeps() {
    let broker = broker(&[("t", 1)]);
    let mut consumer = alone(broker.bootstrap_servers());
    let partition = TopicPartition::new("t", 0);
    consumer.start([(partition.clone(), 0)]).expect("it is in no group");
    // The end of the empty partition is reported once.
    read_to(&mut consumer, 0).expect("it is there");
    let nap = Duration::from_millis(1_500);
    let begun = Instant::now();
    assert!(matches!(consumer.poll(nap), Ok(Polled::Idle)));
    assert!(begun.elapsed() >= nap);
}

/// Clients are made on one thread and used on another.
#[test]
fn clients_can_be_moved_and_shared() {
    fn moved<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    moved::<Consumer>();
    moved::<kafka::Reader>();
    shared::<kafka::Cluster>();
    shared::<kafka::Producer>();
    shared::<kafka::EmbeddedBroker>();
    shared::<kafka::Waker>();
}
