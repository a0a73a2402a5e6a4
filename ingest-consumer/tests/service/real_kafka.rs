//! On a real Apache Kafka.

use evidence::statement::{Gap, Reason};
use evidence::{Partition, Statement};
use kafka::{Cluster, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::Kafka;

use crate::support::{CommitterMode, Line, PATIENCE, eventually, values};
use testbed::memory_ledger::MemoryLedger;

async fn line() -> (&'static Kafka, Line) {
    let kafka = Kafka::shared();
    (kafka, Line::at(kafka.bootstrap(), MemoryLedger::new()).await)
}

/// A group that no other test joins.
fn group_of(topic: &str) -> String {
    format!("topics = ['{topic}']\ngroup = '{topic}'\nbatch_events = 50")
}

fn topic_id(line: &Line, topic: &str) -> Option<String> {
    let cluster = Cluster::new(&line.properties(), PATIENCE).expect("a client");
    cluster.topic(topic).expect("told").expect("there").id
}

fn gaps(line: &Line, partition: &Partition) -> Vec<Gap> {
    let ledger = line.committer.ledger();
    let statements = ledger.entries().iter().map(|entry| entry.statement.statement());
    let gaps = statements.filter_map(|statement| match statement {
        Statement::Gap(gap) if gap.stream.partition == *partition => Some(gap.clone()),
        _ => None,
    });
    gaps.collect()
}

struct Transactions<'a>(BaseProducer, &'a str);

impl<'a> Transactions<'a> {
    fn new(kafka: &Kafka, topic: &'a str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("transactional.id", topic)
            .create()
            .expect("a producer");
        producer.init_transactions(PATIENCE).expect("begun");
        Self(producer, topic)
    }

    fn begin(&self, events: usize) {
        self.0.begin_transaction().expect("begun");
        for n in 0..events {
            let value = format!("event {n}");
            let record = BaseRecord::<(), String>::to(self.1).partition(0).payload(&value);
            self.0.send(record).map_err(|(error, _)| error).expect("taken");
        }
        self.0.flush(PATIENCE).expect("sent");
    }

    fn commit(&self) {
        self.0.commit_transaction(PATIENCE).expect("committed");
    }

