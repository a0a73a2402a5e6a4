//! Entries and statements that break the chain's rules, or are absent.

use std::collections::BTreeSet;

use bundle::Run;
use evidence::chain::Role;
use evidence::statement::{Action, Reason, SignedStatement, Statement, Summary};
use evidence::{Algorithm, Hash, SigningKey, sha256};

use crate::common::bundles::{Desk, Stream};
use crate::common::clones::Anchors;
use crate::common::{Event, Ledger, key, stream};
use crate::proven;

/// A desk with the ledger's whole bundle and a clone that has its newest head.
pub(crate) fn desk_of(ledger: &Ledger) -> Desk {
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(ledger, &clone, &[ledger.size()]);
    desk.inputs.clones.push(clone);
    desk.put(&ledger.bundle());
    desk
}

#[test]
fn entry_by_unknown_key_is_refused() {
    let mut ledger = Ledger::example();
    let orders = stream("orders", 0, 0);
    let summary = ledger.summary(&orders, 30..31, &[Event::new(30, b"forged")]);
    let stranger = key("ingest-b", Algorithm::Ed25519, 77);
    ledger.force(SignedStatement::sign(Statement::Summary(summary.clone()), &[&stranger]));
    assert!(desk_of(&ledger).refused(1, "unknown-key").starts_with("orders/0, entry 12:"));
    // Under the name of a key that is granted.
    ledger.entries.pop();
    let same_name = key("ingest-a", Algorithm::Ed25519, 77);
    ledger.force(SignedStatement::sign(Statement::Summary(summary.clone()), &[&same_name]));
    assert!(desk_of(&ledger).refused(1, "unknown-key").starts_with("orders/0, entry 12:"));
    // By a key with another role.
    ledger.entries.pop();
    ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.operator]));
    assert!(desk_of(&ledger).refused(1, "wrong-role").starts_with("orders/0, entry 12:"));
}

#[test]
fn offset_sealed_twice_is_refused() {
    let mut ledger = Ledger::example();
    let orders = stream("orders", 0, 0);
    let prev = Some(ledger.entry(7).statement.hash());
    let summary = Summary { prev, ..ledger.summary(&orders, 22..30, &[Event::new(22, b"forged")]) };
    ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
    assert!(desk_of(&ledger).refused(1, "wrong-cursor").starts_with("orders/0, entry 12:"));
    // In a small bundle that leaves out the honest batch, the heads statement contradicts.
    let mut bundle = ledger.sparse(&orders, 0..22);
    let seqs: BTreeSet<u64> = (0..13).filter(|seq| *seq != 10).collect();
    bundle.runs = ledger.runs(&seqs, 13);
    let mut desk = desk_of(&ledger);
    desk.put(&bundle).expect(&["orders/0@0..22"]);
    assert!(desk.refused(1, "heads-contradict").starts_with("orders/0, offsets 22 to 29, entry 12:"));
}

#[test]
fn changed_byte_in_entry_is_named_by_seq() {
    let (ledger, mut desk) = proven::desk();
    let bundle = ledger.bundle();
    for seq in [0, 2, 5, 11] {
        let entry = &ledger.entries[seq];
        for at in (0..entry.len()).step_by(7) {
            let mut forged = bundle.clone();
            forged.runs[0].entries[seq][at] ^= 1;
            let problem = desk.put(&forged).refused(1, "altered-entry");
            // No entry follows the last one, so only a signature can show that it was altered.
            let named = problem.starts_with(&format!("entry {seq}:"))
                || (seq == 11 && problem.starts_with("entry 0: entries 0 to 11 lead to"));
            assert!(named, "byte {at} of entry {seq}: {problem}");
        }
    }
}

