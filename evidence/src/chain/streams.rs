use std::collections::HashMap;

use super::Refusal;
use crate::statement::{Advance, Epoch, Gap, HeadsLine, LastEvent, Reason, Statement};
use crate::{Entry, Hash, Partition, StreamId};

/// The state of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub id: StreamId,
    /// The topic id with which it began.
    pub topic_id: Option<String>,
    /// The first offset that it covers: 0, or the `start` of its epoch statement.
    pub start: u64,
    /// The cursor: the next offset to seal.
    pub next: u64,
    /// SHA-256 of the text of its newest statement.
    pub statement: Hash,
    /// The entry of that statement.
    pub seq: u64,
    /// The last event of the newest summary that has one.
    pub last: Option<LastEvent>,
}

/// The states of all streams: for each partition its epochs in order, the last of them open.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    partitions: HashMap<Partition, Vec<StreamState>>,
    len: usize,
}

impl Streams {
    /// The number of streams that have a statement, including those of closed epochs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no stream has a statement.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All states, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &StreamState> {
        self.partitions.values().flatten()
    }

    /// The state of a stream.
    pub fn state(&self, id: &StreamId) -> Option<&StreamState> {
        self.partitions.get(&id.partition)?.iter().find(|state| state.id.epoch == id.epoch)
    }

    /// The state of the open stream of a partition.
    pub fn open(&self, partition: &Partition) -> Option<&StreamState> {
        self.partitions.get(partition)?.last()
    }

    /// The lines that a heads statement commits to, in no particular order.
    pub fn lines(&self) -> impl Iterator<Item = HeadsLine> {
        self.iter().map(|s| HeadsLine { stream: s.id.clone(), next: s.next, statement: s.statement })
    }

    /// Checks coverage: the range begins at the cursor, and `prev` names the statement that put it there.
    ///
    /// Where entries before `unbroken_from` were not given, the stream may have moved unseen. Then a range may begin
    /// after the cursor, but never before it.
    pub(super) fn check_advance(&self, advance: &Advance<'_>, unbroken_from: u64) -> Result<(), Refusal> {
        let Advance { stream, topic_id, first, prev, .. } = *advance;
        let Some(state) = self.open(&stream.partition) else {
            return check_first(advance, unbroken_from);
        };
        let may_have_moved = state.seq < unbroken_from;
        if stream.epoch != state.id.epoch {
            if may_have_moved && stream.epoch > state.id.epoch {
                return check_unseen(advance);
            }
            return Err(Refusal::WrongEpoch { stream: stream.clone(), expected: state.id.epoch });
        }
        if topic_id != state.topic_id.as_deref() {
            return Err(wrong_topic_id(stream, state.topic_id.as_deref(), topic_id));
        }
        if first == state.next {
            if prev == Some(state.statement) {
                return Ok(());
            }
            return Err(Refusal::WrongPrev { stream: stream.clone() });
        }
        if may_have_moved && first > state.next {
            return check_unseen(advance);
        }
        Err(Refusal::WrongCursor { stream: stream.clone(), expected: state.next, found: first })
    }

    /// Only the first statement of a stream, after its epoch statement if it has one, can state that offsets were
    /// already deleted at the start.
    pub(super) fn check_gap(&self, gap: &Gap) -> Result<(), Refusal> {
        let before = self.open(&gap.stream.partition).filter(|state| state.id == gap.stream && state.next == gap.first);
        if gap.reason == Reason::Start && before.is_some_and(|state| state.next != state.start) {
            let problem = "reason start, although the stream has begun".to_owned();
            return Err(Refusal::BadGap { stream: gap.stream.clone(), problem });
        }
        Ok(())
    }

    /// A new epoch follows the open one, ends it at its cursor, and names its last statement. It leaves no offset out:
    /// only gaps may.
    pub(super) fn check_epoch(&self, epoch: &Epoch, unbroken_from: u64) -> Result<(), Refusal> {
        let stream = &epoch.stream;
        let start_max = if epoch.topic_id == epoch.old_topic_id { epoch.old_next } else { 0 };
        if epoch.start > start_max {
            return Err(Refusal::BadEpoch { stream: stream.clone(), start: epoch.start, start_max });
        }
        let wrong_epoch = |expected| Refusal::WrongEpoch { stream: stream.clone(), expected };
        let Some(state) = self.open(&stream.partition) else {
            return if unbroken_from > 0 { Ok(()) } else { Err(wrong_epoch(0)) };
        };
        let may_have_moved = state.seq < unbroken_from;
        if stream.epoch != state.id.epoch + 1 {
            let skipped = may_have_moved && stream.epoch > state.id.epoch + 1;
            return if skipped { Ok(()) } else { Err(wrong_epoch(state.id.epoch)) };
        }
        if epoch.old_topic_id != state.topic_id {
            return Err(wrong_topic_id(stream, state.topic_id.as_deref(), epoch.old_topic_id.as_deref()));
        }
        if epoch.old_next == state.next {
            if epoch.prev == state.statement {
                return Ok(());
            }
            return Err(Refusal::WrongPrev { stream: stream.clone() });
        }
        if may_have_moved && epoch.old_next > state.next {
            return Ok(());
        }
        Err(Refusal::WrongCursor { stream: stream.clone(), expected: state.next, found: epoch.old_next })
    }

    /// Takes over a stream statement that was checked.
    pub(super) fn take(&mut self, entry: &Entry) {
        let statement = entry.statement.statement();
        let hash = entry.statement.hash();
        if let Statement::Epoch(epoch) = statement {
            self.put(StreamState {
                id: epoch.stream.clone(),
                topic_id: epoch.topic_id.clone(),
                start: epoch.start,
                next: epoch.start,
                statement: hash,
                seq: entry.seq,
                last: None,
            });
            return;
        }
        let advance = statement.advance().expect("summaries and gaps have a range, and epochs returned above");
        let last = match statement {
            Statement::Summary(summary) => summary.last,
            _ => None,
        };
        match self.partitions.get_mut(&advance.stream.partition).and_then(|epochs| epochs.last_mut()) {
            Some(state) if state.id.epoch == advance.stream.epoch => {
                state.next = advance.next;
                state.statement = hash;
                state.seq = entry.seq;
                state.last = last.or(state.last);
            }
            _ => self.put(StreamState {
                id: advance.stream.clone(),
                topic_id: advance.topic_id.map(ToOwned::to_owned),
                start: advance.first,
                next: advance.next,
                statement: hash,
                seq: entry.seq,
                last,
            }),
        }
    }

    /// Replaces the state of a stream, or adds it.
    pub(super) fn put(&mut self, state: StreamState) {
        let epochs = self.partitions.entry(state.id.partition.clone()).or_default();
        match epochs.binary_search_by_key(&state.id.epoch, |other| other.id.epoch) {
            Ok(at) => epochs[at] = state,
            Err(at) => {
                epochs.insert(at, state);
                self.len += 1;
            }
        }
    }
}

