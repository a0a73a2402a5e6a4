//! The SQL for reads, which both databases understand, and what its columns mean.

use std::fmt::Display;

use evidence::chain::{Position, StreamState};
use evidence::statement::{HeadsLine, LastEvent, LedgerId};
use evidence::{Hash, Head, Partition, StreamId};

use super::{EntryRow, StoreError, StoredCheckpoint, StoredEntry, StreamEnd, StreamNewest, StreamPlace, StreamRow};

/// Rows of streams, in the order of [`StreamColumns`].
macro_rules! streams {
    () => {
        "SELECT number, cluster, topic, partition_number, epoch, topic_id, start_offset, next_offset, statement, seq,
         last_offset, last_leaf, last_summary FROM streams WHERE ledger = $1"
    };
}

pub(super) const LEDGER: &str = "SELECT id, genesis FROM ledgers WHERE origin = $1";

pub(super) const NEW_LEDGER: &str = "INSERT INTO ledgers (origin, genesis) VALUES ($1, $2) ON CONFLICT DO NOTHING";

pub(super) const POSITION: &str = "SELECT next_seq, head, time_ms FROM ledgers WHERE id = $1";

pub(super) const SET_POSITION: &str = "UPDATE ledgers SET next_seq = $2, head = $3, time_ms = $4 WHERE id = $1";

pub(super) const ENTRIES: &str =
    "SELECT seq, entry FROM entries WHERE ledger = $1 AND seq >= $2 AND seq < $3 ORDER BY seq";

pub(super) const ROWS: &str = "SELECT seq, leaf, statement, kind, stream, first_offset, next_offset, entry
     FROM entries WHERE ledger = $1 AND seq >= $2 AND seq < $3 ORDER BY seq";

pub(super) const LEDGER_ENTRIES: &str = "SELECT seq, entry FROM entries
     WHERE ledger = $1 AND seq >= $2 AND seq < $3 AND stream IS NULL ORDER BY seq";

pub(super) const KEY_ENTRIES: &str = "SELECT seq, entry FROM entries
     WHERE ledger = $1 AND kind IN ('genesis', 'key') AND stream IS NULL ORDER BY seq";

pub(super) const HEADS_ENTRY: &str = "SELECT seq, entry FROM entries
     WHERE ledger = $1 AND kind = 'heads' AND seq < $2 AND stream IS NULL ORDER BY seq DESC LIMIT 1";

pub(super) const HEADS_LINES: &str =
    "SELECT s.cluster, s.topic, s.partition_number, s.epoch, e.next_offset, e.statement
     FROM streams s JOIN entries e ON e.ledger = s.ledger AND e.seq =
         (SELECT seq FROM entries WHERE ledger = s.ledger AND stream = s.number AND seq < $2
          ORDER BY next_offset DESC LIMIT 1)
     WHERE s.ledger = $1 AND s.number < $2";

pub(super) const NEWEST_ENTRIES: &str = "SELECT s.number, s.start_offset, e.seq, e.entry
     FROM streams s JOIN entries e ON e.ledger = s.ledger AND e.seq =
         (SELECT seq FROM entries WHERE ledger = s.ledger AND stream = s.number AND seq < $2
          ORDER BY next_offset DESC LIMIT 1)
     WHERE s.ledger = $1 AND s.number < $2";

pub(super) const STREAMS: &str = streams!();

pub(super) const CLUSTERS: &str = "SELECT DISTINCT cluster FROM streams WHERE ledger = $1";

pub(super) const MOVED_STREAMS: &str = concat!(
    streams!(),
    " AND number IN
     (SELECT stream FROM entries WHERE ledger = $1 AND seq >= $2 AND seq < $3 AND stream IS NOT NULL)"
);

pub(super) const ENDS: &str = "SELECT stream, next_offset, statement FROM entries
     WHERE ledger = $1 AND (stream, next_offset) IN
         (SELECT stream, MAX(next_offset) FROM entries
          WHERE ledger = $1 AND seq >= $2 AND seq < $3 AND stream IS NOT NULL GROUP BY stream)";

pub(super) const OPEN_STREAM: &str =
    concat!(streams!(), " AND cluster = $2 AND topic = $3 AND partition_number = $4 ORDER BY epoch DESC LIMIT 1");

pub(super) const STREAM_ENTRIES: &str = "SELECT e.seq, e.entry FROM streams s
     JOIN entries e ON e.ledger = s.ledger AND e.stream = s.number
     WHERE s.ledger = $1 AND s.cluster = $2 AND s.topic = $3 AND s.partition_number = $4 AND s.epoch = $5
     AND e.next_offset >= $6 AND (e.next_offset > $6 OR e.first_offset = e.next_offset)
     ORDER BY e.next_offset LIMIT $7";

