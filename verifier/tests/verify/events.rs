//! Events that differ from those that were sealed.

use std::ops::Range;

use evidence::LeafPreimage;

use crate::chain::desk_of;
use crate::common::bundles::{Bundle, Desk};
use crate::common::{Event, Ledger, stream};
use crate::proven;

/// The example's bundle, changed.
fn forged(change: impl FnOnce(&mut Bundle)) -> Desk {
    let (ledger, mut desk) = proven::desk();
    let mut bundle = ledger.bundle();
    change(&mut bundle);
    desk.put(&bundle);
    desk
}

fn index_of(events: &[Event]) -> Vec<LeafPreimage> {
    events.iter().map(Event::preimage).collect()
}

#[test]
fn changed_byte_is_named_by_offset() {
    for (change, what) in [
        (&(|event: &mut Event| *event.content.last_mut().expect("not empty") ^= 1) as &dyn Fn(&mut Event), "header"),
        (&|event: &mut Event| event.content[13] ^= 0x20, "key"),
        (&|event: &mut Event| event.timestamp += 1, "timestamp"),
    ] {
        let desk = forged(|bundle| change(&mut bundle.batch(5).events[3]));
        let problem = desk.refused(1, "altered-event");
        assert_eq!(problem, "orders/0, offset 14, entry 5: the event is not what was sealed", "{what}");
        let report = desk.verify();
        assert_eq!(report.findings.len(), 1, "{report}");
        assert_eq!(report.streams[0].proven(), [0..14, 15..30]);
    }
}

#[test]
fn byte_hidden_by_padding_is_found() {
    let desk = forged(|bundle| bundle.batch(5).events[3].content.push(0));
    let problem = desk.refused(1, "altered-event");
    assert!(problem.starts_with("orders/0, offset 14, entry 5: the event is not what was sealed, and does not decode"));
}

#[test]
fn unreadable_stream_leaves_others_proven() {
    let (_, desk) = proven::desk();
    let manifest = std::fs::read_to_string(desk.inputs.bundle.join("manifest")).expect("read");
    let streams = manifest.lines().filter(|line| line.starts_with("stream ")).count();
    for i in 0..streams {
        // The first batch announces more records than the file holds. Those that are there are read first.
        let name = format!("streams/{i:06}/000000.events");
        let path = desk.inputs.bundle.join(&name);
        let honest = std::fs::read(&path).expect("read");
        let mut forged = honest.clone();
        forged[8..12].fill(255);
        std::fs::write(&path, forged).expect("written");
        let report = desk.verify();
        assert_eq!(report.verdict.exit_code(), 5, "{report}");
        assert_eq!(report.findings.len(), 1, "{report}");
        assert_eq!(report.findings[0].place.file, Some(name), "{report}");
        std::fs::write(&path, honest).expect("written");
    }
}

#[test]
fn dropped_events_are_named() {
    let desk = forged(|bundle| drop(bundle.batch(5).events.remove(0)));
    assert_eq!(desk.refused(3, "absent-event"), "orders/0, offset 10, entry 5: 1 sealed event is not there");
    // Neighbouring events are named together, across offsets without an event.
    let desk = forged(|bundle| drop(bundle.batch(5).events.drain(1..4)));
    assert_eq!(desk.refused(3, "absent-event"), "orders/0, offsets 11 to 14, entry 5: 3 sealed events are not there");
    let report = desk.verify();
    assert_eq!(report.streams[0].proven(), [0..11, 15..30]);
    let desk = forged(|bundle| bundle.batch(5).events.clear());
    assert_eq!(desk.refused(3, "absent-event"), "orders/0, offsets 10 to 18, entry 5: 8 sealed events are not there");
}

#[test]
fn absent_events_around_a_present_one_are_separate() {
    let mut ledger = Ledger::new();
    let orders = stream("orders", 0, 0);
    let events = [0, 2, 4].map(|offset| Event::new(offset, b"value")).to_vec();
    ledger.seal_events(&orders, 0..6, events);
    ledger.heads();
    let mut bundle = ledger.bundle();
    // A record that was never sealed and does not decode splits the reading.
    let forged = |offset| Event { content: b"nonsense".to_vec(), ..Event::new(offset, b"") };
    bundle.batch(3).events = vec![forged(1), Event::new(2, b"value"), forged(3)];
    let mut desk = desk_of(&ledger);
    desk.put(&bundle);
    desk.refused(1, "added-event");
    let absent: Vec<_> = places(&desk).into_iter().filter(|(code, _)| *code == "absent-event").collect();
    assert_eq!(absent, [("absent-event", Some(0..1)), ("absent-event", Some(4..5))]);
    assert_eq!(desk.verify().streams[0].intact, [2..3, 5..6]);
}

