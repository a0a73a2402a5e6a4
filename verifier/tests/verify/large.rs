//! Batches so large that several of one stream are checked at once, each from its announced position.

use crate::common::bundles::{Bundle, Desk};
use crate::common::clones::Anchors;
use crate::common::{Event, Ledger, stream};

/// Each batch has more bytes than a thread checks together.
const BATCHES: u64 = 4;
const EVENTS: u64 = 3;
const EVENT_BYTES: usize = 1 << 20;

fn event(offset: u64) -> Event {
    Event::new(offset, &vec![offset as u8; EVENT_BYTES])
}

/// Two streams of such batches, and one of small ones between them.
fn desk(change: impl FnOnce(&mut Bundle, [u64; 2])) -> Desk {
    let mut ledger = Ledger::new();
    let streams = [stream("large", 0, 0), stream("small", 0, 0), stream("large", 1, 0)];
    let mut seqs = Vec::new();
    for stream in &streams {
        for batch in 0..BATCHES {
            let range = batch * EVENTS..(batch + 1) * EVENTS;
            seqs.push(match stream.partition.topic.as_str() {
                "small" => ledger.seal(stream, EVENTS),
                _ => ledger.seal_events(stream, range.clone(), range.map(event).collect()),
            });
        }
    }
    ledger.heads();
    let mut desk = Desk::new(&ledger.trust());
    let clone = desk.path("anchors.git");
    Anchors::of(&ledger, &clone, &[ledger.size()]);
    desk.inputs.clones.push(clone);
    let mut bundle = ledger.bundle();
    change(&mut bundle, [seqs[0], seqs[2 * BATCHES as usize]]);
    desk.put(&bundle);
    desk
}

/// The findings with their places, and for each stream the proven ranges and events.
#[track_caller]
fn check(desk: &Desk, exit_code: u8, found: &[(&str, &str)], proven: [&[std::ops::Range<u64>]; 2]) {
    let report = desk.verify();
    assert_eq!(report.verdict.exit_code(), exit_code, "{report}");
    let findings: Vec<_> = report.findings.iter().map(|f| (f.code.as_str(), f.place.to_string())).collect();
    assert_eq!(findings.iter().map(|(code, place)| (*code, place.as_str())).collect::<Vec<_>>(), found, "{report}");
    let [first, second, small] = &report.streams[..] else { panic!("{report}") };
    assert_eq!([first.proven(), second.proven()], proven, "{report}");
    assert_eq!(small.proven(), [0..BATCHES * EVENTS], "{report}");
}

#[test]
fn large_batches_are_proven() {
    check(&desk(|_, _| {}), 0, &[], [&[0..12], &[0..12]]);
}

#[test]
fn batches_after_a_shorter_one_are_proven() {
    // In two batches of one stream, and in the first of the other.
    let desk = desk(|bundle, [first, second]| {
        bundle.batch(first).events.remove(1);
        bundle.batch(first + 2).events.remove(0);
        bundle.batch(second).events[2] = Event::new(2, b"short");
    });
    let found = [
        ("altered-event", "large/1, offset 2, entry 11"),
        ("absent-event", "large/0, offset 1, entry 3"),
        ("absent-event", "large/0, offset 6, entry 5"),
    ];
    check(&desk, 1, &found, [&[0..1, 2..6, 7..12], &[0..2, 3..12]]);
}

#[test]
fn batches_after_a_longer_one_are_proven() {
    // More batches follow where looking ahead ends.
    let desk = desk(|bundle, [first, second]| {
        bundle.batch(first + 1).events.push(event(5));
        bundle.batch(second + 3).events[2] = Event::new(11, &vec![7; EVENT_BYTES + 1]);
    });
    let found = [("added-event", "large/0, offset 5, entry 4"), ("altered-event", "large/1, offset 11, entry 14")];
    check(&desk, 1, &found, [&[0..5, 6..12], &[0..11]]);
}
