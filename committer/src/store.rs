//! Where the chain is stored: one contract, two databases, and a third in memory for tests.

mod error;
mod files;
pub mod memory;
mod migrations;
mod postgres;
mod reads;
mod rows;
mod session;
mod sql;
mod sqlite;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evidence::chain::Position;
use evidence::statement::{HeadsLine, LedgerId};
use evidence::tree::Node;
use evidence::{Hash, Head, Partition, StreamId};

use postgres::PostgresStore;
use sqlite::SqliteStore;

pub use error::{StoreError, StoreErrorKind};
pub use rows::{EntryRow, Lookup, Moved, StoredEntry, StreamEnd, StreamNewest, StreamPlace, StreamRow};

/// Maximum time of a call of a [`Store`].
pub const CALL_TIME_MAX: Duration = Duration::from_secs(20);

/// The chain of one ledger in a database.
///
/// A store decides nothing: it returns what was written. Its promises:
///
/// - **Atomic.** [`Transaction::commit`] writes entries, stream rows, tree nodes and position together or not at all,
///   and readers see all of it or nothing.
/// - **Durable.** When `commit` returns `Ok`, all of it is on the database's disk (fsync). Opening refuses a database that
///   is configured to acknowledge earlier.
/// - **Exclusive.** Between [`Store::begin`] and the end of the transaction, no other process on any machine
///   changes this ledger's chain. What `begin` returned stays true.
/// - **Honest.** Any error except [`StoreErrorKind::Unknown`] means that nothing was written. After `Unknown` the
///   transaction may be committed; [`Store::begin`] with the same lookups tells.
/// - **Present.** The files that `commit` wrote still have their names. An SQLite file that was removed or replaced while
///   the process runs is [`StoreErrorKind::Unavailable`].
/// - **Bounded.** Every call ends within [`CALL_TIME_MAX`], even if the network drops everything.
/// - **Append-only.** Entries and tree nodes are never changed or removed. A row in the way of a new one is
///   [`StoreErrorKind::Corrupt`].
///
/// Everything is keyed by ledger; ledgers in one database do not see each other.
#[async_trait]
pub trait Store: Send + Sync {
    /// Locks the chain for an append, and waits for other appends to end. Dropping the transaction writes nothing.
    ///
    /// Returns those of the looked-up statements that the chain already holds.
    async fn begin(&self, lookups: &[Lookup]) -> Result<Begun, StoreError>;

    /// The chain's position; `None` when it is empty.
    async fn position(&self) -> Result<Option<Position>, StoreError>;

    /// The entries of a range of seqs, in order; fewer when some are absent.
    async fn entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError>;

    /// The same with everything stored beside each entry.
    async fn rows(&self, seqs: Range<u64>) -> Result<Vec<EntryRow>, StoreError>;

    /// The entries in a range of seqs that are of no stream, in order.
    async fn ledger_entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError>;

    /// The genesis entry and all key entries, in order.
    async fn key_entries(&self) -> Result<Vec<StoredEntry>, StoreError>;

    /// The newest heads entry with a seq below `size`.
    async fn heads_entry(&self, size: u64) -> Result<Option<StoredEntry>, StoreError>;

    /// The lines of all streams when the chain had `size` entries, in no particular order.
    async fn heads_lines(&self, size: u64) -> Result<Vec<HeadsLine>, StoreError>;

    /// Of each stream with entries below `size`, the newest of them, in no particular order.
    async fn newest_entries(&self, size: u64) -> Result<Vec<StreamNewest>, StoreError>;

    /// All streams, in no particular order.
    async fn streams(&self) -> Result<Vec<StreamRow>, StoreError>;

    /// The ids of the streams' clusters, each once, in no particular order.
    async fn clusters(&self) -> Result<Vec<String>, StoreError>;

    /// The streams that have entries in a range of seqs, each once, in no particular order.
    async fn moved_streams(&self, seqs: Range<u64>) -> Result<Vec<StreamRow>, StoreError>;

    /// The cursors of streams after the entries of a range of seqs, from the entries alone. Each stream once, in no
    /// particular order.
    async fn ends(&self, seqs: Range<u64>) -> Result<Vec<StreamEnd>, StoreError>;

    /// The stream of a partition in its newest epoch.
    async fn open_stream(&self, partition: &Partition) -> Result<Option<StreamRow>, StoreError>;

