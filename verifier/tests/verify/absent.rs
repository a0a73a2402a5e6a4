//! Absent or unreadable evidence hides no contradiction.

use std::collections::BTreeSet;
use std::fs;

use evidence::tree::leaf_hash;
use evidence::{Entry, Hash, sha256};

use crate::chain::desk_of;
use crate::common::bundles::{Bundle, Desk};
use crate::common::clones::Anchors;
use crate::common::{Ledger, stream};

/// The bundle of the whole example without some entries.
fn without(ledger: &Ledger, skipped: &[u64]) -> Bundle {
    let seqs: BTreeSet<u64> = (0..ledger.size()).filter(|seq| !skipped.contains(seq)).collect();
    Bundle { streams: ledger.bundle().streams, ..ledger.bundle_of(&seqs, ledger.size()) }
}

/// Links the entries from this one on to changed ones, as a dishonest log would.
fn link(ledger: &mut Ledger, from: usize) {
    for seq in from..ledger.entries.len() {
        let mut entry = ledger.entry(seq as u64);
        entry.prev = Some(leaf_hash(&ledger.entries[seq - 1]));
        ledger.entries[seq] = entry.to_bytes();
    }
}

fn codes(desk: &Desk) -> Vec<&'static str> {
    desk.verify().findings.into_iter().map(|finding| finding.code.as_str()).collect()
}

