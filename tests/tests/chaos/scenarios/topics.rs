//! Changes of topics and records in Kafka, and what producers send.

use std::fs;
use std::time::Instant;

use testbed::ToProduce;

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site, at, stream};
use testbed::forge::Forgery;
use testbed::ledger::{INCOMPLETE, PROVEN};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "recreated-topic",
        fault: "the topic is deleted and recreated while it is sealed, and grows beyond its old end",
        expected: "ingest halts until the operator's epoch; the epochs never mix; the old one is incomplete",
        quick: true,
        play: recreated,
    },
    Scenario {
        name: "deleted-records",
        fault: "DeleteRecords past the cursor while ingest is away",
        expected: "a signed gap, and sealing continues; incomplete unless the auditor accepts gaps by retention",
        quick: true,
        play: deleted_records,
    },
    Scenario {
        name: "transactions",
        fault: "transactions that are committed, aborted and left open",
        expected: "aborted events and markers are holes; nothing behind an open transaction is sealed until it ends",
        quick: true,
        play: transactions,
    },
    Scenario {
        name: "new-partitions",
        fault: "the topic gets more partitions while it is sealed",
        expected: "they are sealed from their first event",
        quick: true,
        play: new_partitions,
    },
    Scenario {
        name: "codecs",
        fault: "the same events with every codec: none, gzip, snappy, lz4, zstd",
        expected: "the same leaves",
        quick: true,
        play: codecs,
    },
];

fn recreated(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let (topic, place) = (site.topic.clone(), site.place(0));
    site.produce(100);
    site.until_anchored();
    run.fault("deleted and recreated");
    site.kafka.delete_topic(&topic);
    site.kafka.create_topic(&topic, 1, &[]);
    site.account.destroy(&place, |_| true);
    site.account.begin_epoch(&place, 0..0);
    // More events than before, so that a reader could continue at the old offset.
    site.produce(150);
    site.ledger.ingest.until_not_ready("the topic was recreated");
    assert_eq!(site.sealed(), Some(100), "nothing of the new topic is sealed before the operator's epoch");

    site.begin_epoch(run);
    let evidence = site.evidence(&[]);
    let verdict = site.judge(run, "everything, without the old epoch's events", &evidence, &[]);
    verdict.require(INCOMPLETE, "absent-events", &stream(&topic, 0, 0));
    site.ledger.fsck();
}

fn deleted_records(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let (topic, place) = (site.topic.clone(), site.place(0));
    site.produce(100);
    site.until_anchored();
    site.ledger.ingest.kill9();
    site.produce(100);
    run.fault("records are deleted past the cursor");
    site.kafka.delete_records(&topic, 0, 160);
    site.account.destroy(&place, |offset| offset < 160);
    let ended = Instant::now();
    site.ledger.ingest.start_again();
    site.recover(run, ended);

    let evidence = site.evidence(&[]);
    let verdict = site.judge(run, "everything, without the deleted events", &evidence, &[]);
    verdict.require(INCOMPLETE, "gap", &at(&topic, 0, 0, 100..160));
    verdict.require(INCOMPLETE, "absent-events", &stream(&topic, 0, 0));
    // Kafka also lost the events sealed before. From the gap on, the auditor may accept the evidence.
    let tail = format!("{topic}/0@100..");
    let verdict = site.check(run, "from the gap on", &evidence, &["--stream", &tail], |_| true);
    verdict.require(INCOMPLETE, "gap", &at(&topic, 0, 0, 100..160));
    let accept = ["--stream", &tail, "--accept-gap", "retention"];
    let verdict = site.check(run, "from the gap on, gaps by retention accepted", &evidence, &accept, |_| true);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    let accept = ["--stream", &tail, "--accept-gap", "start"];
    let verdict = site.check(run, "from the gap on, other gaps accepted", &evidence, &accept, |_| true);
    assert_eq!(verdict.code, INCOMPLETE, "{:#}", verdict.report);
    site.ledger.fsck();
}

fn transactions(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let topic = site.topic.clone();
    let transactional = site.producer(&[("transactional.id", &topic)]);
    transactional.init_transactions();
    for _ in 0..5 {
        run.fault("a transaction is committed, another aborted");
        transactional.begin();
        site.send(&transactional, 0, 20);
        transactional.commit();
        site.account.add(transactional.acknowledged());
        transactional.begin();
        site.send(&transactional, 0, 30);
        // They are in the log, but not committed.
        transactional.acknowledged();
        transactional.abort();
        site.produce(10);
    }
    site.until_sealed();

    run.fault("a transaction is left open");
    transactional.begin();
    site.send(&transactional, 0, 15);
    let open = transactional.acknowledged();
    let stable = open.first().unwrap().offset;
    site.produce(25);
    // A restarted ingest-consumer also waits at the open transaction.
    site.ledger.ingest.restart();
    site.ledger.ingest.until_ready();
    assert_eq!(site.sealed(), Some(stable));
    let ended = Instant::now();
    transactional.commit();
    site.account.add(open);
    site.recover(run, ended);
    site.prove(run);
}

fn new_partitions(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let topic = site.topic.clone();
    site.produce(100);
    site.until_sealed();
    run.fault("three more partitions");
    site.kafka.add_partitions(&topic, 4);
    site.partitions = 4;
    let ended = Instant::now();
    site.produce(100);
    site.recover(run, ended);
    site.prove(run);
}

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn codecs(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: CODECS.len() as u32, ..Plan::default() });
    let topic = site.topic.clone();
    let values: Vec<String> = (0..500).map(|_| site.value()).collect();
    for (partition, codec) in (0..).zip(CODECS) {
        run.fault(codec);
        let producer = site.producer(&[("compression.type", codec)]);
        for (value, timestamp) in values.iter().zip(1_700_000_000_000..) {
            let (key, value, timestamp) = (Some("key"), Some(value.as_str()), Some(timestamp));
            producer.send(ToProduce { topic: &topic, partition, key, value, timestamp });
        }
        site.account.add(producer.acknowledged());
        let log = site.kafka.data().join(format!("{topic}-{partition}/00000000000000000000.log"));
        // The low three bits of a batch's attributes, in the file as on the wire.
        assert_eq!(fs::read(log).unwrap()[22] & 7, partition as u8, "the broker stored another codec than {codec}");
    }
    let evidence = site.prove(run);
    let mut forgery = Forgery::of(&evidence.bundle);
    let mut leaves = |partition| {
        let batches = &forgery.stream(&topic, partition).batches;
        batches.iter().flat_map(|batch| batch.leaf_index.iter().map(|leaf| leaf.to_bytes())).collect::<Vec<_>>()
    };
    let plain = leaves(0);
    assert_eq!(plain.len(), values.len());
    (1..CODECS.len() as u32).for_each(|codec| assert!(leaves(codec) == plain, "{}", CODECS[codec as usize]));
}