#[test]
fn hashes_of_run_must_lead_to_root() {
    let (ledger, mut desk) = proven::desk();
    let orders = stream("orders", 0, 0);
    let bundle = ledger.sparse(&orders, 0..20);
    desk.expect(&["orders/0@0..20"]).put(&bundle).proven();
    let last = bundle.runs.len() - 1;
    let mut forged = bundle.clone();
    forged.runs[last].left[0] = Hash([0; 32]);
    let problem = desk.put(&forged).refused(1, "altered-entry");
    assert!(problem.starts_with("entry 11: the entry is not the one in the tree"), "{problem}");
    let mut forged = bundle.clone();
    forged.runs[last].left.pop();
    desk.put(&forged).refused(5, "malformed");
    let mut forged = bundle.clone();
    forged.runs[0].right.push(Hash([0; 32]));
    desk.put(&forged).refused(5, "malformed");
    // An entry in another's place.
    let mut forged = bundle;
    forged.runs[last].entries[0] = ledger.entries[10].clone();
    let problem = desk.put(&forged).refused(1, "altered-entry");
    assert!(problem.starts_with("entry 11:") && problem.contains("it has seq 10"), "{problem}");
}

#[test]
fn forged_genesis_is_refused() {
    let (honest, mut desk) = proven::desk();
    // Another ledger of the same origin, made with the stolen log key.
    let forged = {
        let mut ledger = Ledger::with_nonce(b"forged");
        ledger.seal(&stream("orders", 0, 0), 10);
        ledger.heads();
        ledger
    };
    let mut bundle = forged.bundle();
    desk.put(&bundle);
    assert!(desk.refused(1, "wrong-genesis").starts_with("manifest:"));
    bundle.genesis = honest.genesis();
    desk.put(&bundle);
    assert!(desk.refused(1, "wrong-genesis").starts_with("entry 0:"));
    // Only the first entry is forged.
    let mut bundle = honest.bundle();
    bundle.runs[0].entries[0] = forged.entries[0].clone();
    desk.put(&bundle);
    assert!(desk.refused(1, "altered-entry").starts_with("entry 0:"));
}

#[test]
fn evidence_of_another_ledger_proves_nothing() {
    let (ledger, mut desk) = proven::desk();
    let mut bundle = ledger.bundle();
    bundle.origin = "example.com/other".into();
    desk.put(&bundle);
    assert!(desk.refused(5, "other-ledger").starts_with("manifest:"));
    // A checkpoint of another log, valid in itself.
    let other = key("example.com/other", Algorithm::Ed25519, 60);
    let mut bundle = ledger.bundle();
    let mut head = ledger.checkpoint(12).checkpoint().clone();
    head.origin = "example.com/other".into();
    bundle.checkpoint = evidence::SignedCheckpoint::sign(head, &other).to_bytes();
    desk.put(&bundle);
    assert!(desk.refused(1, "other-log").starts_with("checkpoint:"));
    // A checkpoint of this name, by a key that was never granted.
    let thief = key(crate::common::ORIGIN, Algorithm::Ed25519, 61);
    let head = ledger.checkpoint(12).checkpoint().clone();
    bundle.checkpoint = evidence::SignedCheckpoint::sign(head, &thief).to_bytes();
    desk.put(&bundle);
    assert!(desk.refused(1, "not-by-log").starts_with("checkpoint:"));
}

#[test]
fn key_entries_cannot_be_left_out() {
    let (ledger, mut desk) = proven::desk();
    let without = |seqs: &[u64]| {
        let kept = (0..12).filter(|seq| !seqs.contains(seq)).collect();
        let mut bundle = ledger.bundle_of(&kept, 12);
        bundle.streams = ledger.bundle().streams;
        bundle
    };
    desk.put(&without(&[0]));
    assert!(desk.refused(3, "absent-entry").starts_with("entry 0:"));
    desk.put(&without(&[1, 2]));
    assert!(desk.refused(3, "absent-entry").starts_with("entry 2:"));
    // The last entry shows that no later key entry was left out.
    let mut bundle = without(&[11]);
    bundle.heads = None;
    desk.expect(&["payments/0#0@0..8"]).put(&bundle);
    assert!(desk.refused(3, "absent-entry").starts_with("entry 11:"));
}