/// Bundles that are neither tampered nor proven, with exit code and code of each.
fn flawed(ledger: &Ledger) -> [(Bundle, u8, &'static str); 3] {
    let no_grant = without(ledger, &[1]);
    let mut no_path = without(ledger, &[2]);
    // The first run cannot be proven, as it comes with one hash too many.
    no_path.runs[0].right.push(Hash([0; 32]));
    let mut no_lines = ledger.bundle();
    no_lines.heads.as_mut().expect("has heads").swap(0, 1);
    [(no_grant, 3, "absent-entry"), (no_path, 5, "malformed"), (no_lines, 5, "malformed")]
}

#[test]
fn altered_event_is_found_after_absent_entry() {
    let ledger = Ledger::example();
    let mut desk = desk_of(&ledger);
    for (bundle, exit_code, code) in flawed(&ledger) {
        desk.put(&bundle).refused(exit_code, code);
        assert_eq!(codes(&desk), [code], "nothing else is wrong");
        assert!(
            exit_code == 5 && bundle.runs.len() == 1 || desk.verify().streams.iter().all(|s| s.proven().is_empty())
        );
        for seq in [3, 10] {
            let mut forged = bundle.clone();
            forged.batch(seq).events[3].timestamp += 1;
            let problem = desk.put(&forged).refused(1, "altered-event");
            assert!(problem.contains(&format!("entry {seq}")), "{problem}");
            desk.refused(1, code);
            let mut forged = bundle.clone();
            forged.batch(seq).leaf_index[3].timestamp += 1;
            desk.put(&forged).refused(1, "altered-leaf-index");
        }
        // Absent events of a batch whose summary was not applied are no finding.
        let mut shorter = bundle.clone();
        shorter.batch(10).events.pop();
        assert_eq!(desk.put(&shorter).verify().verdict.exit_code(), exit_code);
    }
}

#[test]
fn runs_after_a_hole_must_be_in_tree() {
    let ledger = Ledger::example();
    let mut desk = desk_of(&ledger);
    for first in [1, 2] {
        let mut bundle = without(&ledger, &[first, 8]);
        if first == 2 {
            bundle.runs[0].right.push(Hash([0; 32]));
        }
        assert_ne!(desk.put(&bundle).verify().verdict.exit_code(), 1);
        let last = bundle.runs.len() - 1;
        let entry = &mut bundle.runs[last].entries[0];
        let at = entry.len() - 10;
        entry[at] ^= 1;
        assert!(desk.put(&bundle).refused(1, "altered-entry").starts_with("entry 9:"));
    }
}

#[test]
fn entries_after_a_hole_must_decode() {
    let mut ledger = Ledger::example();
    ledger.entries.push(b"nonsense".to_vec());
    let mut desk = desk_of(&ledger);
    let problem = desk.put(&without(&ledger, &[1])).refused(1, "malformed-entry");
    assert!(problem.starts_with("entry 12:"), "{problem}");
    desk.refused(1, "absent-entry");
    // Each of two unreadable entries is named, and the entries after them are compared.
    ledger.entries.pop();
    let entry = String::from_utf8(ledger.entries[2].clone()).expect("text");
    let to_come = entry.replace("streamseal/key@v1", "streamseal/key@v2");
    for seq in [1, 2] {
        ledger.entries[seq] = to_come.clone().into_bytes();
    }
    link(&mut ledger, 3);
    let mut desk = desk_of(&ledger);
    let mut bundle = ledger.bundle();
    desk.put(&bundle).refused(5, "unsupported");
    assert_eq!(codes(&desk), ["unsupported", "unsupported"]);
    bundle.batch(10).events[0].timestamp += 1;
    desk.put(&bundle).refused(1, "altered-event");
}

/// Rules of the chain that take no keys are checked for entries that cannot be applied, too.
#[test]
fn entries_after_a_hole_must_follow() {
    type Change<'a> = &'a dyn Fn(&mut Entry);
    let changes: [(&str, Change<'_>); 3] = [
        ("wrong-seq", &|entry| entry.seq += 1),
        ("wrong-entry-prev", &|entry| entry.prev = Some(Hash([7; 32]))),
        ("time-backwards", &|entry| entry.time -= 1),
    ];
    for (code, change) in changes {
        // Key entry 1 or 2 was not given.
        for (seq, skipped) in [(4, 1), (11, 1), (4, 2)] {
            let mut ledger = Ledger::example();
            let mut entry = ledger.entry(seq);
            change(&mut entry);
            ledger.entries[seq as usize] = entry.to_bytes();
            link(&mut ledger, seq as usize + 1);
            let mut desk = desk_of(&ledger);
            let problem = desk.put(&without(&ledger, &[skipped])).refused(1, code);
            assert!(problem.contains(&format!("entry {seq}")), "{problem}");
            desk.refused(1, "absent-entry");
        }
    }
}

#[test]
fn heads_lines_after_a_hole_are_compared() {
    let ledger = Ledger::example();
    let mut desk = desk_of(&ledger);
    let mut bundle = without(&ledger, &[1]);
    bundle.heads.as_mut().expect("has heads")[0].statement = sha256(b"another");
    assert!(desk.put(&bundle).refused(1, "altered-heads").starts_with("heads, entry 11:"));
}

#[test]
fn runs_before_a_cut_one_are_applied() {
    let ledger = Ledger::example();
    let mut desk = desk_of(&ledger);
    let cut = |desk: &mut Desk, bundle: &Bundle| {
        desk.put(bundle);
        let entries = desk.inputs.bundle.join("entries/000000");
        let mut bytes = fs::read(&entries).expect("read");
        let manifest = desk.inputs.bundle.join("manifest");
        let text = fs::read_to_string(&manifest).expect("read");
        let shorter = text.replace(&format!("entries {}\n", bytes.len()), &format!("entries {}\n", bytes.len() - 1));
        bytes.pop();
        fs::write(entries, bytes).expect("written");
        fs::write(manifest, shorter).expect("written");
    };
    let mut bundle = without(&ledger, &[8]);
    cut(&mut desk, &bundle);
    desk.refused(5, "malformed");
    assert_eq!(codes(&desk), ["malformed"], "the fault is named once");
    bundle.batch(3).events[3].timestamp += 1;
    cut(&mut desk, &bundle);
    desk.refused(1, "altered-event");
}

#[test]
fn checkpoint_is_compared_with_anchors_despite_hole() {
    let ledger = Ledger::example();
    let other = {
        let mut other = Ledger::new();
        other.seal(&stream("orders", 0, 0), 3);
        for _ in 0..8 {
            other.seal(&stream("orders", 0, 0), 1);
        }
        other
    };
    assert_eq!((ledger.size(), ledger.genesis()), (other.size(), other.genesis()));
    for (bundle, exit_code, _) in flawed(&ledger) {
        let mut desk = Desk::new(&ledger.trust());
        desk.put(&bundle);
        let clone = desk.path("anchors.git");
        Anchors::of(&ledger, &clone, &[12]);
        desk.inputs.clones.push(clone);
        assert_eq!(desk.verify().verdict.exit_code(), exit_code);
        let clone = desk.path("other.git");
        Anchors::of(&other, &clone, &[12]);
        desk.inputs.clones.push(clone);
        desk.refused(1, "fork");
    }
}