#[test]
fn absent_event_matters_only_if_expected() {
    let mut desk = forged(|bundle| drop(bundle.batch(5).events.remove(0)));
    desk.expect(&["orders/0@11..30", "payments/*"]).proven();
    desk.expect(&["orders/0@10..30"]);
    desk.refused(3, "absent-event");
    // A contradiction matters everywhere.
    let mut desk = forged(|bundle| bundle.batch(5).events[0].timestamp += 1);
    desk.expect(&["orders/0@11..30", "payments/*"]);
    desk.refused(1, "altered-event");
}

fn places(desk: &Desk) -> Vec<(&'static str, Option<Range<u64>>)> {
    desk.verify().findings.into_iter().map(|finding| (finding.code.as_str(), finding.place.offsets)).collect()
}

#[test]
fn swapped_events_are_named() {
    let desk = forged(|bundle| bundle.batch(3).events.swap(4, 5));
    let problem = desk.refused(1, "reordered-event");
    assert!(problem.starts_with("orders/0, offset 4, entry 3: the event is unchanged, but comes after"));
    assert_eq!(desk.verify().findings.len(), 1);
    // After later ones, unchanged and changed.
    let desk = forged(|bundle| bundle.batch(3).events[4..7].rotate_right(1));
    assert_eq!(places(&desk), [("reordered-event", Some(4..5)), ("reordered-event", Some(5..6))]);
    let desk = forged(|bundle| {
        let events = &mut bundle.batch(3).events[4..7];
        events[0].timestamp += 1;
        events.rotate_right(1);
    });
    assert_eq!(places(&desk), [("altered-event", Some(4..5)), ("reordered-event", Some(5..6))]);
    // The contents are swapped, each under the other's offset.
    let desk = forged(|bundle| {
        let events = &mut bundle.batch(3).events;
        let content = events[4].content.clone();
        events[4].content = std::mem::replace(&mut events[5].content, content);
    });
    assert_eq!(places(&desk), [("altered-event", Some(4..5)), ("altered-event", Some(5..6))]);
}

#[test]
fn added_events_are_named() {
    for (at, offset, named, proven) in [
        (2, 12, "offset 12", &[0..12, 13..30][..]),
        (8, 19, "offset 19", &[0..19, 20..30]),
        (0, 500, "offset 500", &[0..30]),
        (8, 500, "offset 500", &[0..30]),
    ] {
        let desk = forged(|bundle| bundle.batch(5).events.insert(at, Event::new(offset, b"forged")));
        let problem = desk.refused(1, "added-event");
        assert!(problem.starts_with(&format!("orders/0, {named}, entry 5:")), "{problem}");
        let report = desk.verify();
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.streams[0].proven(), proven, "{named} at {at}");
    }
    // The same event twice, and another one at an offset that was sealed.
    for again in [Event::new(11, b"with holes"), Event::new(11, b"another")] {
        let desk = forged(|bundle| bundle.batch(5).events.insert(2, again));
        assert!(desk.refused(1, "added-event").starts_with("orders/0, offset 11, entry 5:"));
    }
    // A negative offset.
    let desk = forged(|bundle| {
        bundle.batch(5).events.insert(0, Event { offset: -1, ..Event::new(0, b"forged") });
    });
    assert!(desk.refused(1, "added-event").contains("offset -1"));
}

#[test]
fn altered_leaf_index_differs_from_altered_events() {
    let desk = forged(|bundle| bundle.batch(5).leaf_index[3].timestamp += 1);
    let problem = desk.refused(1, "altered-leaf-index");
    assert!(problem.starts_with("orders/0, offsets 10 to 19, entry 5: the leaf index was changed"), "{problem}");
    assert_eq!(desk.verify().streams[0].proven(), [0..30], "the events are unchanged");
    let changes: [&dyn Fn(&mut Vec<LeafPreimage>); 4] =
        [&|index| index.truncate(7), &|index| index.swap(0, 1), &|index| index.push(index[7]), &|index| {
            index[7].offset = 900
        }];
    for change in changes {
        let desk = forged(|bundle| change(&mut bundle.batch(5).leaf_index));
        desk.refused(1, "altered-leaf-index");
    }
}