pub(super) const COVERING_ENTRY: &str = "SELECT e.seq, e.entry FROM streams s
     JOIN entries e ON e.ledger = s.ledger AND e.stream = s.number
     WHERE s.ledger = $1 AND s.cluster = $2 AND s.topic = $3 AND s.partition_number = $4 AND s.epoch = $5
     AND e.next_offset > $6 AND e.first_offset <= $6
     ORDER BY e.next_offset LIMIT 1";

pub(super) const LEAVES: &str = "SELECT leaf FROM entries WHERE ledger = $1 AND seq >= $2 AND seq < $3 ORDER BY seq";

pub(super) const NODES: &str = "SELECT hash FROM tree_nodes
     WHERE ledger = $1 AND level = $4 AND node_index >= $2 AND node_index < $3 ORDER BY node_index";

pub(super) const STRAY_ENTRY: &str = "SELECT seq FROM entries WHERE ledger = $1 AND seq < 0
     UNION ALL SELECT seq FROM entries WHERE ledger = $1 AND seq >= $2 LIMIT 1";

pub(super) const NODE_COUNT: &str = "SELECT COUNT(*) FROM tree_nodes WHERE ledger = $1";

pub(super) const CHECKPOINT: &str = "SELECT size, root, note FROM checkpoints WHERE ledger = $1";

pub(super) const PUT_CHECKPOINT: &str = "INSERT INTO checkpoints (ledger, size, root, note) VALUES ($1, $2, $3, $4)
     ON CONFLICT (ledger) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note
     WHERE checkpoints.size <= excluded.size";

pub(super) const PUBLISHED: &str = "SELECT size FROM publications WHERE ledger = $1";

pub(super) const SET_PUBLISHED: &str = "INSERT INTO publications (ledger, size) VALUES ($1, $2)
     ON CONFLICT (ledger) DO UPDATE SET size = excluded.size WHERE publications.size < excluded.size";

/// A number as a column. All numbers of the formats fit in 63 bits.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).expect("seqs, offsets, epochs and sizes are below 2^63 in every format")
}

pub(super) fn number(column: i64) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| StoreError::corrupt(format!("{column} is stored instead of a number from 0 on")))
}

pub(super) fn hash(column: &[u8]) -> Result<Hash, StoreError> {
    let bytes = column.try_into();
    bytes
        .map(Hash)
        .map_err(|_| StoreError::corrupt(format!("{} bytes are stored instead of a hash of 32", column.len())))
}

/// The id of the ledger found, if it is the one meant.
pub(super) fn ledger(found: Option<(i64, Vec<u8>)>, meant: &LedgerId) -> Result<i64, StoreError> {
    let absent = || StoreError::refused(format!("it holds no ledger of origin {}", meant.origin));
    let (id, genesis) = found.ok_or_else(absent)?;
    let found = hash(&genesis)?;
    if found == meant.genesis {
        return Ok(id);
    }
    Err(StoreError::refused(format!(
        "it holds a ledger of origin {} that began with genesis {found}; the configured genesis is {}",
        meant.origin, meant.genesis
    )))
}

/// The error when stream rows differ from the chain, which was read under the lock.
pub(super) fn cursors_differ<'a>(moved: impl IntoIterator<Item = (&'a StreamRow, u64)>) -> StoreError {
    let wanted = moved.into_iter().map(|(row, from)| format!("{} at {from}", row.state.id));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    StoreError::corrupt(format!("the table streams disagrees with the chain, which has {wanted}: run fsck"))
}

pub(super) type PositionColumns = (i64, Option<Vec<u8>>, Option<i64>);

pub(super) fn position((next_seq, leaf, time): PositionColumns) -> Result<Option<Position>, StoreError> {
    match (number(next_seq)?, leaf, time) {
        (0, None, None) => Ok(None),
        (next_seq @ 1.., Some(leaf), Some(time)) => Ok(Some(Position { next_seq, last_leaf: hash(&leaf)?, time })),
        _ => Err(StoreError::corrupt("the position of the chain is incomplete")),
    }
}

pub(super) type EntryColumns = (i64, Vec<u8>);

pub(super) fn entry((seq, bytes): EntryColumns) -> Result<StoredEntry, StoreError> {
    Ok(StoredEntry { seq: number(seq)?, bytes })
}

pub(super) fn entries(rows: Vec<EntryColumns>) -> Result<Vec<StoredEntry>, StoreError> {
    rows.into_iter().map(entry).collect()
}

pub(super) type RowColumns = (i64, Vec<u8>, Vec<u8>, String, Option<i64>, Option<i64>, Option<i64>, Vec<u8>);

