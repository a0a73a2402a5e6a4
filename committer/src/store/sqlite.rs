//! The chain in an SQLite file, for one committer on one machine.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use evidence::chain::Position;
use evidence::statement::{HeadsLine, LedgerId};
use evidence::{Hash, Partition, StreamId};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite};
use tokio::sync::Mutex;

use super::files::{Files, Identity};
use super::in_time;
use super::sql::{self, EntryColumns, column};
use super::{
    Append, Begun, EntryRow, IfAbsent, Lease, Lookup, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry,
    StreamEnd, StreamNewest, StreamRow, Transaction,
};

const READERS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for another process that writes, such as `fsck`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Pages of 4 KiB in the write-ahead log before it is written back. A large transaction has a thousand; a page that several
/// of them change is written back once. The log's file grows to 32 MiB and one transaction.
const WAL_PAGES_MAX: &str = "8192";

/// Rows that the reading thread buffers. With a full buffer it waits for each row by a system call.
const ROWS_BUFFERED: usize = 1_024;

/// A ledger in an SQLite file.
#[derive(Debug)]
pub(super) struct SqliteStore {
    /// One connection. SQLite has one writer at a time, and this way the tasks of this process queue for it.
    writer: SqlitePool,
    readers: SqlitePool,
    ledger: i64,
    file: PathBuf,
    /// The files that were opened.
    files: Arc<Files>,
    /// Only keeps the files open, even if the pools close their connections. With the last connection SQLite removes the
    /// write-ahead log, and the next connection would make another.
    keeper: Mutex<Option<SqliteConnection>>,
}

impl SqliteStore {
    /// See [`super::open`]. Creates a missing file.
    pub(super) async fn open(url: &str, ledger: &LedgerId, if_absent: IfAbsent) -> Result<Self, StoreError> {
        let refused = |problem: String| StoreError::refused(format!("`database` {url:?}: {problem}"));
        let options = SqliteConnectOptions::from_str(url).map_err(|e| refused(e.to_string()))?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(refused("a chain in memory would not outlive the process: name a file".to_owned()));
        }
        let options = options
            .create_if_missing(if_absent == IfAbsent::Begin)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", WAL_PAGES_MAX)
            .row_buffer_size(ROWS_BUFFERED)
            .busy_timeout(BUSY_TIMEOUT);
        let file = options.get_filename().to_owned();
        let unopened = |e: &dyn std::fmt::Display| refused(format!("cannot be opened: {e}"));
        let mut keeper = SqliteConnection::connect_with(&options).await.map_err(|e| unopened(&e))?;
        // The connection has the write-ahead log open from its first read on.
        let tables = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&mut keeper).await;
        tables.map_err(|e| unopened(&e))?;
        let files = Files::of(&file).map_err(|e| unopened(&e))?;
        // Later connections must find the same file.
        let options = options.create_if_missing(false);
        let pool = || {
            let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
            pool.max_lifetime(None).idle_timeout(None)
        };
        // When a COMMIT fails, as on a full disk, SQLite ends the transaction itself. sqlx then fails to roll it back, and
        // believes for ever that a transaction is open.
        let writer = pool()
            .max_connections(1)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_lazy_with(options.clone());
        super::migrations::sqlite().run(&writer).await?;
        if if_absent == IfAbsent::Begin {
            let query = sqlx::query(sql::NEW_LEDGER).bind(&ledger.origin);
            query.bind(ledger.genesis.as_bytes().as_slice()).execute(&writer).await?;
        }
        sync_folder(&file).await?;
        let found = sqlx::query_as(sql::LEDGER).bind(&ledger.origin).fetch_optional(&writer).await?;
        let readers = pool().max_connections(READERS).connect_lazy_with(options.read_only(true));
        let (ledger, files) = (sql::ledger(found, ledger)?, Arc::new(files));
        Ok(Self { ledger, writer, readers, file, files, keeper: Mutex::new(Some(keeper)) })
    }

    /// Runs a statement, and checks before and after it that the files have their names, so that no write is lost with them.
    async fn ask<T>(&self, statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.files.check()?;
        let result = in_time(statement).await?;
        self.files.check()?;
        Ok(result)
    }
}

