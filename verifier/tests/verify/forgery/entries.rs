//! Entries and statements: each field of each kind, forged without keys, by a dishonest log, and with all keys.

use evidence::statement::{HeadsLine, heads_root};
use evidence::{Entry, Note, SigningKey};

use super::fields::{Forged, forgeries};
use super::{Forger, names_entry, rechain, refused, sampled};
use crate::common::bundles::Bundle;

/// Fields that a forgery with all keys may change and stay proven, without a clone that contradicts it.
const IMMATERIAL: &[(&str, &str, &str)] = &[
    // kind, field, reason
    ("entry", "time", "the log's own word; only its order is checked, and the age of heads"),
    ("gap", "watermarks", "what the signer saw in Kafka; nothing is left to compare it with"),
    ("gap", "signature", "the operator may sign a gap as an ingest key may"),
    ("key", "topics", "which topics a key is for is the operator's word; those in use must be among them"),
    ("key", "distrust-from", "from where on a key is distrusted is the operator's word"),
    ("key", "key", "a key that signed nothing may be any key"),
    ("key", "role", "a key that signed nothing may have any role"),
    ("summary", "topic", "a topic id is opaque, and here no other statement of the stream has one to compare it with"),
    ("summary", "time", "an empty batch has none, and that of others is compared with the events"),
];

/// Each entry, with every change to its text, or every tenth of them.
fn all_forgeries(forger: &Forger) -> Vec<(usize, Forged)> {
    let of_entry = |(seq, bytes): (usize, &Vec<u8>)| {
        let text = std::str::from_utf8(bytes).expect("text");
        forgeries(text).into_iter().map(move |forged| (seq, forged))
    };
    sampled(forger.ledger.entries.iter().enumerate().flat_map(of_entry).collect())
}

#[test]
fn changes_without_keys_are_altered_entries() {
    let forger = Forger::new();
    let bundle = forger.bundle();
    let mut desk = forger.desk(false);
    for (seq, forged) in all_forgeries(&forger) {
        let mut changed = bundle.clone();
        changed.runs[0].entries[seq] = forged.text.into_bytes();
        if changed.runs[0].entries[seq].len() > usize::from(u16::MAX) {
            continue; // Has no place in a bundle.
        }
        let report = desk.put(&changed).verify();
        let what = format!("entry {seq}, {}", forged.what);
        refused(&report, &[1], &what);
        assert!(report.findings.iter().any(|f| f.code.as_str() == "altered-entry"), "{what}: {report}");
        // Of the last two entries, it is unknown which one was altered.
        assert!(names_entry(&report, seq) || seq >= 10, "{what}: {report}");
    }
}

#[test]
fn changes_by_dishonest_log_are_refused() {
    let mut forger = Forger::new();
    let mut desk = forger.desk(false);
    let mut proven = Vec::new();
    for (seq, forged) in all_forgeries(&forger) {
        let what = format!("entry {seq}, {}", forged.what);
        let bytes = forged.text.into_bytes();
        if bytes.len() > usize::from(u16::MAX) {
            continue;
        }
        let bundle = forger.rechained(seq, bytes);
        let report = desk.put(&bundle).verify();
        if report.verdict.exit_code() == 0 {
            proven.push((forged.field, what));
            continue;
        }
        // A future version or kind is unsupported; everything else is tampered, in this entry or the next.
        refused(&report, &[1, 5], &what);
        let is_unsupported = report.findings.iter().any(|finding| finding.code.as_str() == "unsupported");
        assert_eq!(report.verdict.exit_code() == 5, is_unsupported, "{what}: {report}");
        let is_named = report.findings.iter().any(|finding| finding.place.entry >= Some(seq as u64));
        assert!(is_named, "{what}: {report}");
    }
    // No signature covers the time of an entry.
    assert!(proven.iter().all(|(field, _)| field == "time"), "{proven:#?}");
}

/// Signs a forged text with the keys of the statement before it, and links all later statements to it, as
/// a holder of all keys can. `None` if it is no note's text.
fn resigned(forger: &mut Forger, seq: usize, text: &str, keys: &[&SigningKey]) -> Option<Bundle> {
    let mut entries = forger.ledger.entries.clone();
    let mut lines: Vec<HeadsLine> = forger.ledger.heads[&11].clone();
    let mut renamed: Vec<(String, String)> = Vec::new();
    let entry = |seq: usize| Entry::parse(&forger.ledger.entries[seq]).expect("own entry");
    for (i, bytes) in entries.iter_mut().enumerate().skip(seq) {
        let honest = entry(i);
        let before = honest.statement.note().text().to_owned();
        let mut after = if i == seq { text.to_owned() } else { before.clone() };
        if i > seq {
            renamed.iter().for_each(|(old, new)| after = after.replace(old, new));
        }
        if i == 11 && seq != 11 {
            for line in &mut lines {
                let statement = line.statement.to_string();
                if let Some((_, new)) = renamed.iter().find(|(old, _)| *old == statement) {
                    line.statement = new.parse().expect("a hash");
                }
            }
            let root = heads_root(lines.clone()).to_string();
            after = after.replace(&heads_root(forger.ledger.heads[&11].clone()).to_string(), &root);
        }
        if after == before {
            continue;
        }
        let mut note = Note::unsigned(after.clone()).ok()?;
        let signers = honest.statement.note();
        let all = forger.keys();
        let own = all.iter().filter(|key| signers.has_signature_by(key.verifier_key())).copied();
        let signing: Vec<&SigningKey> = if i == seq && !keys.is_empty() { keys.to_vec() } else { own.collect() };
        signing.iter().for_each(|key| note.sign(key));
        note.sort_signatures();
        let head = String::from_utf8_lossy(bytes).split_once("\n\n").map(|(head, _)| head.to_owned())?;
        *bytes = [format!("{head}\n\n").into_bytes(), note.to_bytes()].concat();
        let hash = |text: &str| evidence::sha256(text.as_bytes()).to_string();
        renamed.push((hash(&before), hash(&after)));
    }
    if entries.iter().any(|entry| entry.len() > usize::from(u16::MAX)) {
        return None;
    }
    rechain(&mut entries, seq);
    let mut bundle = forger.bundle_of(entries);
    bundle.heads = Some(lines);
    Some(bundle)
}