    /// Up to `limit` entries of a stream that end after `from`, in order. The epoch entry that begins a stream covers
    /// no offset; it counts as ending after every offset before the stream's start, and after the start itself.
    async fn stream_entries(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;

    /// The entry of a stream whose range covers `offset`.
    async fn covering_entry(&self, stream: &StreamId, offset: u64) -> Result<Option<StoredEntry>, StoreError>;

    /// The stored hashes of complete subtrees of one `level` (a multiple of 8; 0 is the leaves) in a range of indices,
    /// in order; fewer when some are absent.
    async fn nodes(&self, level: u8, indices: Range<u64>) -> Result<Vec<Hash>, StoreError>;

    /// The seq of a stored entry outside of a chain of `size` entries. For `fsck`.
    async fn stray_entry(&self, size: u64) -> Result<Option<i64>, StoreError>;

    /// How many tree nodes are stored. For `fsck`.
    async fn node_count(&self) -> Result<u64, StoreError>;

    /// The newest signed checkpoint.
    async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// Stores a checkpoint, unless a larger one is stored already.
    async fn put_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), StoreError>;

    /// How many entries were published to the topic of commitments; `None` before the first.
    async fn published(&self) -> Result<Option<u64>, StoreError>;

    /// Records how many entries were published. It never goes down.
    async fn set_published(&self, size: u64) -> Result<(), StoreError>;

    /// Takes the lease of this ledger's one publisher; `None` if another process has it.
    async fn publisher_lease(&self) -> Result<Option<Box<dyn Lease>>, StoreError>;

    /// Closes all connections, once nothing uses the store or its clones any more. An SQLite database is a single file
    /// then, unless another process has it open, so that a copy of the file is whole.
    ///
    /// # Errors
    /// If SQLite's log could not be written back. Its data is safe in the log.
    async fn close(&self) -> Result<(), StoreError>;
}

/// What an append begins with.
pub struct Begun {
    /// The chain's position; `None` when it is empty.
    pub position: Option<Position>,
    /// Those of the looked-up statements that the chain already holds, by statement hash.
    pub known: HashMap<Hash, StoredEntry>,
    /// The lock.
    pub transaction: Box<dyn Transaction>,
}

/// A locked chain.
#[async_trait]
pub trait Transaction: Send {
    /// The database's clock, read under the lock, in milliseconds since 1970.
    async fn now_ms(&mut self) -> Result<i64, StoreError>;

    /// Writes an append and ends the transaction.
    async fn commit(self: Box<Self>, append: &Append) -> Result<(), StoreError>;
}

/// Everything that one transaction writes.
#[derive(Debug, Clone)]
pub struct Append {
    /// The new entries, in order.
    pub entries: Vec<EntryRow>,
    /// The streams that the entries move, each once.
    pub streams: Vec<Moved>,
    /// The complete subtrees that the entries complete, of levels 8, 16, 24 and so on.
    pub nodes: Vec<(Node, Hash)>,
    /// The chain's position afterwards.
    pub position: Position,
}

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Size and root.
    pub head: Head,
    /// The signed note's bytes.
    pub note: Vec<u8>,
}

/// The right to publish. Others may take it once this is dropped or its connection ends.
#[async_trait]
pub trait Lease: Send {
    /// Whether it is still held.
    async fn is_held(&mut self) -> bool;
}

/// Opens the database at a `sqlite:` or `postgres:` URL, brings its tables up to date, and finds or begins the ledger.
///
/// # Errors
/// [`StoreErrorKind::Refused`] if the database must not be used: an invalid URL, a setting that voids durability, another
/// genesis under the same origin, or tables of a newer version.
pub async fn open(url: &str, ledger: &LedgerId) -> Result<Arc<dyn Store>, StoreError> {
    open_as(url, ledger, IfAbsent::Begin).await
}

/// As [`open`], for a ledger that exists.
///
/// # Errors
/// As [`open`]; also [`StoreErrorKind::Refused`] if the database does not exist or does not hold the ledger.
pub async fn open_existing(url: &str, ledger: &LedgerId) -> Result<Arc<dyn Store>, StoreError> {
    open_as(url, ledger, IfAbsent::Refuse).await
}

/// What to do if the ledger does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfAbsent {
    Begin,
    Refuse,
}

async fn open_as(url: &str, ledger: &LedgerId, if_absent: IfAbsent) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", _)) => Ok(Arc::new(SqliteStore::open(url, ledger, if_absent).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(PostgresStore::open(url, ledger, if_absent).await?)),
        // The message omits the URL, which may hold a password.
        _ => Err(StoreError::refused("`database` must begin with sqlite: or postgres:")),
    }
}

/// The SQL with which an operator removes one ledger's rows from a table.
pub(crate) fn deletion(table: &str, ledger: &LedgerId) -> String {
    let origin = ledger.origin.replace('\'', "''");
    format!("DELETE FROM {table} WHERE ledger = (SELECT id FROM ledgers WHERE origin = '{origin}')")
}

/// Limits a statement to the time of a call.
async fn in_time<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_TIME_MAX, statement).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::no_answer()),
    }
}
