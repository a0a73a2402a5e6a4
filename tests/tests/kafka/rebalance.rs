//! Groups whose members come and go, in all three protocols. A map of cursors stands in for the ledger.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka::{Consumer, Item, Polled, Rebalance, Subscription, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testbed::{Kafka, until};

use testbed::events::{PATIENCE, produce, properties};

const EAGER: &[(&str, &str)] = &[("partition.assignment.strategy", "range")];
const COOPERATIVE: &[(&str, &str)] = &[("partition.assignment.strategy", "cooperative-sticky")];
const NEW: &[(&str, &str)] = &[("group.protocol", "consumer")];

/// A member that starts its partitions at once, or only on demand.
struct Member {
    name: &'static str,
    consumer: Consumer,
    given: Vec<TopicPartition>,
    hesitates: bool,
}

/// The cursor of each partition, and the reader of each event.
#[derive(Default)]
struct Ledger {
    cursors: BTreeMap<TopicPartition, i64>,
    readers: BTreeMap<(TopicPartition, i64), &'static str>,
}

impl Member {
    fn join(kafka: &Kafka, name: &'static str, topic: &str, more: &[(&str, &str)]) -> Self {
        let subscription =
            Subscription { group: format!("group-{topic}"), topics: vec![topic.to_owned()], exclude: Vec::new() };
        let properties = properties(kafka.bootstrap(), more);
        let consumer = Consumer::subscribe(&properties, &subscription).expect("it is accepted");
        Self { name, consumer, given: Vec::new(), hesitates: false }
    }

    fn start(&mut self, ledger: &Ledger) {
        let at = |partition: &TopicPartition| ledger.cursors.get(partition).copied().unwrap_or(0);
        let unstarted = self.given.iter().filter(|partition| self.consumer.position(partition).is_none());
        let starts: Vec<_> = unstarted.map(|partition| (partition.clone(), at(partition))).collect();
        self.consumer.start(starts).expect("the group gave them");
    }

    /// Polls once. Each event must be the next one of its partition, even if another member read the one before.
    fn step(&mut self, ledger: &mut Ledger) {
        match self.consumer.poll(Duration::from_millis(20)).expect("the client works") {
            Polled::Batch(mut batch) => {
                let partition = batch.partition().clone();
                assert!(self.given.contains(&partition), "{} reads {partition} without owning it", self.name);
                let cursor = ledger.cursors.entry(partition.clone()).or_default();
                while let Some(item) = batch.next_item() {
                    match item {
                        Item::Event { event, .. } => {
                            assert_eq!(event.offset, *cursor, "{partition}, read by {}", self.name);
                            ledger.readers.insert((partition.clone(), event.offset), self.name);
                            *cursor += 1;
                        }
                        Item::End { next } => assert_eq!(next, *cursor, "{partition} ends, says {}", self.name),
                        Item::Error(error) => panic!("{partition}, read by {}: {error}", self.name),
                    }
                }
            }
            Polled::Rebalance(Rebalance::Assigned(partitions)) => {
                self.given.extend(partitions);
                if !self.hesitates {
                    self.start(ledger);
                }
            }
            Polled::Rebalance(Rebalance::Revoked(partitions) | Rebalance::Lost(partitions)) => {
                self.given.retain(|partition| !partitions.contains(partition));
            }
            Polled::Warning(_) | Polled::Idle => {}
        }
    }
}

/// Lets the members work until `done`.
#[track_caller]
fn work(
    what: &str,
    ledger: &mut Ledger,
    members: &mut [&mut Member],
    mut done: impl FnMut(&Ledger, &[&mut Member]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(ledger, members) {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; cursors {:?}", ledger.cursors);
        for member in members.iter_mut() {
            member.step(ledger);
        }
    }
}

/// Whether the members own these numbers of partitions.
fn have(counts: &'static [usize]) -> impl FnMut(&Ledger, &[&mut Member]) -> bool {
    move |_, members| members.iter().map(|member| member.given.len()).eq(counts.iter().copied())
}

/// Whether all partitions were read up to `end`.
fn read_to(end: i64) -> impl FnMut(&Ledger, &[&mut Member]) -> bool {
    move |ledger, _| ledger.cursors.len() == 4 && ledger.cursors.values().all(|cursor| *cursor == end)
}

struct Topic<'a> {
    kafka: &'a Kafka,
    name: String,
}

