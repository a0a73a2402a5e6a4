//! Checks after every case, on the evidence that an auditor gets.

use std::collections::BTreeMap;
use std::path::Path;

use evidence::decode_content;
use evidence::tree::{CompactRange, leaf_hash};
use testbed::{git, run, until};

use crate::place::{Place, SOON};
use crate::report::Tally;
use crate::site::BATCH_EVENTS;
use testbed::anchors::AnchorClone;
use testbed::commitments::Published;
use testbed::forge::Forgery;
use testbed::ledger::{PROVEN, verify};

/// Batches that are sealed after the injection, to see that it goes on.
const MORE: usize = 2;

/// Starts the committer again, seals the old batches again and some new ones, checks the database, anchors, and
/// verifies.
pub(crate) fn recover(place: &mut Place<'_>) -> Tally {
    let until = place.sealed + MORE;
    let committer = place.committer();
    assert!(place.seal(0..until, &committer), "the committer does not run again:\n{}", committer.log_text());
    place.until_signed(&committer);
    place.stop(&committer);
    place.fsck();

    let committer = place.committer();
    place.anchor_all();
    let tally = prove(place);
    place.stop(&committer);
    tally
}

/// Verifies that all sealed events are proven. The committer runs, and all entries are anchored.
pub(crate) fn prove(place: &Place<'_>) -> Tally {
    let bundle = place.site.fresh("bundle");
    let exported = place.export(&bundle);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    check_repositories(place);
    let clone = place.site.fresh("clone");
    let clone = AnchorClone::of(place.remote().to_str().unwrap(), clone);
    let kept = clone.commits();
    for commit in &place.commits {
        assert!(kept.contains(commit), "commit {commit} was served and is lost");
    }
    let tally = compare(place, &bundle, clone.path());
    published(place, &bundle);
    for path in [bundle.as_path(), clone.path()] {
        std::fs::remove_dir_all(path).unwrap();
    }
    tally
}

fn check_repositories(place: &Place<'_>) {
    for repository in [place.join("anchor.git"), place.remote()] {
        run(git().arg("-C").arg(repository).args(["fsck", "--full", "--strict"]));
    }
}

/// Compares the verifier's report with the produced events, acknowledged entries and signed heads.
pub(crate) fn compare(place: &Place<'_>, bundle: &Path, clone: &Path) -> Tally {
    let verdict = verify(&place.trust(), bundle, clone, None);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    let forgery = Forgery::of(bundle);
    let mut tally = Tally::default();

    let entries: Vec<_> = forgery.entries().collect();
    for (&seq, text) in &place.acknowledged {
        let found = entries.get(seq as usize).map(evidence::Entry::to_bytes);
        tally.lost += u64::from(found.as_deref() != Some(text.as_bytes()));
    }
    let mut end = 0;
    for advance in entries.iter().filter_map(|entry| entry.statement.statement().advance()) {
        tally.doubled += u64::from(advance.first < end);
        end = advance.next;
    }
    for &(size, root) in &place.heads {
        let mut tree = CompactRange::starting_at(0);
        entries[..size as usize].iter().for_each(|entry| tree.push_leaf(leaf_hash(&entry.to_bytes())));
        assert_eq!(tree.root(), root, "the signed head of size {size} contradicts the chain");
    }

    let values = &place.site.values[..place.sealed * BATCH_EVENTS as usize];
    let mut found: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for (_, record) in forgery.events() {
        let value = decode_content(&record.content).unwrap().value.unwrap().to_vec();
        tally.doubled += u64::from(found.insert(record.offset, value).is_some());
    }
    for (offset, value) in (0..).zip(values) {
        match found.remove(&offset) {
            None => tally.lost += 1,
            Some(there) => tally.falsely_proven += u64::from(there != *value),
        }
    }
    tally.falsely_proven += found.len() as u64;
    tally.events += values.len() as u64;
    tally
}

/// Whether the topic of commitments has every entry since the case's start, in order of first occurrence.
fn published(place: &Place<'_>, bundle: &Path) {
    let chain: Vec<_> = Forgery::of(bundle).entries().collect();
    // An entry may be anchored before it is published.
    until("every entry is published", SOON, || {
        let Published { next, .. } = Published::read(place.commitments(), &chain, place.published);
        next == chain.len() as u64
    });
}
