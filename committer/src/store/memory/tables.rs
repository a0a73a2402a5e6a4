use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use evidence::chain::Position;
use evidence::statement::{HeadsLine, StatementKind};
use evidence::{Hash, Partition, StreamId};

use crate::store::{
    Append, EntryRow, Lookup, Moved, StoreError, StoredCheckpoint, StoredEntry, StreamEnd, StreamNewest, StreamPlace,
    StreamRow, sql,
};

/// One ledger's tables, with the same keys as those of the other stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// SHA-256 of the genesis text.
    pub genesis: Hash,
    /// The chain's position.
    pub position: Option<Position>,
    /// The entries by seq.
    pub entries: BTreeMap<u64, Arc<EntryRow>>,
    /// The streams by number.
    pub streams: BTreeMap<u64, StreamRow>,
    /// Complete subtrees by level and index, leaves apart.
    pub nodes: BTreeMap<(u8, u64), Hash>,
    /// The newest signed checkpoint.
    pub checkpoint: Option<StoredCheckpoint>,
    /// How many entries were published.
    pub published: Option<u64>,
}

impl Tables {
    pub(super) fn new(genesis: Hash) -> Self {
        Self {
            genesis,
            position: None,
            entries: BTreeMap::new(),
            streams: BTreeMap::new(),
            nodes: BTreeMap::new(),
            checkpoint: None,
            published: None,
        }
    }

    /// Writes an append completely or not at all.
    pub(super) fn write(&mut self, append: &Append) -> Result<(), StoreError> {
        let mut written = self.clone();
        for row in &append.entries {
            written.insert_entry(row)?;
        }
        for moved in &append.streams {
            written.move_stream(moved)?;
        }
        for (node, hash) in &append.nodes {
            if written.nodes.insert((node.level, node.index), *hash).is_some() {
                return Err(exists(&format!("a subtree {} of level {}", node.index, node.level)));
            }
        }
        written.position = Some(append.position);
        *self = written;
        Ok(())
    }

    fn insert_entry(&mut self, row: &EntryRow) -> Result<(), StoreError> {
        let taken = |other: &Arc<EntryRow>| {
            end_of(other.place) == end_of(row.place) && (row.place.is_some() || other.statement == row.statement)
        };
        if self.entries.contains_key(&row.seq) || self.entries.values().any(taken) {
            return Err(exists(&format!("an entry with the seq, the statement or the offsets of {}", row.seq)));
        }
        self.entries.insert(row.seq, Arc::new(row.clone()));
        Ok(())
    }

    /// The compare-and-set of a cursor.
    fn move_stream(&mut self, moved: &Moved) -> Result<(), StoreError> {
        let Moved { from, row } = moved;
        match from {
            None if self.streams.contains_key(&row.number)
                || self.streams.values().any(|s| s.state.id == row.state.id) =>
            {
                Err(exists(&format!("a stream {}", row.state.id)))
            }
            None => {
                self.streams.insert(row.number, row.clone());
                Ok(())
            }
            Some(from) => match self.streams.get_mut(&row.number) {
                Some(stored) if stored.state.next == *from => {
                    *stored = row.clone();
                    Ok(())
                }
                _ => Err(sql::cursors_differ([(row, *from)])),
            },
        }
    }

    pub(super) fn stored(row: &EntryRow) -> StoredEntry {
        StoredEntry { seq: row.seq, bytes: row.bytes.clone() }
    }

    pub(super) fn range(&self, seqs: Range<u64>) -> impl DoubleEndedIterator<Item = &EntryRow> {
        let seqs = seqs.start..seqs.end.max(seqs.start);
        self.entries.range(seqs).map(|(_, row)| &**row)
    }

    pub(super) fn find(&self, lookup: &Lookup) -> Option<StoredEntry> {
        let end = match &lookup.place {
            None => None,
            Some((stream, next)) => Some((self.number(stream)?, *next)),
        };
        let is_it = |row: &&Arc<EntryRow>| row.statement == lookup.statement && end_of(row.place) == end;
        self.entries.values().find(is_it).map(|row| Self::stored(row))
    }

    pub(super) fn ledger_entries(&self, seqs: Range<u64>) -> Vec<StoredEntry> {
        self.range(seqs).filter(|row| row.place.is_none()).map(Self::stored).collect()
    }

