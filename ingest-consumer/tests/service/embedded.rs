//! On the embedded broker.

use evidence::statement::{LastEvent, Reason, Summary};
use evidence::{Partition, SignedStatement, Statement, batch, sha256};
use kafka::{Cluster, Producer, Record, TopicPartition};
use rdkafka::consumer::Consumer as _;

use crate::support::{CommitterMode, Line, PATIENCE, eventually, values};
use testbed::memory_ledger::{MemoryLedger, ingest_key};

#[tokio::test(flavor = "multi_thread")]
async fn group_seals_every_event_once() {
    let line = Line::embedded(MemoryLedger::new()).await;
    for topic in ["metered", "payments", "commitments"] {
        line.create_topic(topic, 2);
    }
    let ingest = line.ingest("topics = ['^.*']\nbatch_events = 1000").await;
    line.produce("metered", 0, values(0..10_000));
    line.produce("metered", 1, values(0..3));
    line.produce("commitments", 0, values(0..10));
    line.produce("payments", 1, values(0..2_000));
    let (orders_0, orders_1) = (line.named("metered", 0), line.named("metered", 1));
    let payments = line.named("payments", 1);
    line.sealed(&orders_0, 10_000).await;
    line.sealed(&orders_1, 3).await;
    line.sealed(&payments, 2_000).await;
    ingest.ready().await;
    for partition in [&orders_0, &orders_1, &payments] {
        line.assert_true(partition);
    }
    assert!(line.summaries(&orders_0).iter().all(|summary| summary.events <= 1000));
    assert_eq!(line.summaries(&line.named("commitments", 0)), [], "commitments are never sealed");

    for shown in [
        "streamseal_ingest_sealed_offset{topic=\"metered\",partition=\"0\"} 10000",
        "streamseal_ingest_events_total{topic=\"payments\",partition=\"1\"} 2000",
        "streamseal_ingest_halted{topic=\"metered\",partition=\"1\"} 0",
        "streamseal_ingest_gaps_total{topic=\"metered\",partition=\"1\"} 0",
        "streamseal_ingest_submit_seconds_count{topic=\"metered\",partition=\"0\"}",
    ] {
        ingest.shows(shown).await;
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_resumes_at_the_cursor() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("orders", 2);
    line.produce("orders", 1, values(0..500));
    let orders = line.named("orders", 1);
    let fields = "partitions = ['orders/1']\nbatch_events = 100";
    let ingest = line.ingest(fields).await;
    line.sealed(&orders, 500).await;
    ingest.stop().await;
    line.produce("orders", 1, values(500..750));
    let ingest = line.ingest(fields).await;
    line.sealed(&orders, 750).await;
    line.assert_true(&orders);
    assert_eq!(line.summaries(&line.named("orders", 0)), [], "it was not assigned");
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_committer_only_delays() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("orders", 1);
    let orders = line.named("orders", 0);
    line.committer.set_mode(CommitterMode::Unavailable);
    let ingest = line.ingest("topics = ['orders']\nbatch_events = 10").await;
    ingest.waits_for("the database is away").await;
    line.committer.set_mode(CommitterMode::Healthy);
    ingest.ready().await;
    // Unavailable again, until the limit of unacknowledged statements is reached.
    line.committer.set_mode(CommitterMode::Unavailable);
    line.produce("orders", 0, values(0..5_000));
    ingest.waits_for("orders/0: ").await;
    assert_eq!(line.committer.ledger().cursor(&orders).next, 0);
    line.committer.set_mode(CommitterMode::Healthy);
    line.sealed(&orders, 5_000).await;
    line.assert_true(&orders);
    ingest.ready().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unacknowledged_statements_are_bounded() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("waiting", 2);
    let ingest = line.ingest("topics = ['waiting']\nbatch_events = 10").await;
    for number in [0, 1] {
        line.produce("waiting", number, values(0..10));
        line.sealed(&line.named("waiting", number), 10).await;
    }
    line.committer.set_mode(CommitterMode::Unavailable);
    let mut waiting = Vec::new();
    for number in [0, 1] {
        line.produce("waiting", number, values(0..10_000));
        let name = format!("unacknowledged_statements{{topic=\"waiting\",partition=\"{number}\"}} ");
        eventually("the limit is reached", async || {
            let metrics = ingest.metrics().await;
            waiting = metrics.lines().filter(|line| line.contains("unacknowledged")).map(ToOwned::to_owned).collect();
            let count = metrics.split_once(&name).and_then(|(_, rest)| rest.lines().next()?.parse().ok());
            if count.unwrap_or(0) >= 64 { Ok(()) } else { Err(metrics) }
        })
        .await;
    }
    // The limit is 64, and one batch of a thousand events may exceed it.
    let counts = waiting.iter().filter(|line| line.contains("\"waiting\""));
    let counts: Vec<u32> = counts.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert!(counts.len() == 2 && counts.iter().all(|count| *count < 64 + 100), "{waiting:?}");
    line.committer.set_mode(CommitterMode::Healthy);
    for number in [0, 1] {
        let partition = line.named("waiting", number);
        line.sealed(&partition, 10_010).await;
        line.assert_true(&partition);
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_share_a_limited_number_of_connections() {
    const STREAMS: u32 = 150;
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("many", STREAMS);
    let ingest = line.ingest("topics = ['many']").await;
    ingest.ready().await;
    line.committer.set_mode(CommitterMode::Hangs);
    let producer = Producer::new(&line.properties()).expect("a producer");
    for number in 0..STREAMS {
        let record = Record { topic: "many", partition: Some(number), value: Some(b"one"), ..Record::default() };
        assert!(producer.send(&record, PATIENCE).expect("taken"));
    }
    assert!(producer.flush(PATIENCE).expect("produced"));
    eventually("a summary of each stream waits", async || {
        let metrics = ingest.metrics().await;
        let of_many = "unacknowledged_statements{topic=\"many\",";
        let waiting = metrics.lines().filter(|line| line.contains(of_many) && line.ends_with(" 1")).count();
        let in_flight_max = line.committer.in_flight_max();
        let state = format!("{waiting} summaries wait, {in_flight_max} requests were in flight");
        if waiting == STREAMS as usize && in_flight_max >= 64 { Ok(()) } else { Err(state) }
    })
    .await;
    line.committer.set_mode(CommitterMode::Healthy);
    let mut partition = line.named("many", 0);
    for number in 0..STREAMS {
        partition.number = number;
        line.sealed(&partition, 1).await;
    }
    assert_eq!(line.committer.in_flight_max(), 64);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_makes_no_second_entry() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("orders", 1);
    let orders = line.named("orders", 0);
    let ingest = line.ingest("topics = ['orders']\nbatch_events = 10").await;
    ingest.ready().await;
    line.committer.set_mode(CommitterMode::LosesAnswers);
    line.produce("orders", 0, values(0..10));
    line.sealed(&orders, 10).await;
    ingest.waits_for("orders/0: ").await;
    line.committer.set_mode(CommitterMode::Healthy);
    ingest.ready().await;
    line.produce("orders", 0, values(10..20));
    line.sealed(&orders, 20).await;
    assert_eq!(line.summaries(&orders).len(), 2);
    line.assert_true(&orders);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_beginning_is_a_gap() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("trimmed", 1);
    let trimmed = line.named("trimmed", 0);
    // More than the in-process broker keeps.
    line.produce("trimmed", 0, (0..150).map(|n| format!("{n} {}", "x".repeat(50_000))));
    let place = TopicPartition::new("trimmed", 0);
    let cluster = Cluster::new(&line.properties(), PATIENCE).expect("a client");
    let low = cluster.watermarks(std::slice::from_ref(&place)).expect("watermarks")[&place].low;
    assert!(low > 0, "retention deleted something");
    let ingest = line.ingest("topics = ['trimmed']").await;
    line.sealed(&trimmed, 150).await;
    let first = line.committer.ledger().entries()[2].statement.statement().clone();
    let Statement::Gap(gap) = first else { panic!("{first:?}") };
    assert_eq!((gap.first, gap.next, gap.reason), (0, low as u64, Reason::Start));
    line.assert_true(&trimmed);
    ingest.shows("streamseal_ingest_gaps_total{topic=\"trimmed\",partition=\"0\"} 1").await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_event_halts_only_its_stream() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("changed", 2);
    for number in [0, 1] {
        line.produce("changed", number, values(0..10));
    }
    let (bad, good) = (line.named("changed", 0), line.named("changed", 1));
    let cluster = Cluster::new(&line.properties(), PATIENCE).expect("a client");
    let topic_id = cluster.topic("changed").expect("told").expect("there").id;
    // A summary that sealed another event at offset 4.
    let leaf = sha256(b"another event");
    let summary = Summary {
        ledger: line.committer.ledger().id(),
        stream: bad.stream(0),
        topic_id: topic_id.clone(),
        first: 0,
        next: 5,
        events: 1,
        bytes: 12,
        time: Some((0, 0)),
        root: batch::root(&[leaf]),
        last: Some(LastEvent { offset: 4, leaf }),
        prev: None,
    };
    let signed = SignedStatement::sign(Statement::Summary(summary), &[&ingest_key()]);
    let text = String::from_utf8(signed.to_bytes()).expect("text");
    assert_eq!(line.committer.ledger().submit(&[text]).refused, None);

    let ingest = line.ingest("topics = ['changed']").await;
    let reasons = ingest.waits_for("the event at offset 4 is another one").await;
    for shown in [leaf.to_string(), "--topic changed --partition 0 --start 0".to_owned()] {
        assert!(reasons.contains(&shown), "{shown} in {reasons}");
    }
    line.sealed(&good, 10).await;
    assert_eq!(line.committer.ledger().cursor(&bad).next, 5);
    let halted = "streamseal_ingest_halted{topic=\"changed\",partition=\"0\"}";
    assert!(ingest.metrics().await.contains(&format!("{halted} 1")));

    line.committer.ledger().begin_epoch(&bad, topic_id, 0);
    line.sealed(&bad, 10).await;
    ingest.ready().await;
    assert!(ingest.metrics().await.contains(&format!("{halted} 0")));
    assert_eq!(line.summaries(&bad).last().map(|summary| summary.stream.epoch), Some(1));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ungranted_key_waits_for_its_grant() {
    let line = Line::embedded(MemoryLedger::without_grants()).await;
    line.create_topic("orders", 1);
    line.produce("orders", 0, values(0..10));
    let orders = line.named("orders", 0);
    let ingest = line.ingest("topics = ['orders']").await;
    ingest.waits_for("is not granted in ledger example.com/audit").await;
    line.committer.ledger().grant(&ingest_key(), &["orders"]);
    line.sealed(&orders, 10).await;
    ingest.ready().await;
    line.committer.ledger().revoke(&ingest_key(), &["orders"]);
    line.produce("orders", 0, values(10..20));
    ingest.waits_for("was revoked in entry").await;
    assert_eq!(line.committer.ledger().cursor(&orders).next, 10);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_service_follows_an_operator_statement() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("orders", 1);
    let orders = line.named("orders", 0);
    line.produce("orders", 0, values(0..10));
    let ingest = line.ingest("topics = ['orders']").await;
    line.sealed(&orders, 10).await;
    line.committer.ledger().skip_to(&orders, None, 15);
    line.produce("orders", 0, values(10..20));
    line.sealed(&orders, 20).await;
    let ranges: Vec<_> = line.summaries(&orders).iter().map(|summary| (summary.first, summary.next)).collect();
    assert_eq!(ranges.last(), Some(&(15, 20)));
    line.assert_true(&orders);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_offsets_follow_for_lag_tools() {
    let line = Line::embedded(MemoryLedger::new()).await;
    line.create_topic("followed", 1);
    line.produce("followed", 0, values(0..25));
    let ingest = line.ingest("topics = ['followed']\ngroup = 'sealers'").await;
    // It commits only what it knows to be sealed, so wait for its metric, not for the ledger.
    ingest.shows("streamseal_ingest_sealed_offset{topic=\"followed\",partition=\"0\"} 25").await;
    ingest.stop().await;
    let client: rdkafka::consumer::BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", line.bootstrap())
        .set("group.id", "sealers")
        .create()
        .expect("a client");
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition("followed", 0);
    eventually("committed", async || {
        let committed = client.committed_offsets(list.clone(), PATIENCE).expect("told");
        let offset = committed.elements()[0].offset();
        if offset == rdkafka::Offset::Offset(25) { Ok(()) } else { Err(format!("{offset:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_cluster_is_waited_for() {
    let line = Line::embedded(MemoryLedger::new()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let properties = kafka::Properties::new([
        ("bootstrap.servers".to_owned(), nobody.to_string()),
        ("socket.timeout.ms".to_owned(), "1000".to_owned()),
    ]);
    let ingest = line.ingest_at(properties.expect("good"), "topics = ['orders']").await;
    let reasons = ingest.waits_for("kafka: kafka: asking for the cluster id").await;
    assert!(reasons.contains("group: waiting for Kafka"), "{reasons}");
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_configuration_names_the_field() {
    let line = Line::embedded(MemoryLedger::new()).await;
    for (fields, wanted) in [("", "ingest.topics"), ("topics = ['orders']\nbatch_events = 0", "ingest.batch_events")] {
        let error = line.ingest(fields).await.failed().await;
        assert!(error.contains(wanted), "{error}");
    }
    let properties = line.properties_with(&[("no.such.property", "1")]);
    let error = line.ingest_at(properties, "topics = ['orders']").await.failed().await;
    assert!(error.contains("\"no.such.property\""), "{error}");
}

/// Other brokers took over the address. The ledger holds only streams of the old cluster.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_cluster_is_sealed_only_if_named() {
    let mut ledger = MemoryLedger::new();
    let old = Partition { cluster: "old-cluster".to_owned(), topic: "moved".to_owned(), number: 0 };
    ledger.skip_to(&old, None, 7);
    let line = Line::embedded(ledger).await;
    line.create_topic("moved", 1);
    line.produce("moved", 0, values(0..10));
    let moved = line.named("moved", 0);
    // A restart changes nothing.
    for _ in 0..2 {
        let ingest = line.ingest("partitions = ['moved/0']").await;
        let reason = ingest.waits_for("Kafka is another cluster: the ledger holds streams of old-cluster").await;
        assert!(reason.contains(&format!("set `cluster = \"{}\"` under `[ingest]`", moved.cluster)), "{reason}");
        assert_eq!(line.committer.ledger().cursor(&moved).next, 0);
        ingest.stop().await;
    }
    let ingest = line.ingest("partitions = ['moved/0']\ncluster = 'old-cluster'").await;
    ingest.waits_for("`ingest.cluster` names old-cluster").await;
    ingest.stop().await;
    let ingest = line.ingest(&format!("partitions = ['moved/0']\ncluster = '{}'", moved.cluster)).await;
    line.sealed(&moved, 10).await;
    ingest.ready().await;
    ingest.stop().await;
    // Once the ledger knows it, it need not be named.
    line.produce("moved", 0, values(10..15));
    let ingest = line.ingest("partitions = ['moved/0']").await;
    line.sealed(&moved, 15).await;
    ingest.stop().await;
}
