//! The newest heads statement: what it says of streams, and which offsets are expected by it.

use evidence::sha256;
use evidence::statement::{Epoch, Heads, HeadsLine, SignedStatement, Statement, heads_root};

use crate::chain::desk_of;
use crate::common::bundles::{Bundle, Stream};
use crate::common::{Event, Ledger, stream};
use crate::proven;

#[test]
fn heads_lines_must_match_the_statement() {
    let (ledger, mut desk) = proven::desk();
    let without = |change: &dyn Fn(&mut Vec<HeadsLine>)| {
        let mut bundle = ledger.bundle();
        change(bundle.heads.as_mut().expect("has heads"));
        bundle
    };
    for forged in [
        without(&|lines| drop(lines.pop())),
        without(&|lines| lines[0].next -= 8),
        without(&|lines| lines[0].statement = sha256(b"another")),
    ] {
        assert!(desk.put(&forged).refused(1, "altered-heads").starts_with("heads, entry 11:"));
    }
    desk.put(&without(&|lines| lines.swap(0, 1))).refused(5, "malformed");
    desk.put(&without(&|lines| lines.push(lines[3].clone()))).refused(5, "malformed");
}

#[test]
fn without_heads_only_named_offsets_are_proven() {
    let (ledger, mut desk) = proven::desk();
    let mut bundle = ledger.bundle();
    bundle.heads = None;
    desk.put(&bundle).refused(3, "no-heads");
    for open in ["payments/*", "payments/0", "payments/0@0..8", "payments/0#0@0.."] {
        desk.expect(&[open]).refused(3, "no-heads");
    }
    desk.expect(&["payments/0#0@0..8"]).proven();
    desk.expect(&["payments/0#1@0..8"]);
    assert!(desk.refused(3, "uncovered").contains("payments/0#1@0..8"));
    // Without a heads entry that commits to them, the lines do not count.
    let kept = (0..11).collect();
    let mut bundle = ledger.bundle_of(&kept, 12);
    bundle.streams = ledger.bundle().streams;
    bundle.heads = ledger.heads.get(&11).cloned();
    desk.expect(&[]).put(&bundle).refused(3, "no-heads");
}

#[test]
fn stream_in_heads_cannot_be_left_out() {
    let (ledger, mut desk) = proven::desk();
    let mut bundle = ledger.bundle();
    bundle.streams.retain(|stream| stream.id.partition.topic == "orders");
    desk.put(&bundle);
    assert!(desk.refused(3, "uncovered").starts_with("payments/0, offsets 0 to 7: the bundle does not hold"));
    desk.expect(&["orders/*"]).proven();
    desk.expect(&["*/*"]).refused(3, "uncovered");
}

#[test]
fn false_heads_statement_contradicts_streams() {
    // The log signs heads without the newest batch of a stream. With all entries, the chain's rules show it.
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    ledger.seal(&orders, 10);
    let lines: Vec<_> = ledger.state.streams().lines().collect();
    ledger.seal(&orders, 10);
    let heads = Heads { ledger: ledger.state.ledger().clone(), streams: 1, root: heads_root(lines.clone()) };
    let seq = ledger.force(SignedStatement::sign(Statement::Heads(heads), &[&ledger.log]));
    ledger.heads.insert(seq, lines);
    let mut desk = desk_of(&ledger);
    assert!(desk.refused(1, "bad-heads").starts_with("entry 5:"));
    // In a small bundle it contradicts the batches that are there.
    desk.put(&ledger.sparse(&orders, 10..20)).expect(&["orders/0@10..20"]);
    assert!(desk.refused(1, "heads-contradict").starts_with("orders/0, offsets 10 to 19, entry 4:"));
}