#[test]
fn event_changed_with_leaf_is_altered_batch() {
    let desk = forged(|bundle| {
        let batch = bundle.batch(5);
        batch.events[3] = Event::new(14, b"forged");
        batch.leaf_index = index_of(&batch.events);
    });
    let problem = desk.refused(1, "altered-batch");
    assert!(
        problem.starts_with("orders/0, offsets 10 to 19, entry 5: the events are not those that were sealed"),
        "{problem}"
    );
    assert_eq!(desk.verify().streams[0].proven(), [0..10, 20..30]);
    // Events and index are changed in different ways: the events that differ are named as well.
    let desk = forged(|bundle| {
        let batch = bundle.batch(5);
        batch.leaf_index[3].timestamp += 1;
        batch.events[5].timestamp += 1;
    });
    let problem = desk.refused(1, "altered-batch");
    assert!(problem.ends_with("they differ as follows"), "{problem}");
    assert!(desk.refused(1, "altered-event").contains("offset"));
}

#[test]
fn event_dropped_with_leaf_is_altered_batch() {
    let desk = forged(|bundle| {
        let batch = bundle.batch(5);
        batch.events.remove(3);
        batch.leaf_index = index_of(&batch.events);
    });
    desk.refused(1, "altered-batch");
}

#[test]
fn batch_without_leaf_index_is_all_or_nothing() {
    let desk = forged(|bundle| bundle.batch(5).leaf_index.clear());
    desk.proven();
    let desk = forged(|bundle| {
        let batch = bundle.batch(5);
        batch.leaf_index.clear();
        batch.events.remove(3);
    });
    let problem = desk.refused(3, "absent-events");
    assert!(
        problem.starts_with("orders/0, offsets 10 to 19, entry 5: only 7 of the 8 sealed events are there"),
        "{problem}"
    );
    let changes: [&dyn Fn(&mut Vec<Event>); 4] = [
        &|events| events[3].timestamp += 1,
        &|events| events.insert(2, Event::new(12, b"forged")),
        &|events| events.swap(0, 1),
        &|events| events[0].content.push(0),
    ];
    for change in changes {
        let desk = forged(|bundle| {
            let batch = bundle.batch(5);
            batch.leaf_index.clear();
            change(&mut batch.events);
        });
        desk.refused(1, "altered-batch");
    }
}

#[test]
fn without_leaf_index_contradictions_are_tampered() {
    let changes: [&dyn Fn(&mut Vec<Event>); 3] =
        [&|events| events.insert(0, Event::new(500, b"forged")), &|events| events.swap(0, 1), &|events| {
            events[0].content.push(0)
        }];
    for change in changes {
        let desk = forged(|bundle| {
            let batch = bundle.batch(5);
            batch.leaf_index.clear();
            batch.events.drain(3..5);
            change(&mut batch.events);
        });
        desk.refused(1, "altered-batch");
    }
}

#[test]
fn part_without_leaf_index_proves_nothing() {
    let (ledger, mut desk) = proven::desk();
    let mut bundle = ledger.sparse(&stream("orders", 0, 0), 11..15);
    desk.expect(&["orders/0@11..15"]).put(&bundle).proven();
    bundle.batch(5).leaf_index.clear();
    desk.put(&bundle);
    desk.refused(3, "absent-events");
}

#[test]
fn dropped_batch_is_uncovered() {
    let (ledger, mut desk) = proven::desk();
    let seqs = (0..12).filter(|seq| *seq != 5).collect();
    let mut bundle = ledger.bundle_of(&seqs, 12);
    bundle.streams = ledger.bundle().streams;
    bundle.stream(&stream("orders", 0, 0)).batches.retain(|batch| batch.seq != 5);
    desk.put(&bundle);
    assert!(desk.refused(3, "uncovered").starts_with("orders/0, offsets 10 to 19:"));
    assert_eq!(desk.verify().streams[0].proven(), [0..10, 20..30]);
    // A frame at the end without an entry.
    let seqs = (0..12).filter(|seq| *seq != 10).collect();
    let mut longer = ledger.bundle_of(&seqs, 12);
    longer.streams = ledger.bundle().streams;
    desk.put(&longer);
    assert!(desk.refused(5, "malformed").contains("a frame for which there is no summary"));
    // Frames without their entry, and an entry without its frames, are no bundle.
    bundle.streams = ledger.bundle().streams;
    desk.put(&bundle);
    assert!(desk.refused(5, "malformed").starts_with("streams/000000/000000.leaves:"));
    let desk = forged(|bundle| bundle.stream(&stream("orders", 0, 0)).batches.retain(|batch| batch.seq != 10));
    assert!(desk.refused(5, "malformed").contains("ends before the frame of entry 10"));
}

