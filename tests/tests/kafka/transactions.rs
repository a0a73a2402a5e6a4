//! Transactions, as a read_committed reader sees them.

use kafka::{Cluster, Item, Polled, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::Kafka;

use testbed::events::{Kept, PATIENCE, alone, properties, read_to};

struct Transactions<'a> {
    producer: BaseProducer,
    topic: &'a str,
}

impl<'a> Transactions<'a> {
    fn new(kafka: &Kafka, topic: &'a str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("transactional.id", topic)
            .create()
            .expect("the settings are valid");
        producer.init_transactions(PATIENCE).expect("the broker has transactions");
        Self { producer, topic }
    }

    fn begin(&self, values: &[&str]) {
        self.producer.begin_transaction().expect("none is open");
        for value in values {
            let record = BaseRecord::<(), str>::to(self.topic).partition(0).payload(value);
            self.producer.send(record).map_err(|(error, _)| error).expect("the queue has room");
        }
        self.producer.flush(PATIENCE).expect("the broker is there");
    }

    fn commit(&self) {
        self.producer.commit_transaction(PATIENCE).expect("one is open");
    }

    fn abort(&self) {
        self.producer.abort_transaction(PATIENCE).expect("one is open");
    }
}

fn offsets_and_values(events: &[Kept]) -> Vec<(i64, &str)> {
    let events = events.iter().map(|event| match event.value.as_deref().map(str::from_utf8) {
        Some(Ok(text)) => (event.offset, text),
        other => panic!("{event:?}: {other:?}"),
    });
    events.collect()
}

#[test]
fn only_committed_events_are_read() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("transactions", 1);
    let transactions = Transactions::new(kafka, &topic);
    transactions.begin(&["a", "b"]);
    transactions.commit();
    transactions.begin(&["never", "never"]);
    transactions.abort();
    transactions.begin(&["c"]);
    transactions.commit();
    // a b commit never never abort c commit
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut consumer = alone(kafka.bootstrap());
    consumer.start([(partition.clone(), 0)]).expect("it is in no group");
    let events = read_to(&mut consumer, 8).expect("nothing is wrong");
    assert_eq!(offsets_and_values(&events), [(0, "a"), (1, "b"), (6, "c")]);
    assert_eq!(consumer.position(&partition), Some(8));

    // Starts in between: at an aborted event, and at the last marker.
    consumer.start([(partition.clone(), 4)]).expect("it is in no group");
    let events = read_to(&mut consumer, 8).expect("nothing is wrong");
    assert_eq!(offsets_and_values(&events), [(6, "c")]);
    consumer.start([(partition, 7)]).expect("it is in no group");
    assert_eq!(read_to(&mut consumer, 8).expect("nothing is wrong"), []);
}

#[test]
fn a_partition_ends_at_an_open_transaction() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("open", 1);
    let transactions = Transactions::new(kafka, &topic);
    transactions.begin(&["a"]);
    transactions.commit();
    transactions.begin(&["b", "c"]);
    let partition = TopicPartition::new(topic.as_str(), 0);
    let cluster = Cluster::new(&properties(kafka.bootstrap(), &[]), PATIENCE).expect("valid properties");
    let marks = || {
        let marks = cluster.watermarks(std::slice::from_ref(&partition)).expect("the broker answers");
        marks[&partition]
    };
    assert_eq!((marks().low, marks().stable, marks().high), (0, 2, 4));
    assert_eq!(marks().lag(0), 2);

    let mut consumer = alone(kafka.bootstrap());
    consumer.start([(partition.clone(), 0)]).expect("it is in no group");
    let events = read_to(&mut consumer, 2).expect("nothing is wrong");
    assert_eq!(offsets_and_values(&events), [(0, "a")]);
    transactions.commit();
    let events = read_to(&mut consumer, 5).expect("nothing is wrong");
    assert_eq!(offsets_and_values(&events), [(2, "b"), (3, "c")]);
    assert_eq!((marks().stable, marks().high), (5, 5));
}

/// A caller learns from the leader epoch that the log may have been truncated.
#[test]
fn events_have_their_leader_epoch() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("epoch", 1);
    testbed::events::produce(kafka.bootstrap(), &topic, 0, ["a"]);
    let mut consumer = alone(kafka.bootstrap());
    consumer.start([(TopicPartition::new(topic.as_str(), 0), 0)]).expect("it is in no group");
    loop {
        if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
            let item = batch.next_item();
            assert!(matches!(item, Some(Item::Event { leader_epoch: Some(0), .. })), "{item:?}");
            return;
        }
    }
}
