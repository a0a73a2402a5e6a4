//! The scenario's own account of the produced events, and the comparison of evidence with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use evidence::{Entry, StreamId, decode_content};
use testbed::Acknowledged;

use crate::run::Tally;
use testbed::forge::Forgery;
use testbed::ledger::{Verification, number};

/// Topic and partition.
pub(crate) type Place = (String, u32);

/// Topic, partition and epoch.
type Stream = (String, u32, u64);

/// Key and value of an event.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Every event that the broker has acknowledged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Account {
    /// The present epoch of each place; 0 if absent.
    epochs: BTreeMap<Place, u64>,
    streams: BTreeMap<Stream, BTreeMap<u64, Kept>>,
}

/// What the verifier must say of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expectation {
    /// It must be proven.
    Proven,
    /// It must not be proven: Kafka lost it after it was sealed, or it lies in a gap.
    Absent,
    /// It must not appear: Kafka lost it before it was sealed, for example by compaction.
    Unsealed,
}

#[derive(Debug, Clone)]
struct Kept {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    expectation: Expectation,
    /// Produced in an earlier epoch and still in Kafka.
    carried: bool,
}

/// How [`Account::falsify`] changes the last event of a place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Falsehood {
    /// It has another value.
    Another,
    /// There is another event after it.
    More,
    /// It is missing.
    Less,
    /// It counts as destroyed.
    Destroyed,
}

impl Account {
    /// Records produced events.
    pub(crate) fn add(&mut self, acknowledged: impl IntoIterator<Item = Acknowledged>) {
        for Acknowledged { topic, partition, offset, key, value } in acknowledged {
            let stream = self.stream(&(topic, partition));
            let before = self
                .streams
                .entry(stream.clone())
                .or_default()
                .insert(offset, Kept { key, value, expectation: Expectation::Proven, carried: false });
            assert!(before.is_none(), "the broker gave offset {offset} of {stream:?} twice");
        }
    }