#[test]
fn events_of_another_stream_are_refused() {
    let desk = forged(|bundle| {
        let orders = bundle.batch(10).events.clone();
        bundle.batch(6).events = orders;
    });
    desk.refused(1, "added-event");
}

/// A stream with one batch of 6,000 events.
fn large() -> (Bundle, Desk) {
    let mut ledger = Ledger::new();
    ledger.seal(&stream("orders", 0, 0), 6000);
    ledger.heads();
    let desk = desk_of(&ledger);
    desk.proven();
    (ledger.bundle(), desk)
}

/// The numbers of a report: findings, problems beyond them, and for each `more-events` its verdict and count.
fn numbers(report: &verifier::Report) -> (usize, u64, Vec<(u8, u64)>) {
    let more = report.findings.iter().filter(|finding| finding.code.as_str() == "more-events");
    let more = more.map(|finding| (finding.verdict.exit_code(), finding.count)).collect();
    (report.findings.len(), report.findings_more, more)
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let (mut bundle, mut desk) = large();
    let events = std::mem::take(&mut bundle.batch(3).events);
    bundle.batch(3).events = events.iter().filter(|event| event.offset % 2 == 0).cloned().collect();
    let report = desk.put(&bundle).verify();
    assert_eq!(report.verdict.exit_code(), 3);
    assert_eq!(numbers(&report), (1001, 0, vec![(3, 2000)]));
    assert_eq!(report.streams[0].proven(), []);
    bundle.batch(3).events[0].timestamp += 1;
    let report = desk.put(&bundle).verify();
    assert_eq!((report.verdict.exit_code(), numbers(&report)), (1, (1002, 0, vec![(3, 2000)])));
    let problem = desk.refused(1, "more-events");
    assert_eq!(problem, "orders/0, entry 3: 2000 more sealed events of the batch are not there");
    // All of them altered.
    bundle.batch(3).events = events.iter().map(|e| Event { timestamp: e.timestamp + 1, ..e.clone() }).collect();
    let report = desk.put(&bundle).verify();
    assert_eq!((report.verdict.exit_code(), numbers(&report)), (1, (1001, 0, vec![(1, 5000)])));
    let text = report.to_string();
    assert!(
        text.contains("orders/0, entry 3: 5000 more events of the batch differ from those that were sealed"),
        "{text}"
    );
    let json = report.to_json();
    let counts = json["findings"].as_array().expect("findings").iter();
    let counts = counts.map(|finding| finding["count"].as_str().and_then(|count| count.parse::<u64>().ok()));
    assert_eq!(counts.sum::<Option<u64>>(), Some(6000));
}

#[test]
fn unlisted_absent_events_matter_if_expected() {
    let (mut bundle, mut desk) = large();
    // Every second one of the first 4,000, and one in the middle of the rest.
    bundle.batch(3).events.retain(|event| event.offset >= 4000 && event.offset != 5000 || event.offset % 2 == 0);
    desk.put(&bundle).expect(&["orders/0@4000..5000"]);
    let report = desk.verify();
    assert_eq!((report.verdict.exit_code(), numbers(&report)), (0, (0, 0, vec![])), "{report}");
    bundle.batch(3).events.retain(|event| ![4500, 4501].contains(&event.offset));
    desk.put(&bundle).expect(&["orders/0@4500..5000"]);
    assert!(desk.refused(3, "absent-event").starts_with("orders/0, offsets 4500 to 4501, entry 3: 2 sealed events"));
    assert_eq!(desk.verify().findings.len(), 1);
    // Only the expected part of a joined range of absent events counts.
    desk.expect(&["orders/0@4501..5000"]);
    assert!(desk.refused(3, "absent-event").starts_with("orders/0, offset 4501, entry 3: 1 sealed event"));
}

