//! Events that Kafka loses before or after they are sealed.

use std::collections::BTreeSet;
use std::time::Instant;

use testbed::{ToProduce, eventually};

use crate::run::{Run, Scenario};
use crate::site::{Evidence, Plan, SOON, Site, offsets_in_kafka};
use testbed::forge::Forgery;
use testbed::ledger::{INCOMPLETE, PROVEN, number};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "erased-events",
        fault: "DeleteRecords of sealed events, up to the middle of a batch",
        expected: "with a kept leaf index, exactly these events are absent; the rest is proven",
        quick: true,
        play: erased,
    },
    Scenario {
        name: "compacted-events",
        fault: "compaction of sealed events",
        expected: "with a kept leaf index, exactly these events are absent; the rest is proven",
        quick: true,
        play: compacted_after,
    },
    Scenario {
        name: "compacted-before",
        fault: "compaction of events before they are sealed",
        expected: "their offsets are holes; the rest is proven",
        quick: false,
        play: compacted_before,
    },
];

fn erased(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let (topic, place) = (site.topic.clone(), site.place(0));
    site.produce(200);
    let before = site.evidence(&[]);
    run.fault("sealed events are deleted");
    site.kafka.delete_records(&topic, 0, 117);
    site.account.destroy(&place, |offset| offset < 117);
    let absent = (0..117).collect();
    name_exactly(run, &site, &before, &absent);
}

/// Settings of the compacted topic. Its segments end by the events' timestamps.
const COMPACTED: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.ms", "60000"), ("min.cleanable.dirty.ratio", "0.01")];

const EVENTS: u64 = 200;
const TIME_MS: i64 = 1_700_000_000_000;

/// Longer than a segment lasts.
const HOUR_MS: i64 = 3_600_000;

fn compacted_after(run: &mut Run) {
    let mut site = Site::start(run, Plan { topic: COMPACTED, partitions: 1, ..Plan::default() });
    let place = site.place(0);
    produce_keys(&mut site);
    let before = site.evidence(&[]);
    run.fault("sealed events are compacted");
    let absent = compact(&mut site);
    site.account.destroy(&place, |offset| absent.contains(&offset));
    name_exactly(run, &site, &before, &absent);
}

fn compacted_before(run: &mut Run) {
    let mut site = Site::start(run, Plan { topic: COMPACTED, partitions: 1, ..Plan::default() });
    let place = site.place(0);
    site.ledger.ingest.kill9();
    produce_keys(&mut site);
    run.fault("events are compacted before they are sealed");
    let gone = compact(&mut site);
    site.account.compact(&place, |offset| gone.contains(&offset));
    let ended = Instant::now();
    site.ledger.ingest.start_again();
    site.recover(run, ended);
    site.prove(run);
}

/// Events with a few keys. Compaction keeps the newest event of each.
fn produce_keys(site: &mut Site<'_>) {
    let keys: Vec<String> = (0..EVENTS).map(|number| format!("key {}", number * number % 37)).collect();
    produce_at(site, &keys, TIME_MS);
}

fn produce_at(site: &mut Site<'_>, keys: &[String], timestamp: i64) {
    let producer = site.producer(&[]);
    for key in keys {
        let value = site.value();
        let (key, value) = (Some(key.as_str()), Some(value.as_str()));
        producer.send(ToProduce { topic: &site.topic, partition: 0, key, value, timestamp: Some(timestamp) });
    }
    site.account.add(producer.acknowledged());
}

/// Ends the segment and waits until the broker has compacted it. Returns the deleted offsets.
fn compact(site: &mut Site<'_>) -> BTreeSet<u64> {
    let last_of_each: usize = 37_usize.div_ceil(2);
    produce_at(site, &["another".to_owned()], TIME_MS + HOUR_MS);
    let left = eventually("the broker compacts", SOON, || {
        let left = offsets_in_kafka(site.kafka, &site.topic, 0);
        // The number of squares modulo 37.
        (left.len() <= last_of_each + 2).then_some(left)
    });
    (0..EVENTS).filter(|offset| !left.contains(offset)).collect()
}

/// With the leaf indexes of earlier evidence, exactly the absent events are named.
fn name_exactly(run: &mut Run, site: &Site<'_>, before: &Evidence, absent: &BTreeSet<u64>) {
    assert!(!absent.is_empty());
    let evidence = site.evidence(&[]);
    let mut forgery = Forgery::of(&evidence.bundle);
    forgery.keep_leaf_indexes_of(&Forgery::of(&before.bundle));
    let evidence = Evidence { bundle: evidence.bundle.with_extension("with-index"), ..evidence };
    forgery.write(&evidence.bundle);
    let verdict = site.judge(run, "the rest, with the kept leaf index", &evidence, &[]);
    assert_eq!(verdict.code, INCOMPLETE, "{:#}", verdict.report);
    let findings = verdict.report["findings"].as_array().unwrap();
    let named = findings.iter().flat_map(|finding| {
        assert_eq!(finding["code"], "absent-event", "{finding:#}");
        number(&finding["offsets"]["from"]).unwrap()..number(&finding["offsets"]["to"]).unwrap()
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), *absent);
    let verdict = before.verify(&[]);
    run.verdict("the evidence from before", &verdict);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
}