    /// The places with produced events.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        self.streams.keys().map(|(topic, partition, _)| (topic.clone(), *partition)).collect()
    }

    /// The offset after the last event of a place's newest epoch.
    pub(crate) fn end(&self, place: &Place) -> u64 {
        let events = self.streams.get(&self.stream(place));
        events.and_then(|events| events.keys().next_back()).map_or(0, |last| last + 1)
    }

    /// Records that Kafka no longer has these events.
    pub(crate) fn destroy(&mut self, place: &Place, is_destroyed: impl Fn(u64) -> bool) {
        self.expect(place, Expectation::Absent, is_destroyed);
    }

    /// Records that Kafka compacted these events away before they were sealed.
    pub(crate) fn compact(&mut self, place: &Place, is_gone: impl Fn(u64) -> bool) {
        self.expect(place, Expectation::Unsealed, is_gone);
    }

    fn expect(&mut self, place: &Place, expectation: Expectation, is_meant: impl Fn(u64) -> bool) {
        let stream = self.stream(place);
        let events = self.streams.get_mut(&stream).expect("events were produced there").iter_mut();
        events.filter(|(offset, _)| is_meant(**offset)).for_each(|(_, event)| event.expectation = expectation);
    }

    /// Begins the next epoch of a place, which starts with the events that are `kept`.
    pub(crate) fn begin_epoch(&mut self, place: &Place, kept: Range<u64>) {
        let kept: BTreeMap<u64, Kept> = match self.streams.get(&self.stream(place)) {
            Some(events) => {
                events.range(kept).map(|(offset, event)| (*offset, Kept { carried: true, ..event.clone() })).collect()
            }
            None => BTreeMap::new(),
        };
        *self.epochs.entry(place.clone()).or_default() += 1;
        let stream = self.stream(place);
        self.streams.insert(stream, kept);
    }

    /// Compares a bundle and its verified offsets with the produced events of the epochs that `is_meant` selects.
    pub(crate) fn compare(&self, bundle: &Path, verdict: &Verification, is_meant: impl Fn(u64) -> bool) -> Tally {
        let forgery = Forgery::of(bundle);
        let mut tally = coverage(forgery.entries(), &is_meant);
        let proven = proven(verdict);
        let is_proven = |stream: &Stream, offset: u64| {
            proven.get(stream).is_some_and(|ranges| ranges.iter().any(|range| range.contains(&offset)))
        };
        let mut exported: BTreeMap<Stream, BTreeMap<u64, KeyValue<'_>>> = BTreeMap::new();
        for (id, record) in forgery.events() {
            let content = decode_content(&record.content).unwrap();
            let (stream, offset) = (name(id), record.offset.cast_unsigned());
            if !is_meant(stream.2) {
                continue;
            }
            // Nobody produced this event.
            if is_proven(&stream, offset) && self.event(&stream, offset).is_none() {
                tally.falsely_proven += 1;
            }
            let before = exported.entry(stream).or_default().insert(offset, (content.key, content.value));
            tally.doubled += u64::from(before.is_some());
        }
        for (stream, events) in self.streams.iter().filter(|((.., epoch), _)| is_meant(*epoch)) {
            for (offset, event) in events {
                let found = exported.get(stream).and_then(|events| events.get(offset));
                let is_right = found == Some(&(event.key.as_deref(), event.value.as_deref()));
                tally.produced += u64::from(!event.carried);
                tally.destroyed += u64::from(event.expectation != Expectation::Proven);
                match (event.expectation, is_proven(stream, *offset)) {
                    (Expectation::Proven, true) => tally.falsely_proven += u64::from(!is_right),
                    (Expectation::Proven, false) => tally.lost += 1,
                    (Expectation::Absent, is_proven) => tally.falsely_proven += u64::from(is_proven),
                    (Expectation::Unsealed, is_proven) => {
                        tally.falsely_proven += u64::from(is_proven && found.is_some())
                    }
                }
            }
        }
        tally
    }

    /// Falsifies the account, to test the comparison.
    pub(crate) fn falsify(&mut self, place: &Place, what: Falsehood) {
        let stream = self.stream(place);
        let events = self.streams.get_mut(&stream).expect("events were produced there");
        let (last, mut event) = events.pop_last().expect("events were produced there");
        match what {
            Falsehood::Another => event.value = Some(b"another".to_vec()),
            Falsehood::More => drop(events.insert(last + 1, event.clone())),
            Falsehood::Less => return,
            Falsehood::Destroyed => event.expectation = Expectation::Absent,
        }
        events.insert(last, event);
    }

    fn event(&self, stream: &Stream, offset: u64) -> Option<&Kept> {
        self.streams.get(stream)?.get(&offset)
    }

    fn stream(&self, place: &Place) -> Stream {
        (place.0.clone(), place.1, self.epochs.get(place).copied().unwrap_or_default())
    }
}

/// Counts the offsets that the chain covers, and those that it covers twice.
fn coverage(entries: impl Iterator<Item = Entry>, is_meant: impl Fn(u64) -> bool) -> Tally {
    let mut tally = Tally::default();
    let mut ends: BTreeMap<Stream, u64> = BTreeMap::new();
    for entry in entries {
        let statement = entry.statement.statement();
        let (Some(advance), Some(stream)) = (statement.advance(), statement.stream()) else { continue };
        let stream = name(stream);
        if !is_meant(stream.2) {
            continue;
        }
        if let evidence::Statement::Summary(summary) = statement {
            tally.sealed += summary.events;
        }
        let end = ends.entry(stream).or_default();
        tally.doubled += end.saturating_sub(advance.first);
        *end = advance.next.max(*end);
    }
    tally
}

/// The offsets that the verifier calls proven.
fn proven(verdict: &Verification) -> BTreeMap<Stream, Vec<Range<u64>>> {
    let streams = verdict.report["streams"].as_array().unwrap().iter().map(|stream| {
        let name = (
            stream["topic"].as_str().unwrap().to_owned(),
            stream["partition"].as_u64().unwrap() as u32,
            number(&stream["epoch"]).unwrap(),
        );
        let ranges = stream["proven"].as_array().unwrap().iter();
        let ranges = ranges.map(|range| number(&range["from"]).unwrap()..number(&range["to"]).unwrap_or(u64::MAX));
        (name, ranges.collect())
    });
    streams.collect()
}

fn name(stream: &StreamId) -> Stream {
    (stream.partition.topic.clone(), stream.partition.number, stream.epoch)
}
