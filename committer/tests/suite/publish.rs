//! The topic of commitments.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Database;
use super::running::{Options, Place, until};
use committer_client::Commitment;
use evidence::Entry;
use kafka::{EmbeddedBroker, Producer, Properties, Reader, Record, TopicPartition};
use testbed::statements::{ORIGIN, TestLedger, stream};

const PARTITIONS: u32 = 4;

fn properties(bootstrap: &str) -> Properties {
    Properties::new([("bootstrap.servers", bootstrap)]).expect("valid")
}

fn publishing(bootstrap: &str) -> Options {
    Options { kafka: Some(properties(bootstrap)), ..Options::default() }
}

/// Keys and values of the records of the topic `commitments`, by partition in their order.
fn read(bootstrap: &str) -> Vec<Vec<(String, Vec<u8>)>> {
    read_topic(bootstrap, "commitments")
}

/// The same for another topic.
fn read_topic(bootstrap: &str, topic: &str) -> Vec<Vec<(String, Vec<u8>)>> {
    let mut reader = Reader::new(&properties(bootstrap), Duration::from_secs(20)).expect("a reader");
    (0..PARTITIONS)
        .map(|partition| {
            let mut records = Vec::new();
            let partition = TopicPartition::new(topic, partition);
            let read = reader.read(&partition, 0..i64::MAX, |event| {
                let key = String::from_utf8(event.key.expect("a key").to_vec()).expect("text");
                records.push((key, event.value.expect("a value").to_vec()));
                Ok::<_, kafka::Error>(())
            });
            read.expect("reads");
            records
        })
        .collect()
}

/// The values by seq; checks order and that repeats are the same bytes.
fn commitments(partitions: &[Vec<(String, Vec<u8>)>]) -> BTreeMap<u64, (String, Vec<u8>)> {
    let mut found: BTreeMap<u64, (String, Vec<u8>)> = BTreeMap::new();
    for records in partitions {
        let mut newest = None;
        for (key, value) in records {
            let seq = serde_json::from_slice::<Commitment>(value).expect("a commitment").seq;
            match found.get(&seq) {
                Some(first) => assert_eq!(first, &(key.clone(), value.clone()), "a repeat of {seq} differs"),
                None => {
                    assert!(newest < Some(seq), "{seq} comes after {newest:?}");
                    newest = Some(seq);
                    found.insert(seq, (key.clone(), value.clone()));
                }
            }
        }
    }
    found
}