pub(super) fn row(columns: RowColumns) -> Result<EntryRow, StoreError> {
    let (seq, leaf, statement, kind, stream, first, next, bytes) = columns;
    let named = |error: StoreError| StoreError::corrupt(format!("entry {seq}: {}", error.message));
    let place = match (stream, first, next) {
        (None, None, None) => None,
        (Some(stream), Some(first), Some(next)) => Some(StreamPlace {
            stream: number(stream).map_err(named)?,
            first: number(first).map_err(named)?,
            next: number(next).map_err(named)?,
        }),
        _ => return Err(StoreError::corrupt(format!("entry {seq}: its place in a stream is incomplete"))),
    };
    Ok(EntryRow {
        seq: number(seq).map_err(named)?,
        leaf: hash(&leaf).map_err(named)?,
        statement: hash(&statement).map_err(named)?,
        kind,
        place,
        bytes,
    })
}

pub(super) type LineColumns = (String, String, i64, i64, i64, Vec<u8>);

pub(super) fn line((cluster, topic, partition, epoch, next, statement): LineColumns) -> Result<HeadsLine, StoreError> {
    Ok(HeadsLine {
        stream: stream_id(cluster, topic, partition, epoch)?,
        next: number(next)?,
        statement: hash(&statement)?,
    })
}

pub(super) fn end((stream, next, statement): (i64, i64, Vec<u8>)) -> Result<StreamEnd, StoreError> {
    Ok(StreamEnd { number: number(stream)?, next: number(next)?, statement: hash(&statement)? })
}

pub(super) fn newest((stream, start, seq, bytes): (i64, i64, i64, Vec<u8>)) -> Result<StreamNewest, StoreError> {
    Ok(StreamNewest { number: number(stream)?, start: number(start)?, entry: entry((seq, bytes))? })
}

/// Number, cluster, topic, partition, epoch, topic id, start, next, statement, seq, last offset, last leaf, last summary.
pub(super) type StreamColumns =
    (i64, String, String, i64, i64, Option<String>, i64, i64, Vec<u8>, i64, Option<i64>, Option<Vec<u8>>, Option<i64>);

pub(super) fn stream(columns: StreamColumns) -> Result<StreamRow, StoreError> {
    let (stream, cluster, topic, partition, epoch, topic_id, start, next, statement, seq, offset, leaf, summary) =
        columns;
    let row = || {
        let last = match (offset, leaf) {
            (None, None) => None,
            (Some(offset), Some(leaf)) => Some(LastEvent { offset: number(offset)?, leaf: hash(&leaf)? }),
            _ => return Err(StoreError::corrupt("its last event is incomplete")),
        };
        let state = StreamState {
            id: stream_id(cluster, topic, partition, epoch)?,
            topic_id,
            start: number(start)?,
            next: number(next)?,
            statement: hash(&statement)?,
            seq: number(seq)?,
            last,
        };
        Ok(StreamRow { number: number(stream)?, state, last_summary: summary.map(number).transpose()? })
    };
    row().map_err(|error| of(format_args!("the row of stream {stream}"), error))
}

/// Adds to an error which row it is about.
fn of(what: impl Display, error: StoreError) -> StoreError {
    StoreError { message: format!("{what}: {}", error.message), ..error }
}

fn stream_id(cluster: String, topic: String, partition: i64, epoch: i64) -> Result<StreamId, StoreError> {
    let number = u32::try_from(partition)
        .map_err(|_| StoreError::corrupt(format!("{partition} is stored instead of a partition's number")))?;
    Ok(StreamId { partition: Partition { cluster, topic, number }, epoch: self::number(epoch)? })
}

pub(super) type CheckpointColumns = (i64, Vec<u8>, Vec<u8>);

pub(super) fn checkpoint((size, root, note): CheckpointColumns) -> Result<StoredCheckpoint, StoreError> {
    let head = || Ok(Head { size: number(size)?, root: hash(&root)? });
    head().map(|head| StoredCheckpoint { head, note }).map_err(|error| of("the checkpoint", error))
}

#[cfg(test)]
mod tests {
    use evidence::statement::{Effect, StatementKind};

    use super::*;

    fn names_by(is_wanted: impl Fn(StatementKind) -> bool) -> String {
        let wanted = StatementKind::ALL.iter().filter(|kind| is_wanted(**kind));
        wanted.map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn queries_name_the_kinds_of_the_registry() {
        let keys = names_by(StatementKind::is_key_entry);
        assert!(KEY_ENTRIES.contains(&format!("kind IN ({keys})")), "{KEY_ENTRIES}");
        let heads = names_by(|kind| kind.effect() == Effect::Commit);
        assert!(HEADS_ENTRY.contains(&format!("kind = {heads} ")), "{HEADS_ENTRY}");
    }
}