    fn abort(&self) {
        self.0.abort_transaction(PATIENCE).expect("aborted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_markers_are_covered() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("transactions", 1);
    let orders = line.named(&topic, 0);
    let ingest = line.ingest(&group_of(&topic)).await;
    let transactions = Transactions::new(kafka, &topic);
    transactions.begin(10);
    transactions.commit();
    line.sealed(&orders, 11).await;
    // An aborted transaction has nothing to read, but its offsets are covered.
    transactions.begin(5);
    transactions.abort();
    line.sealed(&orders, 17).await;
    let summaries = line.summaries(&orders);
    assert_eq!(summaries.iter().map(|summary| summary.events).sum::<u64>(), 10);
    assert_eq!(summaries.last().map(|summary| summary.last), Some(None), "a batch of 0 events");

    // Events of an open transaction and after it are not read. A metric counts them.
    transactions.begin(3);
    line.produce(&topic, 0, values(0..4));
    let shown = format!("streamseal_ingest_open_transaction_lag_offsets{{topic=\"{topic}\",partition=\"0\"}} 7");
    eventually("shown", async || {
        let metrics = ingest.metrics().await;
        if metrics.contains(&shown) { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(line.committer.ledger().cursor(&orders).next, 17);
    transactions.commit();
    line.sealed(&orders, 25).await;
    line.assert_true(&orders);
    ingest.stop().await;
    // A restart finds the same events and markers.
    let ingest = line.ingest(&group_of(&topic)).await;
    line.produce(&topic, 0, values(0..1));
    line.sealed(&orders, 26).await;
    line.assert_true(&orders);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_cluster_halts_until_it_is_named() {
    let mut kafka = Kafka::start();
    kafka.create_topic("orders", 1, &[]);
    let line = Line::at(kafka.bootstrap(), MemoryLedger::new()).await;
    line.produce("orders", 0, values(0..10));
    let old = line.named("orders", 0);
    let ingest = line.ingest("partitions = ['orders/0']").await;
    line.sealed(&old, 10).await;
    kafka.replace_by_another_cluster();
    kafka.create_topic("orders", 1, &[]);
    line.produce("orders", 0, values(0..30));
    let new = line.named("orders", 0);
    let remedy = format!("set `cluster = \"{}\"` under `[ingest]`", new.cluster);
    ingest.waits_for(&remedy).await;
    ingest.stop().await;
    let ingest = line.ingest("partitions = ['orders/0']").await;
    ingest.waits_for(&remedy).await;
    ingest.stop().await;
    assert_eq!(line.committer.ledger().cursor(&old).next, 10);
    assert_eq!(line.committer.ledger().cursor(&new).next, 0);
    let ingest = line.ingest(&format!("partitions = ['orders/0']\ncluster = '{}'", new.cluster)).await;
    line.sealed(&new, 30).await;
    line.assert_true(&new);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_past_the_cursor_are_a_gap() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("deleted", 2);
    let orders = line.named(&topic, 1);
    let fields = format!("partitions = ['{topic}/1']\ngroup = '{topic}'");
    line.produce(&topic, 1, values(0..10));
    let ingest = line.ingest(&fields).await;
    line.sealed(&orders, 10).await;
    ingest.stop().await;
    line.produce(&topic, 1, values(10..30));
    kafka.delete_records(&topic, 1, 25);
    let ingest = line.ingest(&fields).await;
    line.sealed(&orders, 30).await;
    // Deleting sealed records makes no gap.
    kafka.delete_records(&topic, 1, 30);
    line.produce(&topic, 1, values(30..35));
    line.sealed(&orders, 35).await;
    let gaps = gaps(&line, &orders);
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.first, gap.next, gap.reason, gap.low, gap.high), (10, 25, Reason::Retention, 25, 30));
    assert!(ingest.metrics().await.contains(&format!("gaps_total{{topic=\"{topic}\",partition=\"1\"}} 1")));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_topic_needs_a_new_epoch() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("recreated", 1);
    let orders = line.named(&topic, 0);
    line.produce(&topic, 0, values(0..10));
    let old = topic_id(&line, &topic).expect("Kafka has topic ids");
    let fields = format!("partitions = ['{topic}/0']\ngroup = '{topic}'");
    let ingest = line.ingest(&fields).await;
    line.sealed(&orders, 10).await;
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    let new = topic_id(&line, &topic).expect("Kafka has topic ids");
    // More events than before, so the old offset exists in the new topic.
    line.produce(&topic, 0, values(100..150));
    let reasons = ingest.waits_for("the topic was recreated").await;
    assert!(reasons.contains(&old) && reasons.contains(&new), "{reasons}");
    assert!(reasons.contains(&format!("--topic {topic} --partition 0 --start 0")), "{reasons}");
    assert_eq!(line.committer.ledger().cursor(&orders).next, 10);
    line.committer.ledger().begin_epoch(&orders, Some(new), 0);
    line.sealed(&orders, 50).await;
    ingest.ready().await;
    let epochs: Vec<_> = line.summaries(&orders).iter().map(|s| (s.stream.epoch, s.first)).collect();
    assert_eq!((epochs[0], epochs[1]), ((0, 0), (1, 0)));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_deleted_topic_are_not_sealed() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("replaced", 1);
    let orders = line.named(&topic, 0);
    let ingest = line.ingest(&format!("partitions = ['{topic}/0']\ngroup = '{topic}'")).await;
    ingest.ready().await;
    line.committer.set_mode(CommitterMode::Unavailable);
    line.produce(&topic, 0, values(0..10));
    // The events were read, and their summary waits.
    ingest.waits_for("/v1/statements").await;
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    line.produce(&topic, 0, values(100..103));
    line.committer.set_mode(CommitterMode::Healthy);
    line.sealed(&orders, 3).await;
    line.assert_true(&orders);
    let new = topic_id(&line, &topic);
    assert!(line.summaries(&orders).iter().all(|summary| summary.topic_id == new));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_recreated_while_stopped_halts() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("shorter", 1);
    let orders = line.named(&topic, 0);
    line.produce(&topic, 0, values(0..10));
    let ingest = line.ingest(&group_of(&topic)).await;
    line.sealed(&orders, 10).await;
    ingest.stop().await;
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    line.produce(&topic, 0, values(0..3));
    let ingest = line.ingest(&group_of(&topic)).await;
    ingest.waits_for("the topic was recreated").await;
    assert!(ingest.metrics().await.contains(&format!("halted{{topic=\"{topic}\",partition=\"0\"}} 1")));
    let id = topic_id(&line, &topic);
    line.committer.ledger().begin_epoch(&orders, id, 0);
    line.sealed(&orders, 3).await;
    line.produce(&topic, 0, values(3..5));
    line.sealed(&orders, 5).await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_members_take_over_partitions() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("shared", 4);
    let partitions: Vec<_> = (0..4).map(|number| line.named(&topic, number)).collect();
    let produce = |from: u32| {
        for partition in &partitions {
            line.produce(&topic, partition.number, values(from..from + 300));
        }
    };
    let first = line.ingest(&group_of(&topic)).await;
    first.ready().await;
    produce(0);
    let second = line.ingest(&group_of(&topic)).await;
    produce(300);
    for partition in &partitions {
        line.sealed(partition, 600).await;
    }
    produce(600);
    first.stop().await;
    produce(900);
    for partition in &partitions {
        line.sealed(partition, 1200).await;
        line.assert_true(partition);
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_topic_of_pattern_is_sealed_whole() {
    let (kafka, line) = line().await;
    let first = kafka.topic("pattern", 1);
    let properties = line.properties_with(&[("topic.metadata.refresh.interval.ms", "500")]);
    let ingest = line.ingest_at(properties, &format!("topics = ['^{first}.*']\ngroup = '{first}'")).await;
    ingest.ready().await;
    let second = format!("{first}-second");
    kafka.create_topic(&second, 1, &[]);
    line.produce(&second, 0, values(0..10));
    let named = line.named(&second, 0);
    line.sealed(&named, 10).await;
    line.assert_true(&named);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_broker_loses_nothing() {
    let kafka = Kafka::start();
    let line = Line::at(kafka.bootstrap(), MemoryLedger::new()).await;
    kafka.create_topic("orders", 1, &[]);
    let orders = line.named("orders", 0);
    let properties = || line.properties_with(&[("reconnect.backoff.max.ms", "500")]);
    let ingest = line.ingest_at(properties(), &group_of("orders")).await;
    line.produce("orders", 0, values(0..100));
    line.sealed(&orders, 100).await;
    // Each start is a new leader epoch, so the newest sealed event is compared.
    for round in 1..3 {
        kafka.kill9();
        kafka.start_again();
        line.produce("orders", 0, values(round * 100..(round + 1) * 100));
        line.sealed(&orders, u64::from(round + 1) * 100).await;
    }
    line.assert_true(&orders);
    ingest.ready().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_regrown_log_halts() {
    let kafka = Kafka::start();
    let line = Line::at(kafka.bootstrap(), MemoryLedger::new()).await;
    kafka.create_topic("orders", 1, &[]);
    let orders = line.named("orders", 0);
    let file = kafka.data().join("orders-0/00000000000000000000.log");
    line.produce("orders", 0, values(0..6));
    let short = std::fs::metadata(&file).expect("the broker's file").len();
    line.produce("orders", 0, values(6..10));
    let properties = || line.properties_with(&[("reconnect.backoff.max.ms", "500")]);
    let ingest = line.ingest_at(properties(), &group_of("orders")).await;
    line.sealed(&orders, 10).await;

    // As after an unclean election: the leader lacks the newest events.
    kafka.kill9();
    std::fs::File::options().write(true).open(&file).and_then(|file| file.set_len(short)).expect("cut off");
    kafka.start_again();
    ingest.waits_for("the log was truncated: sealed up to offset 10, Kafka's high watermark is 6").await;
    line.produce("orders", 0, values(100..120));
    ingest.stop().await;

    let ingest = line.ingest_at(properties(), &group_of("orders")).await;
    let reasons = ingest.waits_for("the event at offset 9 is another one").await;
    let signed = line.summaries(&orders).last().and_then(|summary| summary.last).expect("the last event").leaf;
    assert!(reasons.contains(&format!("signed leaf {signed}, Kafka returns ")), "{reasons}");
    assert_eq!(line.committer.ledger().cursor(&orders).next, 10);
    let id = topic_id(&line, "orders");
    line.committer.ledger().begin_epoch(&orders, id, 0);
    line.sealed(&orders, 26).await;
    ingest.ready().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_ignores_group_offsets() {
    let (kafka, line) = line().await;
    let topic = kafka.topic("rewound", 1);
    let orders = line.named(&topic, 0);
    line.produce(&topic, 0, values(0..20));
    let ingest = line.ingest(&group_of(&topic)).await;
    line.sealed(&orders, 20).await;
    ingest.stop().await;
    let rewind = kafka::Consumer::standalone(&line.properties(), &topic).expect("a consumer");
    rewind.commit(&[(TopicPartition::new(topic.as_str(), 0), 3)]).expect("committed");
    drop(rewind);
    line.produce(&topic, 0, values(20..30));
    let ingest = line.ingest(&group_of(&topic)).await;
    line.sealed(&orders, 30).await;
    line.assert_true(&orders);
    let ranges: Vec<_> = line.summaries(&orders).iter().map(|summary| (summary.first, summary.next)).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{ranges:?}");
    ingest.stop().await;
}
