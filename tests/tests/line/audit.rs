//! The auditor's verdicts, with finding codes and places.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use evidence::batch::root;
use evidence::statement::Summary;
use evidence::{Algorithm, LeafPreimage, SignedStatement, SigningKey, Statement, content_hash, decode_content};
use serde_json::Value;

use crate::input::TOPICS;
use crate::{COMMITMENTS, Evidence, Site};
use testbed::commitments::all_are_published;
use testbed::forge::{Batch, Forgery, Record};
use testbed::ledger::{INCOMPLETE, Ledger, NOT_ANCHORED, PROVEN, TAMPERED, Verification, number, verify, verify_alone};

/// The topic to tamper with.
const TOPIC: &str = TOPICS[0];
const PARTITION: u32 = 2;

/// The batch to tamper with: inside its stream, and with at least four events.
struct Target {
    seq: u64,
    offsets: Range<u64>,
}

impl Target {
    fn in_bundle(bundle: &Path) -> Self {
        let mut forgery = Forgery::of(bundle);
        let batches = &forgery.stream(TOPIC, PARTITION).batches;
        let inner = &batches[1..batches.len() - 1];
        let batch = inner.iter().find(|batch| batch.events.len() >= 4).expect("a batch of several events");
        let offset = |record: Option<&Record>| record.unwrap().offset as u64;
        Self { seq: batch.seq, offsets: offset(batch.events.first())..offset(batch.events.last()) + 1 }
    }

    fn batch<'a>(&self, forgery: &'a mut Forgery) -> &'a mut Batch {
        let batches = forgery.stream(TOPIC, PARTITION).batches.iter_mut();
        batches.into_iter().find(|batch| batch.seq == self.seq).expect("the bundle has the batch")
    }

    /// The offset of event number `i`.
    fn offset(&self, i: u64) -> Range<u64> {
        let offset = self.offsets.start + i;
        offset..offset + 1
    }
}

/// The verifier proves one event per line, and the bundle holds exactly these lines.
pub(crate) fn all_lines_are_proven(site: &Site, evidence: &Evidence) {
    let verdict = audit(evidence, &evidence.bundle);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    assert_eq!(verify_alone(&evidence.trust, &evidence.bundle, evidence.clone.path()), verdict);
    let mut proven = BTreeMap::new();
    for stream in verdict.report["streams"].as_array().unwrap() {
        let place = (stream["topic"].as_str().unwrap(), stream["partition"].as_u64().unwrap() as u32);
        assert_eq!(stream["epoch"], "0");
        let range = &stream["proven"][0];
        assert_eq!((&range["from"], &range["to"]), (&Value::from("0"), &stream["events"]), "{stream:#}");
        assert!(stream["anchored"].is_object(), "{stream:#}");
        proven.insert(place, number(&stream["events"]).unwrap());
    }
    let produced = site.input.places().map(|(topic, partition, lines)| ((topic, partition), lines)).collect();
    assert_eq!(proven, produced);

    let mut exported: BTreeMap<(String, u32), Vec<u8>> = BTreeMap::new();
    for (stream, record) in Forgery::of(&evidence.bundle).events() {
        let content = decode_content(&record.content).unwrap();
        let text = exported.entry((stream.partition.topic.clone(), stream.partition.number)).or_default();
        text.extend_from_slice(content.value.unwrap());
        text.push(b'\n');
    }
    for (topic, partition, _) in site.input.places() {
        let same = exported[&(topic.to_owned(), partition)] == site.input.lines(topic, partition);
        assert!(same, "{topic}/{partition}: the exported lines differ from the produced ones");
    }
}

/// The topic of commitments holds every entry, first in chain order.
pub(crate) fn every_entry_was_published(site: &Site, ledger: &Ledger, evidence: &Evidence) {
    all_are_published(site.kafka, COMMITMENTS, ledger, &evidence.bundle);
}

/// Tampers with a bundle in every way, and checks the verdict.
pub(crate) fn tampering_with_a_bundle_is_found(site: &Site, evidence: &Evidence) {
    let tamper = |name: &str, how: &dyn Fn(&mut Forgery)| {
        let mut forgery = Forgery::of(&evidence.bundle);
        how(&mut forgery);
        let bundle = site.folder.join(name);
        forgery.write(&bundle);
        audit(evidence, &bundle)
    };

    let target = Target::in_bundle(&evidence.bundle);

    let changed = tamper("changed", &|forgery| change(&mut target.batch(forgery).events[1]));
    changed.require(TAMPERED, "altered-event", &at(target.offset(1)));

    let fitted = tamper("fitted", &|forgery| {
        let batch = target.batch(forgery);
        change(&mut batch.events[1]);
        batch.leaf_index[1].content = content_hash(&batch.events[1].content);
    });
    fitted.require(TAMPERED, "altered-batch", &at(target.offsets.clone()));

    let dropped = tamper("dropped", &|forgery| {
        target.batch(forgery).events.remove(1);
    });
    dropped.require(INCOMPLETE, "absent-event", &at(target.offset(1)));

    let swapped = tamper("swapped", &|forgery| {
        let events = &mut target.batch(forgery).events;
        let (one, other) = events.split_at_mut(2);
        std::mem::swap(&mut one[1].content, &mut other[0].content);
    });
    swapped.require(TAMPERED, "altered-event", &at(target.offset(1)));
    swapped.require(TAMPERED, "altered-event", &at(target.offset(2)));

    let reordered = tamper("reordered", &|forgery| target.batch(forgery).events.swap(1, 2));
    reordered.require(TAMPERED, "reordered-event", &at(target.offset(1)));

    let added = tamper("added", &|forgery| {
        let events = &mut target.batch(forgery).events;
        let offset = target.offsets.end as i64;
        events.push(Record { offset, ..events[1].clone() });
    });
    added.require(TAMPERED, "added-event", &at(target.offsets.end..target.offsets.end + 1));

    let without_batch = tamper("without-batch", &|forgery| {
        forgery.stream(TOPIC, PARTITION).batches.retain(|batch| batch.seq != target.seq);
        forgery.drop_entry(target.seq);
    });
    without_batch.require(INCOMPLETE, "uncovered", &at(target.offsets.clone()));

    let forged = tamper("forged-entry", &|forgery| forge_batch(forgery, &target));
    forged.require(TAMPERED, "altered-entry", &[("/entry", target.seq.to_string().into())]);
}

