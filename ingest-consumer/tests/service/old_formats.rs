//! Records in message formats before v2, stored on the disk of a real Apache Kafka.

use kafka::TopicPartition;
use testbed::{Kafka, OldFormat, OldRecord};

use crate::support::{Line, eventually, values};
use testbed::memory_ledger::MemoryLedger;

const RECORDS: u32 = 200;

/// Makes the key of a record from its number.
type MakeKey = fn(u32) -> Option<String>;

/// Keys of lengths that librdkafka misread: null, short, 12 to 14 bytes, and long.
fn keys() -> [(&'static str, MakeKey); 6] {
    [
        ("null", |_| None),
        ("short", |n| Some(format!("{n:03}"))),
        ("12", |n| Some(format!("customer{n:04}"))),
        ("13", |n| Some(format!("customer-{n:04}"))),
        ("14", |n| Some(format!("customer--{n:04}"))),
        ("long", |n| Some(format!("0f8fad5b-d9cb-469f-a165-{n:012}"))),
    ]
}

fn records(key: MakeKey) -> Vec<OldRecord> {
    let record = |n| OldRecord {
        key: key(n).map(String::into_bytes),
        value: Some(format!("{{\"amount\":{}}}", n * 10).into_bytes()),
    };
    (0..RECORDS).map(record).collect()
}

/// A broker with topics whose logs have these bytes.
fn kafka_with(logs: &[(String, Vec<u8>)]) -> Kafka {
    let kafka = Kafka::start();
    for (topic, _) in logs {
        kafka.create_topic(topic, 1, &[]);
    }
    kafka.stop();
    let partitions: Vec<_> = logs.iter().map(|(topic, log)| (format!("{topic}-0"), log.clone())).collect();
    kafka.replace_logs(partitions.iter().map(|(partition, log)| (partition.as_str(), log.clone())));
    kafka.start_again();
    kafka
}

#[tokio::test(flavor = "multi_thread")]
async fn old_formats_are_never_sealed() {
    let mut logs = Vec::new();
    for (format, version) in [(OldFormat::V0, "v0"), (OldFormat::V1, "v1")] {
        for (name, key) in keys() {
            let records = records(key);
            logs.push((format!("{version}-{name}"), format.segment(&records)));
            logs.push((format!("{version}-{name}-gzip"), format.compressed_segment(&records)));
        }
    }
    let kafka = kafka_with(&logs);
    // The records exist, and a client that knows the formats reads them.
    for (topic, _) in &logs {
        assert_eq!(kafka.watermarks(topic, 0), (0, i64::from(RECORDS)), "{topic}");
    }
    let java = kafka.java_reads("v1-14", RECORDS as usize);
    assert_eq!(java[7].key.as_deref(), Some(&b"customer--0007"[..]));
    assert_eq!(kafka.java_reads("v0-null-gzip", RECORDS as usize)[7].key, None);

    let line = Line::at(kafka.bootstrap(), MemoryLedger::new()).await;
    let topics: Vec<_> = logs.iter().map(|(topic, _)| format!("'{topic}/0'")).collect();
    let ingest = line.ingest(&format!("partitions = [{}]", topics.join(", "))).await;
    for (topic, _) in &logs {
        let partition = TopicPartition::new(topic.as_str(), 0);
        // librdkafka returns nothing of some topics, so their format is unknown.
        let reason = eventually(&format!("{topic} is reported as not sealed"), async || {
            let (_, reasons) = ingest.readiness().await;
            let halted = format!(
                "{partition}: halted: the client library misreads the record at offset 0: the record is in a message format"
            );
            let stalled = format!("{partition} progress: nothing was sealed for");
            let line = reasons.lines().find(|line| line.starts_with(&halted) || line.starts_with(&stalled));
            line.map(str::to_owned).ok_or(reasons)
        })
        .await;
        assert!(reason.contains("copy the topic into a new one"), "{reason}");
        let beyond = reason.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok());
        assert!(beyond.max() <= Some(u64::from(RECORDS)), "it names an offset beyond the high watermark: {reason}");
        assert_eq!(line.committer.ledger().cursor(&line.named(topic, 0)).next, 0, "{topic}");
    }
    assert!(line.committer.ledger().entries().iter().all(|entry| entry.statement.statement().stream().is_none()));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_resumes_at_format_v2() {
    let (_, key) = keys()[3];
    let kafka = kafka_with(&[("orders".to_owned(), OldFormat::V1.segment(&records(key)))]);
    let line = Line::at(kafka.bootstrap(), MemoryLedger::new()).await;
    line.produce("orders", 0, values(0..50));
    let orders = line.named("orders", 0);
    let ingest = line.ingest("partitions = ['orders/0']").await;
    ingest.waits_for("message format before v2").await;
    line.committer.ledger().skip_to(&orders, None, u64::from(RECORDS));
    line.sealed(&orders, u64::from(RECORDS) + 50).await;
    ingest.ready().await;
    assert_eq!(line.summaries(&orders).iter().map(|summary| summary.events).sum::<u64>(), 50);
    ingest.stop().await;
}