/// Syncs the names of the database and its log. SQLite does not check whether its own sync succeeds.
async fn sync_folder(file: &Path) -> Result<(), StoreError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.to_owned();
    let sync = move || {
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced
            .map_err(|e| StoreError::new(StoreErrorKind::DiskFailed, format!("sync folder {}: {e}", folder.display())))
    };
    tokio::task::spawn_blocking(sync).await.expect("syncing does not panic")
}

/// Classifies SQLite's answers, by the primary part of the extended result code.
pub(super) fn classify(code: Option<&str>) -> StoreErrorKind {
    let code: i32 = code.and_then(|code| code.parse().ok()).unwrap_or_default();
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED: another process holds the file.
        5 | 6 => StoreErrorKind::Conflict,
        // SQLITE_PERM, SQLITE_READONLY, SQLITE_AUTH.
        3 | 8 | 23 => StoreErrorKind::Refused,
        // SQLITE_IOERR: after a failed write or fsync, the disk's contents are unknown.
        10 => StoreErrorKind::DiskFailed,
        // SQLITE_CORRUPT, SQLITE_CONSTRAINT (a row exists), SQLITE_MISMATCH, SQLITE_NOTADB.
        11 | 19 | 20 | 26 => StoreErrorKind::Corrupt,
        // Includes SQLITE_FULL and SQLITE_CANTOPEN (no file handles left).
        _ => StoreErrorKind::Unavailable,
    }
}

struct SqliteTransaction {
    transaction: sqlx::Transaction<'static, Sqlite>,
    ledger: i64,
    files: Arc<Files>,
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn now_ms(&mut self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)");
        in_time(query.fetch_one(&mut *self.transaction)).await
    }

    async fn commit(mut self: Box<Self>, append: &Append) -> Result<(), StoreError> {
        let (connection, ledger) = (&mut *self.transaction, self.ledger);
        insert_entries(connection, ledger, &append.entries).await?;
        for moved in &append.streams {
            match moved.from {
                None => insert_stream(connection, ledger, &moved.row).await?,
                Some(from) => move_stream(connection, ledger, from, &moved.row).await?,
            }
        }
        for (node, hash) in &append.nodes {
            sqlx::query("INSERT INTO tree_nodes (ledger, level, node_index, hash) VALUES ($1, $2, $3, $4)")
                .bind(ledger)
                .bind(i64::from(node.level))
                .bind(column(node.index))
                .bind(hash.as_bytes().as_slice())
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query(sql::SET_POSITION)
            .bind(ledger)
            .bind(column(append.position.next_seq))
            .bind(append.position.last_leaf.as_bytes().as_slice())
            .bind(append.position.time)
            .execute(&mut *connection)
            .await?;
        // SQLite runs in this process: a failed COMMIT is rolled back, unless the disk failed (`DiskFailed`).
        self.files.check()?;
        self.transaction.commit().await?;
        // The data is in the files now, but they may have lost their names since.
        self.files.check().map_err(|error| StoreError { kind: StoreErrorKind::Unknown, ..error })
    }
}

/// Entries in one statement. Sending a single entry to SQLite's thread would cost more than inserting it.
const ROWS_PER_INSERT: usize = 128;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insertion(ROWS_PER_INSERT));

/// The statement that inserts this many entries. Its text is always the same, so SQLite compiles it once. The parameters
/// have no names, because SQLite searches names one by one.
fn insertion(rows: usize) -> String {
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    format!(
        "INSERT INTO entries (ledger, seq, leaf, statement, kind, stream, first_offset, next_offset, entry)
         VALUES {values}"
    )
}