/// A dishonest log: a small bundle shows one history, and the heads statement another.
#[test]
fn small_bundles_must_agree_with_the_heads_statement() {
    let orders = stream("orders", 0, 0);
    let sparse = |ledger: &Ledger, skipped: &[u64]| {
        let seqs = (0..ledger.size()).filter(|seq| !skipped.contains(seq)).collect();
        let mut bundle = ledger.bundle_of(&seqs, ledger.size());
        bundle.streams = vec![Stream { id: orders.clone(), offsets: 0..0, batches: Vec::new() }];
        let mut desk = desk_of(ledger);
        desk.put(&bundle).expect(&["payments/0#0@0..1"]);
        desk
    };
    let forged = |ledger: &Ledger, prev| {
        let first = ledger.state.stream(&orders).map_or(0, |head| head.next);
        let mut summary = ledger.summary(&orders, first..first + 1, &[Event::new(first, b"forged")]);
        summary.prev = prev;
        SignedStatement::sign(Statement::Summary(summary), &[&ledger.ingest])
    };

    // Two batches of the same offsets: the heads statement names the other one.
    let mut ledger = Ledger::new();
    let twin = forged(&ledger, None);
    ledger.seal(&orders, 1);
    ledger.force(twin);
    ledger.heads_after_force();
    let desk = sparse(&ledger, &[3]);
    assert!(desk.refused(1, "heads-contradict").contains("names another last statement"));

    // A stream that the heads statement leaves out.
    let mut ledger = Ledger::new();
    ledger.seal(&stream("payments", 0, 0), 1);
    let unlisted = forged(&ledger, None);
    ledger.force(unlisted);
    ledger.heads_after_force();
    let desk = sparse(&ledger, &[3]);
    assert!(desk.refused(1, "heads-contradict").contains("leaves this stream out"));

    // A batch after the heads statement that names another statement before it.
    let mut ledger = Ledger::new();
    ledger.seal(&orders, 1);
    ledger.heads();
    let other = forged(&ledger, Some(sha256(b"another")));
    ledger.force(other);
    let desk = sparse(&ledger, &[3]);
    assert!(desk.refused(1, "heads-contradict").contains("names another statement before this one"));
}

#[test]
fn streams_continue_after_heads_statement() {
    let mut ledger = Ledger::example();
    let orders = stream("orders", 0, 0);
    ledger.seal(&orders, 1);
    ledger.seal(&orders, 2);
    ledger.seal(&stream("refunds", 0, 0), 2);
    ledger.epoch(&stream("orders", 1, 1), 0);
    let mut desk = desk_of(&ledger);
    assert!(desk.proven().findings.is_empty());
    desk.expect(&["orders/0@0..33", "refunds/0#0@0..2"]).proven();
    desk.expect(&["refunds/0#0@0..3"]);
    assert!(desk.refused(3, "uncovered").starts_with("refunds/0, offset 2:"));
    // A small bundle need not hold the batches in between.
    desk.put(&ledger.sparse(&orders, 31..33)).expect(&["orders/0@31..33"]).proven();
}

/// An epoch that begins again elsewhere, after the heads statement has it.
#[test]
fn epoch_in_heads_cannot_begin_later() {
    let mut ledger = Ledger::new();
    let first = stream("orders", 0, 0);
    ledger.seal(&first, 2);
    let second = ledger.epoch(&first, 0);
    ledger.seal(&second, 3);
    ledger.heads();
    // Its cursor is beyond the one in the heads line, as if the bundle left out batches in between.
    let again = Epoch {
        ledger: ledger.state.ledger().clone(),
        stream: second.clone(),
        topic_id: None,
        old_topic_id: None,
        old_next: 60,
        start: 50,
        prev: sha256(b"another"),
    };
    ledger.force(SignedStatement::sign(Statement::Epoch(again), &[&ledger.operator]));
    let seqs = (0..ledger.size()).filter(|seq| ![3, 4, 5].contains(seq)).collect();
    let mut bundle = ledger.bundle_of(&seqs, ledger.size());
    bundle.streams = vec![Stream { id: second, offsets: 0..0, batches: Vec::new() }];
    let mut desk = desk_of(&ledger);
    desk.put(&bundle).expect(&["payments/0#0@0..1"]);
    let problem = desk.refused(1, "heads-contradict");
    assert!(problem.starts_with("orders/0 epoch 1, ") && problem.contains("already existed"), "{problem}");
}

#[test]
fn stream_has_one_heads_line() {
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    ledger.seal(&orders, 10);
    // A dishonest log signed both, to show each auditor the cursor that suits.
    let line: HeadsLine = ledger.state.streams().lines().next().expect("one stream");
    let lines = vec![line.clone(), HeadsLine { next: 9, ..line }];
    let root = heads_root(lines.clone());
    let heads = Heads { ledger: ledger.state.ledger().clone(), streams: 2, root };
    let seq = ledger.force(SignedStatement::sign(Statement::Heads(heads), &[&ledger.log]));
    ledger.heads.insert(seq, lines);
    let mut desk = desk_of(&ledger);
    // With all entries, the chain shows it.
    desk.put(&ledger.sparse(&orders, 0..10)).expect(&["orders/0#0@0..10"]).refused(1, "bad-heads");
    let problem = desk.refused(1, "malformed");
    assert!(problem.starts_with("heads: two lines are about orders/0"), "{problem}");
    // Without the grant of the signer's key, the lines are refused too.
    let seqs = [0, 2, 3, 4].into();
    let bundle = Bundle { streams: ledger.sparse(&orders, 0..10).streams, ..ledger.bundle_of(&seqs, 5) };
    desk.put(&bundle).refused(5, "malformed");
}