impl<'a> Topic<'a> {
    fn new(name: &str) -> Self {
        let kafka = Kafka::shared();
        Self { kafka, name: kafka.topic(name, 4) }
    }

    fn produce(&self, count: u32) {
        for partition in 0..4 {
            produce(self.kafka.bootstrap(), &self.name, partition, (0..count).map(u32::to_be_bytes));
        }
    }
}

/// Partitions move between members and back, and each event is read exactly once.
fn partitions_move(protocol: &'static [(&'static str, &'static str)], name: &str) {
    let topic = Topic::new(name);
    let mut ledger = Ledger::default();
    topic.produce(100);
    let mut a = Member::join(topic.kafka, "a", &topic.name, protocol);
    work("a reads alone", &mut ledger, &mut [&mut a], read_to(100));

    let mut b = Member::join(topic.kafka, "b", &topic.name, protocol);
    work("b is given its part", &mut ledger, &mut [&mut a, &mut b], have(&[2, 2]));
    // All partitions were at their end when the group rebalanced. librdkafka would continue one offset too far from
    // there.
    topic.produce(100);
    work("both read", &mut ledger, &mut [&mut a, &mut b], read_to(200));
    for reader in ["a", "b"] {
        let count = ledger.readers.iter().filter(|((_, offset), r)| *offset >= 100 && **r == reader).count();
        assert_eq!(count, 200, "read by {reader}");
    }

    drop(b);
    work("a has all again", &mut ledger, &mut [&mut a], have(&[4]));
    topic.produce(100);
    work("a reads on", &mut ledger, &mut [&mut a], read_to(300));
}

#[test]
fn partitions_move_in_an_eager_group() {
    partitions_move(EAGER, "eager");
}

#[test]
fn partitions_move_in_a_cooperative_group() {
    partitions_move(COOPERATIVE, "cooperative");
}

#[test]
fn partitions_move_in_the_new_protocol() {
    partitions_move(NEW, "new");
}

/// A member that does not know its cursor yet delays neither the group nor its own other partitions.
fn hesitating_delays_nobody(protocol: &'static [(&'static str, &'static str)], name: &str) {
    let topic = Topic::new(name);
    let mut ledger = Ledger::default();
    topic.produce(10);
    let mut a = Member::join(topic.kafka, "a", &topic.name, protocol);
    a.hesitates = true;
    work("a is given all", &mut ledger, &mut [&mut a], have(&[4]));
    let mut b = Member::join(topic.kafka, "b", &topic.name, protocol);
    work("b is given its part", &mut ledger, &mut [&mut a, &mut b], have(&[2, 2]));
    // b reads while a hesitates.
    let b_s = b.given.clone();
    work("b reads", &mut ledger, &mut [&mut a, &mut b], |ledger, _| {
        b_s.iter().all(|partition| ledger.cursors.get(partition) == Some(&10))
    });
    assert_eq!(ledger.cursors.len(), 2);
    // One at a time.
    for _ in 0..2 {
        let next = a.given.iter().find(|partition| a.consumer.position(partition).is_none());
        let next = next.expect("none was started").clone();
        a.consumer.start([(next.clone(), 0)]).expect("the group gave it");
        work("a reads one more", &mut ledger, &mut [&mut a, &mut b], |ledger, _| {
            ledger.cursors.get(&next) == Some(&10)
        });
    }
    a.hesitates = false;
    topic.produce(10);
    work("both read on", &mut ledger, &mut [&mut a, &mut b], read_to(20));
    // A member may also leave without having started its partitions.
    let mut c = Member::join(topic.kafka, "c", &topic.name, protocol);
    c.hesitates = true;
    work("c is given its part", &mut ledger, &mut [&mut a, &mut b, &mut c], |_, members| {
        !members[2].given.is_empty() && members.iter().map(|member| member.given.len()).sum::<usize>() == 4
    });
    drop(c);
    work("all are read again", &mut ledger, &mut [&mut a, &mut b], have(&[2, 2]));
    topic.produce(10);
    work("both read on", &mut ledger, &mut [&mut a, &mut b], read_to(30));
}