async fn insert_entries(connection: &mut SqliteConnection, ledger: i64, rows: &[EntryRow]) -> Result<(), StoreError> {
    let (many, rest) = rows.as_chunks::<ROWS_PER_INSERT>();
    for (sql, rows) in many
        .iter()
        .map(|rows| (INSERT_MANY.as_str(), rows.as_slice()))
        .chain(rest.chunks(1).map(|row| (INSERT_ONE.as_str(), row)))
    {
        let mut query = sqlx::query(sql);
        for row in rows {
            query = query
                .bind(ledger)
                .bind(column(row.seq))
                .bind(row.leaf.as_bytes().as_slice())
                .bind(row.statement.as_bytes().as_slice())
                .bind(row.kind.as_str())
                .bind(row.place.map(|p| column(p.stream)))
                .bind(row.place.map(|p| column(p.first)))
                .bind(row.place.map(|p| column(p.next)))
                .bind(row.bytes.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_stream(connection: &mut SqliteConnection, ledger: i64, row: &StreamRow) -> Result<(), StoreError> {
    let state = &row.state;
    sqlx::query(
        "INSERT INTO streams (ledger, number, cluster, topic, partition_number, epoch, topic_id, start_offset,
                              next_offset, statement, seq, last_offset, last_leaf, last_summary)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(ledger)
    .bind(column(row.number))
    .bind(&state.id.partition.cluster)
    .bind(&state.id.partition.topic)
    .bind(i64::from(state.id.partition.number))
    .bind(column(state.id.epoch))
    .bind(state.topic_id.as_deref())
    .bind(column(state.start))
    .bind(column(state.next))
    .bind(state.statement.as_bytes().as_slice())
    .bind(column(state.seq))
    .bind(state.last.map(|l| column(l.offset)))
    .bind(state.last.as_ref().map(|l| l.leaf.as_bytes().as_slice()))
    .bind(row.last_summary.map(column))
    .execute(connection)
    .await?;
    Ok(())
}

/// The compare-and-set of a cursor.
async fn move_stream(
    connection: &mut SqliteConnection,
    ledger: i64,
    from: u64,
    row: &StreamRow,
) -> Result<(), StoreError> {
    let state = &row.state;
    let done = sqlx::query(
        "UPDATE streams SET next_offset = $4, statement = $5, seq = $6, last_offset = $7, last_leaf = $8,
                            last_summary = $9
         WHERE ledger = $1 AND number = $2 AND next_offset = $3",
    )
    .bind(ledger)
    .bind(column(row.number))
    .bind(column(from))
    .bind(column(state.next))
    .bind(state.statement.as_bytes().as_slice())
    .bind(column(state.seq))
    .bind(state.last.map(|l| column(l.offset)))
    .bind(state.last.as_ref().map(|l| l.leaf.as_bytes().as_slice()))
    .bind(row.last_summary.map(column))
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(sql::cursors_differ([(row, from)]))
}

/// Finds a looked-up statement, if the chain holds it.
async fn find(
    connection: &mut SqliteConnection,
    ledger: i64,
    lookup: &Lookup,
) -> Result<Option<EntryColumns>, StoreError> {
    let query = match &lookup.place {
        None => {
            sqlx::query_as("SELECT seq, entry FROM entries WHERE ledger = $1 AND statement = $2 AND stream IS NULL")
        }
        Some(_) => sqlx::query_as(
            "SELECT e.seq, e.entry FROM streams s JOIN entries e ON e.ledger = s.ledger AND e.stream = s.number
             WHERE s.ledger = $1 AND e.statement = $2 AND s.cluster = $3 AND s.topic = $4 AND s.partition_number = $5
             AND s.epoch = $6 AND e.next_offset = $7",
        ),
    };
    let query = query.bind(ledger).bind(lookup.statement.as_bytes().as_slice());
    let query = match &lookup.place {
        None => query,
        Some((StreamId { partition: Partition { cluster, topic, number }, epoch }, next)) => {
            query.bind(cluster).bind(topic).bind(i64::from(*number)).bind(column(*epoch)).bind(column(*next))
        }
    };
    Ok(query.fetch_optional(connection).await?)
}

/// A lock on a file beside the database, released when it is closed.
struct FileLock {
    file: File,
    path: PathBuf,
}

#[async_trait]
impl Lease for FileLock {
    async fn is_held(&mut self) -> bool {
        // The name may belong to another file by now, which another process holds.
        let held = self.file.metadata().map(|metadata| Identity::of(&metadata));
        matches!((held, Identity::at(&self.path)), (Ok(held), Ok(named)) if held == named)
    }
}

super::reads::impl_store!(SqliteStore, read: readers, write: writer, {
    async fn begin(&self, lookups: &[Lookup]) -> Result<Begun, StoreError> {
        // Takes the write lock now, not at the first write: what is read here must stay true.
        self.files.check()?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let position = sqlx::query_as(sql::POSITION).bind(self.ledger).fetch_one(&mut *transaction).await?;
        let mut known = HashMap::new();
        for lookup in lookups {
            if let Some(row) = find(&mut transaction, self.ledger, lookup).await? {
                known.insert(lookup.statement, sql::entry(row)?);
            }
        }
        self.files.check()?;
        let files = Arc::clone(&self.files);
        let transaction = Box::new(SqliteTransaction { transaction, ledger: self.ledger, files });
        Ok(Begun { position: sql::position(position)?, known, transaction })
    }

    async fn publisher_lease(&self) -> Result<Option<Box<dyn Lease>>, StoreError> {
        let mut path = self.file.clone().into_os_string();
        path.push(format!(".publisher-{}", self.ledger));
        let path = PathBuf::from(path);
        let unavailable = |e: std::io::Error| {
            StoreError::new(StoreErrorKind::Unavailable, format!("lock file {}: {e}", path.display()))
        };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(FileLock { file, path }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unavailable(error)),
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.readers.close().await;
        self.writer.close().await;
        let Some(mut keeper) = self.keeper.lock().await.take() else { return Ok(()) };
        self.files.check()?;
        // The last connection writes the log back and removes it, but reports no error. So write it back first; this waits
        // for nobody.
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut keeper).await?;
        Ok(keeper.close().await?)
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commit_is_durable_before_it_is_acknowledged() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("chain.db").display());
        let ledger = LedgerId { origin: "example.com/audit".to_owned(), genesis: evidence::sha256(b"genesis") };
        let store = SqliteStore::open(&url, &ledger, IfAbsent::Begin).await.expect("opens");
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&store.writer).await.expect("asks");
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&store.writer).await.expect("asks");
        assert_eq!((synchronous, journal.as_str()), (2, "wal"), "FULL: an fsync for each commit");
        let pages: i64 = sqlx::query_scalar("PRAGMA wal_autocheckpoint").fetch_one(&store.writer).await.expect("asks");
        assert_eq!(pages.to_string(), WAL_PAGES_MAX);
    }

    /// Also if a connection still has that file open, and would answer from it.
    #[tokio::test]
    async fn moved_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chain.db");
        let ledger = LedgerId { origin: "example.com/audit".to_owned(), genesis: evidence::sha256(b"genesis") };
        let url = format!("sqlite:{}", file.display());
        let store = SqliteStore::open(&url, &ledger, IfAbsent::Begin).await.expect("opens");
        assert_eq!(store.clusters().await.expect("answers"), Vec::<String>::new());
        std::fs::rename(&file, folder.path().join("moved.db")).expect("moved");
        let error = store.clusters().await.expect_err("it was moved");
        assert!(error.message.contains("was removed or replaced"), "{error}");
    }

    #[test]
    fn errors_are_told_apart_by_what_to_do() {
        for (code, kind) in [
            ("5", StoreErrorKind::Conflict),
            // SQLITE_BUSY_SNAPSHOT
            ("517", StoreErrorKind::Conflict),
            // SQLITE_FULL: no room on the disk.
            ("13", StoreErrorKind::Unavailable),
            // SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE
            ("1034", StoreErrorKind::DiskFailed),
            ("778", StoreErrorKind::DiskFailed),
            ("11", StoreErrorKind::Corrupt),
            // SQLITE_CONSTRAINT_PRIMARYKEY
            ("1555", StoreErrorKind::Corrupt),
            ("8", StoreErrorKind::Refused),
        ] {
            assert_eq!(classify(Some(code)), kind, "{code}");
        }
    }
}
