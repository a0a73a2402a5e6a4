//! Chains with missing entries, and chains resumed from a store.

use super::*;

#[test]
fn partial_evidence_is_checked_where_entries_are_given() {
    let mut ledger = Ledger::new();
    for i in 0..6 {
        ledger.append(ledger.sealed(ledger.summary(i * 5, i * 5 + 5))).expect("sealed");
    }
    let mut state = ledger.replay();
    for seq in [0, 1, 4, 5, 7] {
        state.skip_to(seq);
        state.apply(&ledger.entries[seq as usize]).unwrap_or_else(|e| panic!("entry {seq}: {e}"));
    }
    assert_eq!(state.stream(&orders(0)).map(|h| h.next), Some(30));

    let mut state = ledger.replay();
    state.skip_to(4);
    assert_eq!(state.apply(&ledger.entries[4]).expect_err("no keys").code(), "wrong-keys");

    // Without a skip, a missing batch is a contradiction.
    let mut state = ledger.replay();
    for seq in 0..4 {
        state.apply(&ledger.entries[seq]).expect("in order");
    }
    let mut forged = ledger.entries[5].clone();
    forged.seq = 4;
    forged.prev = state.last_leaf();
    assert_eq!(state.apply(&forged).expect_err("a batch is missing").code(), "wrong-cursor");

    // Skipping to the current seq changes nothing.
    let forged = Entry { prev: Some(sha256(b"another entry")), ..ledger.entries[4].clone() };
    state.skip_to(4);
    assert_eq!(state.apply(&forged).expect_err("another entry before it").code(), "wrong-entry-prev");
}

#[test]
fn resume_position_is_after_the_newest_key_entry() {
    let ledger = Ledger::new();
    let resume = |next_seq| {
        let position =
            Position { next_seq, last_leaf: ledger.state.last_leaf().expect("not empty"), time: ledger.state.time() };
        State::new(ORIGIN, ledger.state.ledger().genesis).resume(&ledger.entries, [], position)
    };
    assert_eq!(resume(2).map(|state| state.next_seq()), Ok(2));
    assert_eq!(resume(1).err(), Some(Refusal::WrongSeq { expected: 1, found: 1 }));
}

#[test]
fn a_state_resumes_from_what_a_store_keeps() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    ledger.begin_epoch(0);
    let position = Position {
        next_seq: ledger.state.next_seq(),
        last_leaf: ledger.state.last_leaf().expect("not empty"),
        time: ledger.state.time(),
    };
    let heads: Vec<StreamState> = ledger.state.streams().iter().cloned().collect();
    let state = State::new(ORIGIN, ledger.state.ledger().genesis)
        .resume(&ledger.entries[..2], heads, position)
        .expect("own entries");
    let next = ledger.sealed(Summary { topic_id: Some("new".into()), ..ledger.summary(0, 7) });
    let entry = state.draft(next, 0);
    assert_eq!(state.clone().apply(&entry), Ok(()));
    assert_eq!(ledger.state.apply(&entry), Ok(()));
    assert_eq!(state.draft_heads().map(|h| h.streams), Some(2));
}

/// An entry after a given one is checked against it, no matter how many are missing before that.
#[test]
fn entries_after_a_skip_are_fully_checked() {
    let mut ledger = Ledger::new();
    for i in 0..3 {
        ledger.append(ledger.sealed(ledger.summary(i * 5, i * 5 + 5))).expect("sealed");
    }
    let mut state = ledger.replay();
    for seq in [0, 1, 3] {
        state.skip_to(seq);
        state.apply(&ledger.entries[seq as usize]).expect("genuine");
    }
    let by_operator = |epoch| SignedStatement::sign(Statement::Epoch(epoch), &[&ledger.operator]);
    let here = Epoch { old_next: 10, prev: ledger.entries[3].statement.hash(), ..ledger.epoch(0) };
    for (statement, code) in [
        (ledger.sealed(ledger.summary(12, 15)), "wrong-cursor"),
        (ledger.sealed(Summary { stream: orders(1), ..ledger.summary(12, 15) }), "wrong-epoch"),
        (by_operator(Epoch { old_next: 12, ..here.clone() }), "wrong-cursor"),
        (by_operator(Epoch { stream: orders(2), ..here.clone() }), "wrong-epoch"),
    ] {
        let entry = state.draft(statement, 0);
        assert_eq!(state.clone().apply(&entry).expect_err(code).code(), code);
    }
    assert_eq!(state.clone().apply(&state.draft(by_operator(here), 0)), Ok(()));
    assert_eq!(state.apply(&ledger.entries[4]), Ok(()));
}

/// The entry that began an epoch is missing. Later entries belong to the new stream; the old one keeps its state.
#[test]
fn unseen_epoch_opens_another_stream() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    let old = ledger.state.stream(&orders(0)).expect("it has begun").clone();
    ledger.begin_epoch(0);
    for first in [0, 7] {
        let summary = Summary { topic_id: Some("new".into()), ..ledger.summary(first, first + 7) };
        ledger.append(ledger.sealed(summary)).expect("sealed");
    }
    let mut state = ledger.replay();
    for seq in [0, 1, 2, 4, 5] {
        state.skip_to(seq);
        state.apply(&ledger.entries[seq as usize]).expect("genuine");
    }
    assert_eq!(state.stream(&orders(0)), Some(&old));
    assert_eq!(state.stream(&orders(1)).map(|head| (head.next, head.seq)), Some((14, 5)));
    assert_eq!(state.streams().len(), 2);
}

#[test]
fn start_gap_is_compared_only_at_the_cursor() {
    let mut ledger = Ledger::new();
    for i in 0..2 {
        ledger.append(ledger.sealed(ledger.summary(i * 5, i * 5 + 5))).expect("sealed");
    }
    let gap = ledger.gap(Reason::Start, 10, 12, 12, &ledger.ingest);
    let entry = ledger.state.draft(gap.clone(), 0);
    assert_eq!(ledger.code(gap), "bad-gap");
    let mut state = ledger.replay();
    for seq in 0..3 {
        state.apply(&ledger.entries[seq]).expect("in order");
    }
    state.skip_to(4);
    assert_eq!(state.apply(&entry), Ok(()));
}