#[test]
fn entry_must_name_an_earlier_key_entry() {
    for keys_seq in [12, 13, 99] {
        let mut ledger = Ledger::example();
        let summary = ledger.summary(&stream("orders", 0, 0), 30..31, &[Event::new(30, b"late")]);
        let statement = SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]);
        ledger.force(statement);
        let mut entry = ledger.entry(12);
        entry.keys = Some((keys_seq, sha256(b"no key entry")));
        ledger.entries[12] = entry.to_bytes();
        // Otherwise a forged bundle could pass for one that lacks a key entry.
        let kept: BTreeSet<u64> = (0..13).filter(|seq| *seq != 7).collect();
        let mut desk = desk_of(&ledger);
        desk.put(&ledger.bundle_of(&kept, 13));
        assert!(desk.refused(1, "wrong-keys").starts_with("orders/0, entry 12:"));
    }
}

/// A key entry is absent only if the bundle has a hole where it would be.
#[test]
fn entry_must_not_name_other_entries_as_keys() {
    let mut ledger = Ledger::example();
    let summary = ledger.summary(&stream("orders", 0, 0), 30..31, &[Event::new(30, b"late")]);
    ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
    // The newest key entry, but with another hash, before a hole; and a batch's entry in a run that the next adjoins.
    for (keys_seq, runs) in [(2, [0..7, 8..13]), (5, [0..8, 8..13])] {
        let mut entry = ledger.entry(12);
        entry.keys = Some((keys_seq, sha256(b"no key entry")));
        ledger.entries[12] = entry.to_bytes();
        let mut bundle = ledger.bundle_of(&BTreeSet::new(), 13);
        bundle.runs = runs.map(|range| ledger.run(range, 13)).to_vec();
        let mut desk = desk_of(&ledger);
        desk.put(&bundle);
        assert!(desk.refused(1, "wrong-keys").starts_with("orders/0, entry 12:"));
    }
}

/// If the entry that grants a witness's key is left out, the report does not call the witness independent.
#[test]
fn independence_takes_all_key_entries() {
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    ledger.seal(&orders, 3);
    let second = key("anchor-b", Algorithm::Cosignature, 5);
    ledger.grant(Role::Anchor, second.verifier_key().clone());
    ledger.heads();
    let mut checkpoint = ledger.checkpoint(6);
    checkpoint.cosign(&second, crate::common::T0);
    let mut desk = Desk::new(&ledger.trust_with(&second, "86400"));
    desk.expect(&["orders/0#0@0..3"]);
    for (kept, exit_code) in [(0..6, 4), (0..4, 3)] {
        let mut bundle = ledger.bundle_of(&kept.collect(), 6);
        bundle.checkpoint = checkpoint.to_bytes();
        bundle.heads = None;
        bundle.streams = vec![ledger.stream(&orders, 0..3)];
        let report = desk.put(&bundle).verify();
        assert_eq!(report.verdict.exit_code(), exit_code, "{report}");
        assert!(report.streams[0].proven().is_empty() && !report.streams[0].intact.is_empty(), "{report}");
        assert!(!report.to_string().contains("not a key of the ledger"), "{report}");
    }
}

#[test]
fn missing_revocation_is_found() {
    let mut ledger = Ledger::example();
    ledger.revoke(Role::Ingest, ledger.ingest.verifier_key().clone(), Some(5));
    ledger.heads_again();
    let mut desk = desk_of(&ledger);
    let kept: BTreeSet<u64> = (0..ledger.size()).filter(|seq| *seq != 12).collect();
    let mut bundle = ledger.bundle_of(&kept, ledger.size());
    bundle.streams = ledger.bundle().streams;
    desk.put(&bundle);
    assert!(desk.refused(3, "absent-entry").starts_with("entry 12:"));
}

#[test]
fn distrusted_key_proves_nothing() {
    let mut ledger = Ledger::example();
    ledger.revoke(Role::Ingest, ledger.ingest.verifier_key().clone(), Some(5));
    let mut desk = desk_of(&ledger);
    let report = desk.verify();
    assert_eq!(report.verdict.exit_code(), 3, "{report}");
    let places: Vec<String> = report.findings.iter().map(|finding| finding.place.to_string()).collect();
    assert_eq!(
        places,
        [
            "orders/0, offsets 10 to 19, entry 5",
            "orders/0, offsets 20 to 21, entry 7",
            "orders/0, offsets 22 to 29, entry 10",
            "orders/1 epoch 1, offsets 0 to 2, entry 9",
            "payments/0, offsets 0 to 7, entry 6",
        ]
    );
    assert_eq!(report.streams[0].proven(), [0..10]);
    desk.expect(&["orders/0@0..10", "orders/1#0"]).proven();
}