/// Changes an event and all that a forger can adapt: leaf index, root, and a summary signed with the forger's own key
/// under the name of the ledger's key.
fn forge_batch(forgery: &mut Forgery, target: &Target) {
    let batch = target.batch(forgery);
    change(&mut batch.events[1]);
    batch.leaf_index[1].content = content_hash(&batch.events[1].content);
    let leaves: Vec<_> = batch.leaf_index.iter().map(LeafPreimage::leaf).collect();
    let seq = target.seq;
    let mut entry = forgery.entry(seq);
    let Statement::Summary(summary) = entry.statement.statement().clone() else { panic!("entry {seq} is no summary") };
    let name = entry.statement.note().signatures().next().unwrap().name().to_owned();
    let key = SigningKey::from_seed(&name, Algorithm::Ed25519, &[7; 32]).unwrap();
    let summary = Summary { root: root(&leaves), ..summary };
    entry.statement = SignedStatement::sign(Statement::Summary(summary), &[&key]);
    forgery.replace_entry(seq, entry.to_bytes());
}

/// A rewritten history is inconsistent. A truncated one does not cover the bundle.
pub(crate) fn a_rewritten_history_is_found(site: &Site, evidence: &Evidence) {
    let commits = evidence.clone.commits();
    assert!(commits.len() >= 3, "{commits:?}");
    let middle = commits.len() / 2;

    let rewritten = evidence.clone.copy(site.folder.join("rewritten.clone"));
    rewritten.drop_commit(&commits[middle]);
    let verdict = verify(&evidence.trust, &evidence.bundle, rewritten.path(), None);
    let after = rewritten.commits()[middle].clone();
    verdict.require(TAMPERED, "inconsistent-anchors", &[("/commit", after.into())]);

    let rewound = evidence.clone.copy(site.folder.join("rewound.clone"));
    rewound.rewind(&commits[middle]);
    let verdict = verify(&evidence.trust, &evidence.bundle, rewound.path(), None);
    verdict.require(NOT_ANCHORED, "not-anchored", &[]);
}

/// Old evidence is proven by itself. An auditor whose pin file has a larger head finds a rollback.
pub(crate) fn old_evidence_is_found_by_the_pin(site: &Site, evidence: &Evidence, early: &Evidence) {
    let pin = site.folder.join("pin");
    let pinned = |evidence: &Evidence| verify(&evidence.trust, &evidence.bundle, evidence.clone.path(), Some(&pin));
    assert_eq!(audit(early, &early.bundle).code, PROVEN);
    assert_eq!(pinned(early).code, PROVEN);
    assert_eq!(pinned(evidence).code, PROVEN);
    pinned(early).require(TAMPERED, "rollback", &[("/file", pin.display().to_string().into())]);
}

/// Evidence of another ledger with the same origin and events is refused.
pub(crate) fn another_ledger_is_found(site: &Site, evidence: &Evidence, forged: &Evidence) {
    assert_eq!(audit(forged, &forged.bundle).code, PROVEN);
    let verdict = verify(&evidence.trust, &forged.bundle, forged.clone.path(), None);
    verdict.require(TAMPERED, "wrong-genesis", &[]);

    // So is evidence that claims this ledger's genesis.
    let mut claim = Forgery::of(&forged.bundle);
    claim.set_genesis(Forgery::of(&evidence.bundle).genesis());
    let bundle = site.folder.join("claim");
    claim.write(&bundle);
    let verdict = verify(&evidence.trust, &bundle, forged.clone.path(), None);
    verdict.require(TAMPERED, "not-by-log", &[("/file", "checkpoint".into())]);
}

fn audit(evidence: &Evidence, bundle: &Path) -> Verification {
    verify(&evidence.trust, bundle, evidence.clone.path(), None)
}

/// Changes one bit of an event's last byte.
fn change(record: &mut Record) {
    *record.content.last_mut().unwrap() ^= 1;
}

/// Offsets of the target's stream, as a finding states them.
fn at(offsets: Range<u64>) -> Vec<(&'static str, Value)> {
    vec![
        ("/stream/topic", TOPIC.into()),
        ("/stream/partition", PARTITION.into()),
        ("/offsets/from", offsets.start.to_string().into()),
        ("/offsets/to", offsets.end.to_string().into()),
    ]
}
