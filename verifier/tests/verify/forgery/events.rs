//! Events and leaf indexes: each field of each record, in one of them and in both.

use super::{Forger, refused};
use crate::common::Event;
use crate::common::bundles::{Batch, Bundle};

/// Changes the event at an index of a batch; returns `false` if it does not apply.
type Change = fn(&mut Vec<Event>, usize) -> bool;

const CHANGES: &[(&str, Change)] = &[
    ("another offset", |events, at| set(&mut events[at].offset, |offset| offset + 1)),
    ("an offset below the range", |events, at| set(&mut events[at].offset, |_| 0)),
    ("a negative offset", |events, at| set(&mut events[at].offset, |_| -1)),
    ("the largest offset", |events, at| set(&mut events[at].offset, |_| i64::MAX)),
    ("another timestamp", |events, at| set(&mut events[at].timestamp, |time| time + 1)),
    ("the smallest timestamp", |events, at| set(&mut events[at].timestamp, |_| i64::MIN)),
    ("another byte of the key length", |events, at| flip(events, at, 3)),
    ("another byte of the value length", |events, at| flip(events, at, 7)),
    ("another header count", |events, at| flip(events, at, 11)),
    ("another byte of the key", |events, at| flip(events, at, 12)),
    ("another last byte", |events, at| {
        let last = events[at].content.len() - 1;
        flip(events, at, last)
    }),
    ("a null key", |events, at| {
        events[at].content[..4].copy_from_slice(&[255; 4]);
        drop(events[at].content.drain(12..15));
        true
    }),
    ("a zero more", |events, at| {
        events[at].content.push(0);
        true
    }),
    ("a byte less", |events, at| events[at].content.pop().is_some()),
    ("no content", |events, at| {
        events[at].content.clear();
        true
    }),
    ("gone", |events, at| {
        events.remove(at);
        true
    }),
    ("twice", |events, at| {
        events.insert(at, events[at].clone());
        true
    }),
    ("after the next one", |events, at| {
        let fits = at + 1 < events.len();
        if fits {
            events.swap(at, at + 1);
        }
        fits
    }),
    ("with the next one's content", |events, at| {
        let Some(next) = events.get(at + 1).map(|next| next.content.clone()) else { return false };
        events[at].content = next;
        true
    }),
    ("one more at the end", |events, _| {
        let mut more = events[0].clone();
        more.offset = events.last().map_or(0, |last| last.offset) + 1;
        events.push(more);
        true
    }),
];

fn set(field: &mut i64, value: impl Fn(i64) -> i64) -> bool {
    *field = value(*field);
    true
}

fn flip(events: &mut [Event], at: usize, byte: usize) -> bool {
    events[at].content[byte] ^= 1;
    true
}

fn batches(bundle: &Bundle) -> Vec<u64> {
    bundle.streams.iter().flat_map(|stream| &stream.batches).map(|batch| batch.seq).collect()
}

#[test]
fn changed_events_and_leaves_are_never_proven() {
    let forger = Forger::new();
    let honest = forger.bundle();
    let mut desk = forger.desk(true);
    for seq in batches(&honest) {
        let events = honest.clone().batch(seq).events.clone();
        for (at, (name, change)) in (0..events.len()).flat_map(|at| CHANGES.iter().map(move |change| (at, change))) {
            let mut forged = events.clone();
            if !change(&mut forged, at) || forged == events {
                continue;
            }
            let index: Vec<_> = forged.iter().map(Event::preimage).collect();
            let same_index = index == honest.clone().batch(seq).leaf_index;
            let sides: [(&str, &dyn Fn(&mut Batch)); 4] = [
                ("the event", &|batch| batch.events = forged.clone()),
                ("its leaf", &|batch| batch.leaf_index = index.clone()),
                ("both", &|batch| {
                    batch.events = forged.clone();
                    batch.leaf_index = index.clone();
                }),
                ("the event, without a leaf index", &|batch| {
                    batch.events = forged.clone();
                    batch.leaf_index.clear();
                }),
            ];
            for (side, forge) in sides {
                if side == "its leaf" && (same_index || index.is_empty()) {
                    continue; // Nothing is changed, or the index is left out.
                }
                let mut bundle = honest.clone();
                forge(bundle.batch(seq));
                let report = desk.put(&bundle).verify();
                let what = format!("entry {seq}, event {at}, {name}: {side}");
                // Dropped events are absent and not forged, unless a leaf index contradicts.
                let exit_codes: &[u8] = if forged.len() < events.len() { &[1, 3] } else { &[1] };
                refused(&report, exit_codes, &what);
                assert!(super::names_entry(&report, seq as usize), "{what}: {report}");
            }
        }
    }
}

/// Events without an index prove themselves. The index only names those that differ.
#[test]
fn leaf_index_of_whole_batch_may_be_absent() {
    let forger = Forger::new();
    let mut bundle = forger.bundle();
    let mut desk = forger.desk(true);
    for seq in batches(&bundle) {
        bundle.batch(seq).leaf_index.clear();
        desk.put(&bundle).proven();
    }
}