#[test]
fn gap_by_distrusted_key_is_not_accepted() {
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    let operator = std::mem::replace(&mut ledger.operator, key("ingest-a", Algorithm::Ed25519, 3));
    ledger.gap(&orders, 10, Reason::Start);
    ledger.operator = operator;
    ledger.heads();
    ledger.revoke(Role::Ingest, ledger.ingest.verifier_key().clone(), Some(3));
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[ledger.size()]);
    desk.inputs.clones.push(clone);
    let mut bundle = ledger.bundle();
    bundle.streams = vec![Stream { id: orders, offsets: 0..10, batches: Vec::new() }];
    desk.inputs.accepted_gaps.extend(Reason::ALL);
    desk.put(&bundle);
    assert!(desk.refused(3, "distrusted-key").starts_with("orders/0, offsets 0 to 9, entry 3:"));
}

#[test]
fn revoked_key_stays_good_for_earlier_entries() {
    let mut ledger = Ledger::example();
    ledger.revoke(Role::Ingest, ledger.ingest.verifier_key().clone(), None);
    desk_of(&ledger).proven();
    let summary = ledger.summary(&stream("orders", 0, 0), 30..31, &[Event::new(30, b"late")]);
    ledger.force(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
    assert!(desk_of(&ledger).refused(1, "revoked-key").starts_with("orders/0, entry 13:"));
}

#[test]
fn distrust_passes_on_to_granted_keys() {
    let mut ledger = Ledger::example();
    let second = key("operator-2", Algorithm::Ed25519, 20);
    let grant = ledger.key_statement(Action::Grant, Role::Operator, second.verifier_key().clone(), None);
    ledger.append(SignedStatement::sign(grant, &[&ledger.operator, &second]));
    let thief = key("ingest-b", Algorithm::Ed25519, 21);
    let grant = ledger.key_statement(Action::Grant, Role::Ingest, thief.verifier_key().clone(), None);
    let granted = ledger.append(SignedStatement::sign(grant, &[&second]));
    let refunds = stream("refunds", 0, 0);
    let honest = std::mem::replace(&mut ledger.ingest, thief);
    ledger.seal(&refunds, 1);
    ledger.ingest = honest;
    ledger.revoke(Role::Operator, second.verifier_key().clone(), Some(granted));
    ledger.heads();
    let desk = desk_of(&ledger);
    let problem = desk.refused(3, "distrusted-key");
    assert!(
        problem.starts_with("refunds/0, offset 0, entry 14:") && problem.contains("ingest-b was granted"),
        "{problem}"
    );
    assert_eq!(desk.verify().findings.len(), 1);
}

/// Grants an operator key, which signs its own grant beside the granting operator.
fn grant_operator(ledger: &mut Ledger, by: &SigningKey, new: &SigningKey) -> u64 {
    let grant = ledger.key_statement(Action::Grant, Role::Operator, new.verifier_key().clone(), None);
    ledger.append(SignedStatement::sign(grant, &[by, new]))
}

/// Grants ingest-b, and seals an event of refunds/0 with it. Returns the seq of the grant.
fn seal_refunds(ledger: &mut Ledger, by: &SigningKey) -> u64 {
    let thief = key("ingest-b", Algorithm::Ed25519, 21);
    let grant = ledger.key_statement(Action::Grant, Role::Ingest, thief.verifier_key().clone(), None);
    let granted = ledger.append(SignedStatement::sign(grant, &[by]));
    let honest = std::mem::replace(&mut ledger.ingest, thief);
    ledger.seal(&stream("refunds", 0, 0), 1);
    ledger.ingest = honest;
    granted
}

#[test]
fn distrusted_operators_revocations_still_hold() {
    let mut ledger = Ledger::example();
    let first = key("operator", Algorithm::Ed25519, 1);
    let second = key("operator-2", Algorithm::Ed25519, 20);
    grant_operator(&mut ledger, &first, &second);
    let granted = seal_refunds(&mut ledger, &first);
    ledger.revoke(Role::Ingest, ledger.ingest.verifier_key().clone(), None);
    ledger.operator = second;
    ledger.revoke(Role::Operator, first.verifier_key().clone(), Some(granted));
    ledger.heads();
    let desk = desk_of(&ledger);
    let problem = desk.refused(3, "distrusted-key");
    assert!(problem.starts_with("refunds/0, offset 0, entry 14:"), "{problem}");
    assert_eq!(desk.verify().findings.len(), 1, "batches of ingest-a stay good");
}

#[test]
fn own_signature_on_grant_adds_no_trust() {
    let mut ledger = Ledger::example();
    let first = key("operator", Algorithm::Ed25519, 1);
    let [second, third] = [20, 22].map(|seed| key(&format!("operator-{seed}"), Algorithm::Ed25519, seed));
    grant_operator(&mut ledger, &first, &second);
    let granted = grant_operator(&mut ledger, &second, &third);
    seal_refunds(&mut ledger, &third);
    ledger.revoke(Role::Operator, second.verifier_key().clone(), Some(granted));
    ledger.heads();
    let problem = desk_of(&ledger).refused(3, "distrusted-key");
    assert!(problem.starts_with("refunds/0, offset 0, entry 15:"), "{problem}");
}

#[test]
fn epoch_start_by_distrusted_operator_is_unknown() {
    let mut ledger = Ledger::example();
    let first = key("operator", Algorithm::Ed25519, 1);
    let second = key("operator-2", Algorithm::Ed25519, 20);
    grant_operator(&mut ledger, &first, &second);
    let epoch = ledger.epoch(&stream("payments", 0, 0), 0);
    ledger.operator = second;
    ledger.revoke(Role::Operator, first.verifier_key().clone(), Some(13));
    ledger.seal(&epoch, 2);
    ledger.heads();
    let mut desk = desk_of(&ledger);
    let problem = desk.refused(3, "distrusted-key");
    assert!(
        problem.starts_with("payments/0 epoch 1, entry 13: a distrusted key signed where the epoch begins"),
        "{problem}"
    );
    assert_eq!(desk.verify().findings.len(), 1, "earlier statements stay good");
    // It matters where the stream is expected.
    desk.expect(&["payments/0#0", "orders/*"]);
    assert!(desk.proven().findings.is_empty());
}

#[test]
fn ungranted_namesake_takes_no_trust() {
    let mut ledger = Ledger::example();
    let again = ledger.key_statement(Action::Grant, Role::Ingest, ledger.ingest.verifier_key().clone(), None);
    ledger.force(SignedStatement::sign(again, &[&key("ingest-a", Algorithm::Ed25519, 77)]));
    let desk = desk_of(&ledger);
    assert!(desk.refused(1, "unknown-key").starts_with("entry 12:"));
    assert_eq!(desk.verify().findings.len(), 1, "batches of ingest-a are not distrusted");
}

#[test]
fn false_summary_is_tampered() {
    let lies: [(&str, &dyn Fn(&mut Summary)); 4] = [
        ("`bytes`", &|summary| summary.bytes += 1),
        ("`time`", &|summary| summary.time = summary.time.map(|(min, max)| (min - 1, max))),
        ("`last`", &|summary| summary.last.as_mut().expect("has events").offset -= 1),
        ("`last`", &|summary| summary.last.as_mut().expect("has events").leaf = sha256(b"another")),
    ];
    for (what, lie) in lies {
        let mut ledger = Ledger::new();
        let orders = stream("orders", 0, 0);
        let events: Vec<Event> = (0..5).map(|offset| Event::new(offset, b"value")).collect();
        let mut summary = ledger.summary(&orders, 0..5, &events);
        lie(&mut summary);
        let seq = ledger.append(SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest]));
        ledger.batches.insert(orders, vec![crate::common::Batch { seq, events }]);
        ledger.heads();
        let mut desk = desk_of(&ledger);
        let problem = desk.refused(1, "false-summary");
        assert!(problem.starts_with("orders/0, offsets 0 to 4, entry 3:") && problem.contains(what), "{problem}");
        let mut bundle = ledger.bundle();
        bundle.batch(3).leaf_index.clear();
        desk.put(&bundle).refused(1, "false-summary");
    }
}