#[test]
fn hesitating_delays_nobody_in_an_eager_group() {
    hesitating_delays_nobody(EAGER, "hesitating-eager");
}

#[test]
fn hesitating_delays_nobody_in_a_cooperative_group() {
    hesitating_delays_nobody(COOPERATIVE, "hesitating-cooperative");
}

#[test]
fn hesitating_delays_nobody_in_the_new_protocol() {
    hesitating_delays_nobody(NEW, "hesitating-new");
}

/// A client as Kafka's own tools use it.
fn tool(topic: &Topic<'_>, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", topic.kafka.bootstrap()).set("group.id", group);
    config.create().expect("the settings are valid")
}

/// Lag tools rely on it.
#[test]
fn committed_offsets_show_in_the_group() {
    let topic = Topic::new("committed");
    let mut ledger = Ledger::default();
    topic.produce(10);
    let mut a = Member::join(topic.kafka, "a", &topic.name, COOPERATIVE);
    work("a reads", &mut ledger, &mut [&mut a], read_to(10));
    let offsets: Vec<_> = ledger.cursors.iter().map(|(partition, cursor)| (partition.clone(), *cursor)).collect();
    a.consumer.commit(&offsets).expect("it is accepted");
    let tool = tool(&topic, &format!("group-{}", topic.name));
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_range(&topic.name, 0, 3);
    work("the commit shows", &mut ledger, &mut [&mut a], |_, _| {
        let committed = tool.committed_offsets(list.clone(), PATIENCE).expect("the broker answers");
        committed.elements().iter().all(|element| element.offset() == rdkafka::Offset::Offset(10))
    });
}

/// Reading continues at the owner's cursor, not at the group's offset.
#[test]
fn group_offsets_are_never_read() {
    let topic = Topic::new("display");
    let mut ledger = Ledger::default();
    topic.produce(10);
    let mut a = Member::join(topic.kafka, "a", &topic.name, NEW);
    work("a reads", &mut ledger, &mut [&mut a], read_to(10));
    let offsets: Vec<_> = ledger.cursors.keys().map(|partition| (partition.clone(), 7)).collect();
    a.consumer.commit(&offsets).expect("it is accepted");
    drop(a);
    topic.produce(1);
    let mut b = Member::join(topic.kafka, "b", &topic.name, NEW);
    work("b reads", &mut ledger, &mut [&mut b], read_to(11));
}

/// A member that stops polling leaves the group. Others may read its partitions before it knows.
#[test]
fn member_without_polls_loses_its_partitions() {
    for (protocol, name) in [(EAGER, "lost-eager"), (COOPERATIVE, "lost-cooperative")] {
        let topic = Topic::new(name);
        topic.produce(10);
        let impatient = [("session.timeout.ms", "1500"), ("max.poll.interval.ms", "2000")];
        let more: Vec<_> = protocol.iter().chain(&impatient).copied().collect();
        let mut ledger = Ledger::default();
        let mut a = Member::join(topic.kafka, "a", &topic.name, &more);
        work("a reads", &mut ledger, &mut [&mut a], read_to(10));
        let group = format!("group-{}", topic.name);
        let tool = tool(&topic, &group);
        until(&format!("{group} is empty"), PATIENCE, || {
            let groups = tool.fetch_group_list(Some(&group), PATIENCE).expect("the broker answers");
            groups.groups().iter().all(|group| group.members().is_empty())
        });
        // Fetched meanwhile, but owned by another member.
        topic.produce(10);
        let lost = loop {
            match a.consumer.poll(PATIENCE).expect("the client works") {
                Polled::Rebalance(Rebalance::Lost(partitions)) => break partitions,
                Polled::Warning(_) | Polled::Idle => {}
                other => panic!("{name}: {other:?}"),
            }
        };
        assert_eq!(lost.len(), 4, "{name}");
        a.given.clear();
        // Back in the group, it continues to read.
        work("a reads on", &mut ledger, &mut [&mut a], read_to(20));
    }
}