#[test]
fn late_events_are_not_called_gone() {
    let (mut bundle, mut desk) = large();
    bundle.batch(3).events.drain(1..5000);
    bundle.batch(3).events.rotate_left(1);
    let problem = desk.put(&bundle).refused(1, "absent-event");
    assert!(problem.ends_with("5000 sealed events are not there, or come too late to be recognised"), "{problem}");
    let problem = desk.refused(1, "added-event");
    assert!(problem.starts_with("orders/0, offset 0, ") && problem.ends_with("comes too late to be recognised"));
    // After fewer passed rows it is recognised.
    let (mut bundle, mut desk) = large();
    bundle.batch(3).events.drain(1..4000);
    bundle.batch(3).events.rotate_left(1);
    assert!(desk.put(&bundle).refused(1, "reordered-event").starts_with("orders/0, offset 0, "));
    assert!(desk.refused(1, "absent-event").ends_with("3999 sealed events are not there"));
}

/// The report counts exactly the events in proven ranges, and their lengths.
#[test]
fn proven_events_are_counted() {
    let (ledger, _) = proven::desk();
    let sealed = |offsets: &[Range<u64>]| {
        let events = ledger.batches[&stream("orders", 0, 0)].iter().flat_map(|batch| &batch.events);
        let events = events.filter(|event| offsets.iter().any(|range| range.contains(&(event.offset as u64))));
        events.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.content.len() as u64))
    };
    let changes: [(&dyn Fn(&mut Bundle), bool); 8] = [
        (&|_| {}, false),
        (&|bundle| bundle.batch(5).events[3].content.push(0), false),
        (&|bundle| bundle.batch(5).events[3] = Event::new(14, b"another, of another length"), false),
        (&|bundle| drop(bundle.batch(5).events.remove(3)), false),
        (&|bundle| bundle.batch(5).events.swap(3, 4), false),
        (&|bundle| bundle.batch(5).leaf_index[3].timestamp += 1, false),
        (&|bundle| bundle.batch(5).events.insert(2, Event::new(12, b"added")), false),
        // After a later one, when its row is no longer remembered.
        (&|bundle| bundle.batch(5).events.insert(2, Event::new(10, b"added")), true),
    ];
    for (i, (change, at_least)) in changes.into_iter().enumerate() {
        let report = forged(change).verify();
        let orders = &report.streams[0];
        let (count, bytes) = sealed(orders.proven());
        assert_eq!(orders.events_at_least, at_least, "{i}: {report}");
        if at_least {
            assert!(orders.events <= count && orders.event_bytes <= bytes, "{i}: {report}");
            assert!(report.to_string().contains("at least 25 events"), "{report}");
        } else {
            assert_eq!((orders.events, orders.event_bytes), (count, bytes), "{i}: {report}");
        }
    }
}

/// An error in a file ends the reading of it. The records before are still compared.
#[test]
fn cut_records_do_not_hide_altered_ones() {
    let bundle = |change: &dyn Fn(&mut Bundle)| forged(change);
    let break_off = |desk: &Desk| {
        // The last record of the first batch claims to be longer than the file.
        let path = desk.inputs.bundle.join("streams/000000/000000.events");
        let mut bytes = std::fs::read(&path).expect("read");
        let record = 21 + u32::from_be_bytes(bytes[29..33].try_into().expect("four bytes")) as usize;
        let last = 12 + 9 * record + 17;
        bytes[last..last + 4].copy_from_slice(&[0x3f, 0xff, 0xff, 0xff]);
        std::fs::write(&path, bytes).expect("written");
    };
    let honest = bundle(&|_| {});
    break_off(&honest);
    honest.refused(5, "malformed");
    assert_eq!(honest.verify().findings.len(), 1, "unread events are not absent");
    let desk = bundle(&|bundle| bundle.batch(3).events[4].timestamp += 1);
    break_off(&desk);
    assert!(desk.refused(1, "altered-event").starts_with("orders/0, offset 4, entry 3:"));
    desk.refused(1, "malformed");
    // Without a leaf index that has the root, nothing is known about them.
    let desk = bundle(&|bundle| {
        bundle.batch(3).events[4].timestamp += 1;
        bundle.batch(3).leaf_index[0].timestamp += 1;
    });
    break_off(&desk);
    assert_eq!(desk.refused(5, "malformed"), honest.refused(5, "malformed"));
}