/// A holder of the key signs a false summary with the right root.
#[test]
fn sealed_offsets_must_ascend_within_range() {
    let orders = stream("orders", 0, 0);
    let long = vec![7; 1 << 20];
    let event = |offset| Event::new(offset, b"value");
    let (disorder, outside) = ("it does not come after the one before it", "it lies outside the batch");
    for (events, problem) in [
        (vec![event(11), event(10)], disorder),
        (vec![event(11), event(11)], disorder),
        // The first one is so long that it is hashed alone.
        (vec![Event::new(11, &long), event(10)], disorder),
        (vec![Event::new(11, &long), event(11)], disorder),
        (vec![event(3), event(11)], outside),
    ] {
        let mut ledger = Ledger::new();
        ledger.seal(&orders, 10);
        ledger.seal_events(&orders, 10..12, events);
        ledger.heads();
        let mut desk = desk_of(&ledger);
        let found = desk.refused(1, "altered-leaf-index");
        assert!(found.starts_with("orders/0, offsets 10 to 11, entry 4:") && found.contains(problem), "{found}");
        // Without a leaf index the events alone show it.
        let mut bundle = ledger.bundle();
        bundle.batch(4).leaf_index.clear();
        desk.put(&bundle).refused(1, "added-event");
    }
}

#[test]
fn unknown_versions_are_unsupported() {
    let mut ledger = Ledger::example();
    let entry = String::from_utf8(ledger.entries[5].clone()).expect("text");
    for (from, to) in [("streamseal/summary@v1", "streamseal/summary@v2"), ("plain@v1", "blind@v1")] {
        let changed = entry.replace("seq 5\n", "seq 12\n").replace(from, to);
        ledger.entries.push(changed.into_bytes());
        assert!(desk_of(&ledger).refused(5, "unsupported").starts_with("entry 12:"));
        ledger.entries.pop();
    }
    // But the log should never accept something that is not a statement.
    ledger.entries.push(b"nonsense".to_vec());
    assert!(desk_of(&ledger).refused(1, "malformed-entry").starts_with("entry 12:"));
}