#[test]
fn offsets_before_stream_start_are_not_expected() {
    let mut ledger = Ledger::new();
    ledger.seal(&stream("orders", 0, 0), 10);
    let second = ledger.epoch(&stream("orders", 0, 0), 7);
    ledger.seal(&second, 5);
    ledger.heads();
    let mut desk = desk_of(&ledger);
    desk.expect(&["orders/0#1@0..7"]);
    let problem = desk.refused(3, "nothing-expected");
    assert!(problem.starts_with("orders/0 epoch 1: the stream begins at offset 7"), "{problem}");
    desk.expect(&["orders/0#1@0..8"]).proven();
}

/// A bundle as the exporter writes it: with every stream that the heads statement names, from 0 to its cursor.
fn exported(ledger: &Ledger) -> Bundle {
    let mut bundle = ledger.bundle();
    bundle.streams.retain(|stream| !stream.batches.is_empty());
    let lines = bundle.heads.iter().flatten().filter(|line| line.next > 0);
    let lines: Vec<_> = lines.map(|line| (line.stream.clone(), line.next)).collect();
    for (id, next) in lines {
        match bundle.streams.iter_mut().find(|stream| stream.id == id) {
            Some(stream) => stream.offsets = 0..next,
            None => bundle.streams.push(Stream { id, offsets: 0..next, batches: Vec::new() }),
        }
    }
    bundle.streams.sort_by(|a, b| a.id.cmp(&b.id));
    bundle
}

#[test]
fn stream_without_events_lacks_nothing() {
    // The topic was truncated twice, and nothing was sealed of the newest streams.
    let orders = stream("orders", 0, 0);
    for epochs in 1..=3 {
        let mut ledger = Ledger::new();
        ledger.seal(&orders, 7);
        let mut newest = orders.clone();
        (0..epochs).for_each(|_| newest = ledger.epoch(&newest, 7));
        ledger.heads();
        let mut desk = desk_of(&ledger);
        desk.put(&exported(&ledger));
        for whole in [&[][..], &["orders/0"], &["orders/*"], &["*/*@3.."], &["orders/0@0..7"], &["orders/0#0@0..7"]] {
            let report = desk.expect(whole).proven();
            assert_eq!(report.streams.len(), 1 + epochs, "{report}");
            assert_eq!(report.streams[epochs].start, Some(7));
            assert!(report.streams[epochs].expected.is_empty(), "{whole:?}: {report}");
        }
        // A stream named alone has nothing to prove.
        let own = format!("orders/0#{epochs}");
        for nothing in [own.clone(), format!("{own}@3.."), format!("{own}@7..")] {
            assert!(desk.expect(&[&nothing]).refused(3, "nothing-expected").starts_with(": "), "{nothing}");
        }
        // Offsets named with an epoch must be in that epoch.
        let before = format!("{own}@0..7");
        let problem = desk.expect(&["orders/0#0@0..7", &before]).refused(3, "nothing-expected");
        assert!(problem.starts_with(&format!("orders/0 epoch {epochs}: the stream begins at offset 7")), "{problem}");
        let problem = desk.expect(&[&format!("{own}@0..8")]).refused(3, "uncovered");
        assert!(problem.starts_with(&format!("orders/0 epoch {epochs}, offset 7:")), "{problem}");

        // Without heads lines, a full name gives the same result.
        let mut bundle = exported(&ledger);
        bundle.heads = None;
        desk.put(&bundle).expect(&["orders/0#0@0..7"]).proven();
        desk.expect(&["orders/0#0@0..7", &before]).refused(3, "nothing-expected");

        // After its first event, the offsets are there.
        ledger.seal(&newest, 1);
        ledger.heads();
        let mut desk = desk_of(&ledger);
        desk.put(&exported(&ledger)).proven();
        assert_eq!(desk.expect(&[&format!("{own}@3..")]).proven().streams[epochs].proven(), [7..8]);
    }
}

#[test]
fn only_sealed_streams_need_an_anchor() {
    let orders = stream("orders", 0, 0);
    let mut ledger = Ledger::new();
    ledger.seal(&orders, 7);
    ledger.heads();
    let anchored = ledger.size();
    let second = ledger.epoch(&orders, 7);
    let mut desk = crate::common::bundles::Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    crate::common::clones::Anchors::of(&ledger, &clone, &[anchored]);
    desk.inputs.clones.push(clone);
    let mut bundle = ledger.bundle();
    bundle.streams.push(Stream { id: second, offsets: 0..7, batches: Vec::new() });
    desk.put(&bundle).expect(&["orders/0#0@0..7"]).proven();
    desk.expect(&["orders/0#0@0..7", "orders/0#1@7..8"]).refused(3, "uncovered");
}