/// Checks the first statement seen of a partition. There may be earlier ones that were not given.
fn check_first(advance: &Advance<'_>, unbroken_from: u64) -> Result<(), Refusal> {
    if unbroken_from > 0 {
        return check_unseen(advance);
    }
    let Advance { stream, first, prev, .. } = *advance;
    if stream.epoch != 0 {
        return Err(Refusal::WrongEpoch { stream: stream.clone(), expected: 0 });
    }
    if first != 0 {
        return Err(Refusal::WrongCursor { stream: stream.clone(), expected: 0, found: first });
    }
    if prev.is_some() {
        return Err(Refusal::WrongPrev { stream: stream.clone() });
    }
    Ok(())
}

/// Only a stream's first statement has no `prev`, and it begins at offset 0 of epoch 0.
fn check_unseen(advance: &Advance<'_>) -> Result<(), Refusal> {
    let is_first = advance.stream.epoch == 0 && advance.first == 0;
    if advance.prev.is_none() == is_first {
        return Ok(());
    }
    Err(Refusal::WrongPrev { stream: advance.stream.clone() })
}

fn wrong_topic_id(stream: &StreamId, expected: Option<&str>, found: Option<&str>) -> Refusal {
    Refusal::WrongTopicId {
        stream: stream.clone(),
        expected: expected.unwrap_or("-").to_owned(),
        found: found.unwrap_or("-").to_owned(),
    }
}