async fn until_published(running: &super::running::Running) -> u64 {
    let mut size = 0;
    until("all entries are published", async || {
        let status = running.client.status().await.expect("answered");
        size = status.size;
        status.published_size == Some(size)
    })
    .await;
    size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_is_published_with_its_exact_text() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    let (database, place) = (Database::sqlite(), Place::new());
    let t = stream("t", 7);
    let mut statements = place.ledger.summaries(&t, 0, 10, 3, None);
    statements.push(place.ledger.gap(&t, 30, 35, Some(statements[2].hash())));
    let running = place.start_with(&database, publishing(&bootstrap)).await;
    running.append(&statements).await;
    assert_eq!(until_published(&running).await, 6);
    running.until_ready().await;

    let found = commitments(&read(&bootstrap));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for (seq, (key, value)) in &found {
        let text = running.client.entry(*seq).await.expect("answered").expect("there");
        let entry = Entry::parse(text.as_bytes()).expect("an entry");
        let commitment: Commitment = serde_json::from_slice(value).expect("a commitment");
        assert_eq!((&commitment.entry, commitment.ledger.as_str()), (&text, ORIGIN));
        assert_eq!(commitment.leaf_hash, entry.leaf_hash().to_string());
        assert_eq!(commitment.time, entry.time.to_string());
        assert_eq!(commitment.kind, entry.statement.statement().kind().name());
        assert_eq!(key, ["genesis", "key", "t/7", "t/7", "t/7", "t/7"][*seq as usize]);
    }
    let value = |seq| String::from_utf8(found[&seq].1.clone()).expect("JSON is text");
    assert!(value(3).contains(
        r#""kind":"summary","cluster":"-","topic":"t","partition":7,"epoch":"0","first":"10","next":"20","events":"10","#
    ));
    assert!(value(5).contains(
        r#""kind":"gap","cluster":"-","topic":"t","partition":7,"epoch":"0","first":"30","next":"35","leaf_hash":"#
    ));
    assert!(value(0).starts_with(r#"{"seq":"0","ledger":"example.com/audit","kind":"genesis","leaf_hash":"#));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_publisher_repeats_the_same_bytes() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    let (database, place) = (Database::sqlite(), Place::new());
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 30, None);
    for (part, forgotten) in statements.chunks(10).zip([0, 5, 1]) {
        let running = place.start_with(&database, publishing(&bootstrap)).await;
        running.append(part).await;
        until_published(&running).await;
        running.stop().await;
        // As if it had been killed after the acknowledgement and before it recorded that.
        database.execute(&format!("UPDATE publications SET size = size - {forgotten}")).await;
    }
    // A committer without Kafka leaves publishing to the next.
    let quiet = place.start(&database).await;
    quiet.append(&[place.ledger.summary(&stream("t", 1), 0, 10, None)]).await;
    quiet.stop().await;
    let running = place.start_with(&database, publishing(&bootstrap)).await;
    let size = until_published(&running).await;
    running.stop().await;
    let partitions = read(&bootstrap);
    assert_eq!(commitments(&partitions).into_keys().collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
    assert_eq!(partitions.iter().map(|records| records.len() as u64).sum::<u64>(), size + 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_committer_takes_over_publishing() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    let (database, place) = (Database::sqlite(), Place::new());
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 20, None);
    let first = place.start_with(&database, publishing(&bootstrap)).await;
    let second = place.start_with(&database, Options { signs: false, ..publishing(&bootstrap) }).await;
    second.append(&statements[..10]).await;
    let size = until_published(&first).await;
    second.until_ready().await;
    assert_eq!(read(&bootstrap).iter().map(|records| records.len() as u64).sum::<u64>(), size, "nothing twice");
    first.stop().await;
    second.append(&statements[10..]).await;
    let size = until_published(&second).await;
    second.stop().await;
    assert_eq!(commitments(&read(&bootstrap)).len() as u64, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_works_without_kafka() {
    let (database, place) = (Database::sqlite(), Place::new());
    let server = testbed::Kafka::start();
    server.create_topic("commitments", PARTITIONS as i32, &[]);
    server.stop();
    let running = place.start_with(&database, publishing(server.bootstrap())).await;
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 40, None);
    running.append(&statements[..20]).await;
    assert_eq!(running.signed().await.published_size, None);
    let reasons = running.until_not_ready(&["publishing: ", "commitments", "nothing is published"]).await;
    assert_eq!(reasons.lines().count(), 1, "nothing else suffers: {reasons}");

    server.start_again();
    until_published(&running).await;
    running.until_ready().await;
    // Killed while it publishes.
    running.append(&statements[20..30]).await;
    server.kill9();
    running.append(&statements[30..]).await;
    server.start_again();
    let size = until_published(&running).await;
    assert_eq!(commitments(&read(server.bootstrap())).into_keys().collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_publisher_is_ready() {
    let broker = EmbeddedBroker::start().expect("starts");
    broker.create_topic("commitments", PARTITIONS).expect("made");
    let (place, database) = (Place::new(), Database::sqlite());
    for _ in 0..2 {
        let running = place.start_with(&database, publishing(broker.bootstrap_servers())).await;
        until_published(&running).await;
        running.until_ready().await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_of_another_ledger_is_refused() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    let (database, place) = (Database::sqlite(), Place::new());
    let first = place.start_with(&database, publishing(&bootstrap)).await;
    let size = until_published(&first).await;

    // Same origin and key names; only the genesis differs.
    let (other_database, other) = (Database::sqlite(), Place::of(TestLedger::new("other")));
    let second = other.start_with(&other_database, publishing(&bootstrap)).await;
    second.append(&other.ledger.summaries(&stream("t", 0), 0, 10, 3, None)).await;
    let genesis = place.ledger.genesis.hash().to_string();
    let reason = second
        .until_not_ready(&[
            "publishing: ",
            "topic commitments",
            "another ledger",
            ORIGIN,
            &genesis,
            "commitments_topic",
        ])
        .await;
    assert!(!reason.contains("DELETE"), "nothing was published before: {reason}");
    assert_eq!(reason.lines().count(), 1, "nothing else suffers: {reason}");
    second.stop().await;
    assert_eq!(commitments(&read(&bootstrap)).len() as u64, size, "nothing was published");

    // Its own ledger continues, also after a restart.
    first.stop().await;
    let first = place.start_with(&database, publishing(&bootstrap)).await;
    first.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 3, None)).await;
    let size = until_published(&first).await;
    first.until_ready().await;
    assert_eq!(commitments(&read(&bootstrap)).len() as u64, size);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_with_foreign_records_is_refused() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    broker.create_topic("commitments", PARTITIONS).expect("made");
    let producer = Producer::new(&properties(&bootstrap)).expect("a producer");
    let record = Record { topic: "commitments", value: Some(b"an order"), partition: Some(2), ..Record::default() };
    assert!(producer.send(&record, Duration::from_secs(20)).expect("sent"));
    assert!(producer.flush(Duration::from_secs(20)).expect("sent"));
    let (database, place) = (Database::sqlite(), Place::new());
    let running = place.start_with(&database, publishing(&bootstrap)).await;
    running.until_not_ready(&["publishing: ", "commitments/2", "no commitment", "commitments_topic"]).await;
    assert_eq!(running.client.status().await.expect("answered").published_size, None);
    running.stop().await;
}

/// Publishing continues where it was, so a new topic does not begin with entry 0. The message tells the operator so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_topic_needs_the_named_sql() {
    let broker = EmbeddedBroker::start().expect("a broker");
    let bootstrap = broker.bootstrap_servers().to_owned();
    for topic in ["commitments", "another", "new"] {
        broker.create_topic(topic, PARTITIONS).expect("made");
    }
    let (database, place) = (Database::sqlite(), Place::new());
    let running = place.start_with(&database, publishing(&bootstrap)).await;
    let size = until_published(&running).await;
    running.stop().await;
    let producer = Producer::new(&properties(&bootstrap)).expect("a producer");
    let record = Record { topic: "another", value: Some(b"an order"), partition: Some(1), ..Record::default() };
    assert!(producer.send(&record, Duration::from_secs(20)).expect("sent"));
    assert!(producer.flush(Duration::from_secs(20)).expect("sent"));

    let topic = |topic: &str| Options { commitments_topic: topic.to_owned(), ..publishing(&bootstrap) };
    let running = place.start_with(&database, topic("another")).await;
    let (goes_on, lacks) = (format!("with entry {size}"), format!("lacks the entries 0 to {}", size - 1));
    let reason = running.until_not_ready(&["another/1 holds a record", &goes_on, &lacks]).await;
    running.stop().await;
    let statement = reason.split('`').find(|part| part.starts_with("DELETE FROM publications WHERE")).expect("named");
    database.execute(statement).await;
    let running = place.start_with(&database, topic("new")).await;
    assert_eq!(until_published(&running).await, size);
    running.until_ready().await;
    running.stop().await;
    let published = commitments(&read_topic(&bootstrap, "new"));
    assert_eq!(published.into_keys().collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_topic_is_named_and_waited_for() {
    let server = testbed::Kafka::shared();
    let topic = testbed::unique("commitments");
    let (database, place) = (Database::sqlite(), Place::new());
    let options = Options { commitments_topic: topic.clone(), ..publishing(server.bootstrap()) };
    let running = place.start_with(&database, options).await;
    running.until_not_ready(&["publishing: ", &topic, "does not exist", "create it"]).await;
    server.create_topic(&topic, PARTITIONS as i32, &[]);
    until_published(&running).await;
    running.until_ready().await;
    running.stop().await;
}