    pub(super) fn moved_streams(&self, seqs: Range<u64>) -> Vec<StreamRow> {
        self.ends(seqs).iter().filter_map(|end| self.streams.get(&end.number)).cloned().collect()
    }

    pub(super) fn ends(&self, seqs: Range<u64>) -> Vec<StreamEnd> {
        let end = |row: &EntryRow| {
            let StreamPlace { stream, next, .. } = row.place?;
            Some((stream, StreamEnd { number: stream, next, statement: row.statement }))
        };
        // The last of each stream.
        self.range(seqs).filter_map(end).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    pub(super) fn key_entries(&self) -> Vec<StoredEntry> {
        let keys = self
            .entries
            .values()
            .filter(|row| StatementKind::from_name(&row.kind).is_some_and(StatementKind::is_key_entry));
        keys.map(|row| Self::stored(row)).collect()
    }

    pub(super) fn heads_entry(&self, size: u64) -> Option<StoredEntry> {
        self.range(0..size).rev().find(|row| row.kind == StatementKind::Heads.name()).map(Self::stored)
    }

    pub(super) fn heads_lines(&self, size: u64) -> Vec<HeadsLine> {
        let line = |(stream, place, row): (&StreamRow, StreamPlace, &EntryRow)| HeadsLine {
            stream: stream.state.id.clone(),
            next: place.next,
            statement: row.statement,
        };
        self.newest(size).map(line).collect()
    }

    pub(super) fn newest_entries(&self, size: u64) -> Vec<StreamNewest> {
        let newest = |(stream, _, row): (&StreamRow, StreamPlace, &EntryRow)| StreamNewest {
            number: stream.number,
            start: stream.state.start,
            entry: Self::stored(row),
        };
        self.newest(size).map(newest).collect()
    }

    /// Of each stream with entries below a size, the newest of them.
    fn newest(&self, size: u64) -> impl Iterator<Item = (&StreamRow, StreamPlace, &EntryRow)> {
        self.streams.values().filter_map(move |stream| {
            let (place, row) = self.of_stream(stream.number).filter(|(_, row)| row.seq < size).last()?;
            Some((stream, place, row))
        })
    }

    /// The entries of a stream in order, which is the order of their offsets.
    fn of_stream(&self, number: u64) -> impl Iterator<Item = (StreamPlace, &EntryRow)> {
        self.entries.values().filter_map(move |row| Some((row.place.filter(|place| place.stream == number)?, &**row)))
    }

    fn number(&self, stream: &StreamId) -> Option<u64> {
        self.streams.values().find(|row| row.state.id == *stream).map(|row| row.number)
    }

    pub(super) fn open_stream(&self, partition: &Partition) -> Option<StreamRow> {
        let of_partition = self.streams.values().filter(|row| row.state.id.partition == *partition);
        of_partition.max_by_key(|row| row.state.id.epoch).cloned()
    }

    pub(super) fn stream_entries(&self, stream: &StreamId, from: u64, limit: usize) -> Vec<StoredEntry> {
        let entries = self.number(stream).into_iter().flat_map(|number| self.of_stream(number));
        let later = |place: &StreamPlace| place.next > from || (place.next == from && place.first == place.next);
        entries.filter(|(place, _)| later(place)).take(limit).map(|(_, row)| Self::stored(row)).collect()
    }

    pub(super) fn covering_entry(&self, stream: &StreamId, offset: u64) -> Option<StoredEntry> {
        let mut entries = self.number(stream).into_iter().flat_map(|number| self.of_stream(number));
        entries.find(|(place, _)| (place.first..place.next).contains(&offset)).map(|(_, row)| Self::stored(row))
    }

    pub(super) fn subtrees(&self, level: u8, indices: Range<u64>) -> Vec<Hash> {
        match level {
            0 => self.range(indices).map(|row| row.leaf).collect(),
            _ => {
                let end = indices.end.max(indices.start);
                self.nodes.range((level, indices.start)..(level, end)).map(|(_, hash)| *hash).collect()
            }
        }
    }
}

/// The stream and the end of an entry, which are unique.
fn end_of(place: Option<StreamPlace>) -> Option<(u64, u64)> {
    place.map(|place| (place.stream, place.next))
}

fn exists(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} exists already"))
}