#[test]
fn false_statements_with_all_keys_are_refused() {
    let mut forger = Forger::new();
    let (mut alone, mut with_clone) = (forger.desk(false), forger.desk(true));
    let entries = forger.ledger.entries.clone();
    let of_statement = |seq: usize| {
        let entry = Entry::parse(&entries[seq]).expect("own entry");
        let text = entry.statement.note().text().to_owned();
        forgeries(&text).into_iter().map(move |forged| (seq, forged))
    };
    let mut proven = Vec::new();
    for (seq, forged) in sampled((0..12).flat_map(of_statement).collect()) {
        let what = format!("entry {seq}, {}", forged.what);
        let Some(bundle) = resigned(&mut forger, seq, &forged.text, &[]) else { continue };
        // An honest clone contradicts any other history.
        let report = with_clone.put(&bundle).verify();
        refused(&report, &[1], &what);
        let report = alone.put(&bundle).verify();
        if report.verdict.exit_code() == 0 {
            let kind = Entry::parse(&forger.ledger.entries[seq])
                .expect("own entry")
                .statement
                .statement()
                .kind()
                .name()
                .to_owned();
            proven.push((kind, forged.field, what));
            continue;
        }
        refused(&report, &[1, 3, 5], &what);
    }
    proven.retain(|(kind, field, _)| !IMMATERIAL.iter().any(|(k, f, _)| (k, f) == (&kind.as_str(), &field.as_str())));
    assert!(proven.is_empty(), "{proven:#?}");
}

#[test]
fn statement_by_wrong_key_is_refused() {
    let mut forger = Forger::new();
    let mut desk = forger.desk(false);
    let stranger = crate::common::key("stranger", evidence::Algorithm::Ed25519, 91);
    let namesakes: Vec<SigningKey> = (forger.keys().iter())
        .map(|key| crate::common::key(key.verifier_key().name(), evidence::Algorithm::Ed25519, 92))
        .collect();
    let own = Forger::new();
    let mut keys: Vec<&SigningKey> = own.keys().to_vec();
    keys.push(&stranger);
    keys.extend(&namesakes);
    for seq in 0..12 {
        let entry = Entry::parse(&forger.ledger.entries[seq]).expect("own entry");
        let text = entry.statement.note().text().to_owned();
        for key in &keys {
            if entry.statement.note().has_signature_by(key.verifier_key()) && seq != 0 {
                continue; // The right one.
            }
            let mut note = Note::unsigned(text.clone()).expect("own text");
            note.sign(key);
            let head = String::from_utf8_lossy(&forger.ledger.entries[seq]).into_owned();
            let head = head.split_once("\n\n").expect("an entry").0.to_owned();
            let bytes = [format!("{head}\n\n").into_bytes(), note.to_bytes()].concat();
            let bundle = forger.rechained(seq, bytes);
            let report = desk.put(&bundle).verify();
            let what = format!("entry {seq} signed by {}", key.verifier_key());
            // The gap at the start takes any operator's or ingest key's signature.
            let is_allowed = seq == 3 && key.verifier_key() == forger.ledger.ingest.verifier_key();
            if is_allowed {
                assert_eq!(report.verdict.exit_code(), 0, "{what}: {report}");
                continue;
            }
            refused(&report, &[1], &what);
            assert!(names_entry(&report, seq), "{what}: {report}");
        }
    }
}

#[test]
fn moved_entries_are_refused() {
    let mut forger = Forger::new();
    let mut desk = forger.desk(false);
    // Repeats, drops and swaps entries, with and without a corrected rest of the chain.
    for seq in 0..12 {
        for (what, change) in [
            (
                "twice",
                (|entries: &mut Vec<Vec<u8>>, seq| entries.insert(seq, entries[seq].clone()))
                    as fn(&mut Vec<Vec<u8>>, usize),
            ),
            ("gone", |entries, seq| drop(entries.remove(seq))),
            ("after the next", |entries, seq| if seq < 11 { entries.swap(seq, seq + 1) } else { entries.swap(0, 11) }),
        ] {
            for made_right in [false, true] {
                let mut entries = forger.ledger.entries.clone();
                change(&mut entries, seq);
                let from = if made_right { seq } else { entries.len() };
                if from > 0 && from < entries.len() {
                    rechain(&mut entries, from - 1);
                }
                let bundle = forger.bundle_of(entries);
                let report = desk.put(&bundle).verify();
                // Swapped batches of two streams make a valid chain, but the frames do not fit.
                refused(&report, &[1, 3, 5], &format!("entry {seq} {what}, made right: {made_right}"));
            }
        }
    }
}