#[test]
fn chain_may_have_many_runs() {
    let mut ledger = Ledger::new();
    let streams: Vec<_> = (0..40).map(|number| stream("orders", number, 0)).collect();
    for i in 0..1500 {
        ledger.seal(&streams[i % streams.len()], 2);
    }
    ledger.heads();
    let mut desk = desk_of(&ledger);
    let report = desk.proven();
    assert_eq!(report.entries, ledger.size());
    assert_eq!(report.streams.iter().map(|stream| stream.events).sum::<u64>(), 3000);
    // A forged batch in the last run, of a stream whose files became unreadable before.
    let mut bundle = ledger.bundle();
    let last = bundle.stream(&streams[19]).batches.last_mut().expect("has batches");
    last.events[1].timestamp += 1;
    let seq = last.seq;
    desk.put(&bundle);
    assert!(desk.refused(1, "altered-event").starts_with(&format!("orders/19, offset 75, entry {seq}:")));
}

#[test]
fn key_entries_have_a_limit() {
    const LIMIT: usize = 64 << 20;
    let like_a_key_entry = |len: usize| {
        let mut entry = b"streamseal/entry@v1\n\nstreamseal/key@v1\n".to_vec();
        entry.resize(len, b'x');
        entry
    };
    // A run that is in no tree: it is refused as soon as entries are applied.
    let run = |first, entries| Run { first, left: vec![Hash([0; 32])], right: Vec::new(), entries };
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    let mut bundle = ledger.bundle_of(&BTreeSet::new(), 12);
    let longest = usize::from(u16::MAX);
    let rest = LIMIT - 1024 * longest;
    bundle.runs = vec![run(0, vec![like_a_key_entry(longest); 1024]), run(1024, vec![like_a_key_entry(rest)])];
    assert!(desk.put(&bundle).refused(5, "malformed").contains("come with 1 hashes instead of 0"));
    bundle.runs[1].entries[0].push(b'x');
    let problem = desk.put(&bundle).refused(5, "unsupported");
    assert_eq!(problem, format!("entries: more than {LIMIT} bytes of key entries"));
}
