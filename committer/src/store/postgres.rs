//! The chain in PostgreSQL, which several committers may share.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;

use async_trait::async_trait;
use evidence::chain::Position;
use evidence::statement::{HeadsLine, LedgerId};
use evidence::{Hash, Partition, StreamId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres};

use super::session::{self, CONNECT_TIMEOUT};
use super::sql::{self, column};
use super::{
    Append, Begun, EntryRow, IfAbsent, Lease, Lookup, Moved, Store, StoreError, StoreErrorKind, StoredCheckpoint,
    StoredEntry, StreamEnd, StreamNewest, StreamRow, Transaction,
};
use super::{CALL_TIME_MAX, in_time};

const CONNECTIONS_MAX: u32 = 10;
/// All programs that use the database share its advisory locks. This marks ours: "seal".
const ADVISORY_CLASS: i32 = 0x7365_616c;

/// A ledger in a PostgreSQL database.
#[derive(Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
    ledger: i64,
}

impl PostgresStore {
    /// See [`super::open`].
    pub(super) async fn open(url: &str, ledger: &LedgerId, if_absent: IfAbsent) -> Result<Self, StoreError> {
        // The error would repeat the URL, with its password.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            StoreError::refused("`database` is not a URL of the form postgres://user:password@host:port/name")
        })?;
        // Poolers refuse the parameter for the digits of floats, and there are no floats.
        let options = options.application_name("streamseal-committer").extra_float_digits(None);
        session::check_own(&options).await?;
        let mut connection = session::connect(&options).await?;
        session::prepare(&mut connection).await?;
        // Building an index over a long chain takes longer than a call may.
        sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
        super::migrations::postgres().run_direct(None, &mut connection, false).await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    session::prepare(&mut *connection).await.map_err(|error| {
                        tracing::error!("{error}");
                        sqlx::Error::Configuration(error.into())
                    })?;
                    if if_absent == IfAbsent::Refuse {
                        // Opened for reading: `fsck` must show what the index does not find.
                        sqlx::raw_sql("SET enable_seqscan = off").execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        if if_absent == IfAbsent::Begin {
            let query = sqlx::query(sql::NEW_LEDGER).bind(&ledger.origin);
            in_time(query.bind(ledger.genesis.as_bytes().as_slice()).execute(&pool)).await?;
        }
        let found = in_time(sqlx::query_as(sql::LEDGER).bind(&ledger.origin).fetch_optional(&pool)).await?;
        Ok(Self { ledger: sql::ledger(found, ledger)?, pool })
    }
}

impl PostgresStore {
    async fn ask<T>(&self, statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        in_time(statement).await
    }
}

/// Classifies the server's answers, by SQLSTATE.
pub(super) fn classify(code: &str) -> StoreErrorKind {
    match code {
        "40001" | "40P01" => StoreErrorKind::Conflict,
        // Corrupt data or index, internal error, and rows that collide with new ones.
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ if code.starts_with("23") => StoreErrorKind::Corrupt,
        // Wrong password, no such database, no right to do it, no such table or column.
        _ if code.starts_with("28") || code.starts_with("3D") || code.starts_with("42") => StoreErrorKind::Refused,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Classifies an error in answer to COMMIT. The outcome is known only if the server says that it rolled back.
fn commit_error(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
    if was_rolled_back(&code) {
        return error.into();
    }
    StoreError::new(StoreErrorKind::Unknown, format!("commit: {error}"))
}

/// Whether a SQLSTATE in answer to COMMIT says that nothing was written.
fn was_rolled_back(code: &str) -> bool {
    // The rollback class has one exception, 40003: the outcome is unknown.
    code != "40003" && ["40", "23", "53"].iter().any(|class| code.starts_with(class))
}

struct PostgresTransaction {
    transaction: sqlx::Transaction<'static, Postgres>,
    ledger: i64,
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn now_ms(&mut self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)");
        in_time(query.fetch_one(&mut *self.transaction)).await
    }

    async fn commit(mut self: Box<Self>, append: &Append) -> Result<(), StoreError> {
        let write = write(&mut self.transaction, self.ledger, append);
        tokio::time::timeout(CALL_TIME_MAX / 2, write).await.unwrap_or_else(|_| Err(StoreError::no_answer()))?;
        match tokio::time::timeout(CALL_TIME_MAX / 2, self.transaction.commit()).await {
            Ok(committed) => committed.map_err(commit_error),
            Err(_) => Err(StoreError::new(StoreErrorKind::Unknown, "no answer to the commit")),
        }
    }
}

/// Everything of an append except the commit.
async fn write(connection: &mut PgConnection, ledger: i64, append: &Append) -> Result<(), StoreError> {
    insert_entries(connection, ledger, &append.entries).await?;
    let (new, moved): (Vec<&Moved>, Vec<&Moved>) = append.streams.iter().partition(|m| m.from.is_none());
    if !new.is_empty() {
        insert_streams(connection, ledger, &new).await?;
    }
    if !moved.is_empty() {
        move_streams(connection, ledger, &moved).await?;
    }
    if !append.nodes.is_empty() {
        insert_nodes(connection, ledger, append).await?;
    }
    sqlx::query(sql::SET_POSITION)
        .bind(ledger)
        .bind(column(append.position.next_seq))
        .bind(append.position.last_leaf.as_bytes().as_slice())
        .bind(append.position.time)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_entries(connection: &mut PgConnection, ledger: i64, rows: &[EntryRow]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO entries (ledger, seq, leaf, statement, kind, stream, first_offset, next_offset, entry)
         SELECT $1, * FROM UNNEST($2::BIGINT[], $3::BYTEA[], $4::BYTEA[], $5::TEXT[], $6::BIGINT[], $7::BIGINT[],
                                  $8::BIGINT[], $9::BYTEA[])",
    )
    .bind(ledger)
    .bind(rows.iter().map(|r| column(r.seq)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.leaf.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.statement.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.place.map(|p| column(p.stream))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.place.map(|p| column(p.first))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.place.map(|p| column(p.next))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.bytes.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_streams(connection: &mut PgConnection, ledger: i64, new: &[&Moved]) -> Result<(), StoreError> {
    let heads = || new.iter().map(|m| &m.row.state);
    sqlx::query(
        "INSERT INTO streams (ledger, number, cluster, topic, partition_number, epoch, topic_id, start_offset,
                              next_offset, statement, seq, last_offset, last_leaf, last_summary)
         SELECT $1, * FROM UNNEST($2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::TEXT[],
                                  $8::BIGINT[], $9::BIGINT[], $10::BYTEA[], $11::BIGINT[], $12::BIGINT[],
                                  $13::BYTEA[], $14::BIGINT[])",
    )
    .bind(ledger)
    .bind(new.iter().map(|m| column(m.row.number)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.id.partition.cluster.as_str()).collect::<Vec<_>>())
    .bind(heads().map(|h| h.id.partition.topic.as_str()).collect::<Vec<_>>())
    .bind(heads().map(|h| i64::from(h.id.partition.number)).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.id.epoch)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.topic_id.as_deref()).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.start)).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.next)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.statement.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.seq)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.last.map(|l| column(l.offset))).collect::<Vec<_>>())
    .bind(heads().map(|h| h.last.as_ref().map(|l| l.leaf.as_bytes().as_slice())).collect::<Vec<_>>())
    .bind(new.iter().map(|m| m.row.last_summary.map(column)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The compare-and-set of the cursors.
async fn move_streams(connection: &mut PgConnection, ledger: i64, moved: &[&Moved]) -> Result<(), StoreError> {
    let heads = || moved.iter().map(|m| &m.row.state);
    let done = sqlx::query(
        "UPDATE streams s SET next_offset = u.next_offset, statement = u.statement, seq = u.seq,
                              last_offset = u.last_offset, last_leaf = u.last_leaf, last_summary = u.last_summary
         FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BYTEA[], $6::BIGINT[], $7::BIGINT[], $8::BYTEA[],
                     $9::BIGINT[])
              AS u (number, from_offset, next_offset, statement, seq, last_offset, last_leaf, last_summary)
         WHERE s.ledger = $1 AND s.number = u.number AND s.next_offset = u.from_offset",
    )
    .bind(ledger)
    .bind(moved.iter().map(|m| column(m.row.number)).collect::<Vec<_>>())
    .bind(moved.iter().map(|m| m.from.map(column)).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.next)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.statement.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(heads().map(|h| column(h.seq)).collect::<Vec<_>>())
    .bind(heads().map(|h| h.last.map(|l| column(l.offset))).collect::<Vec<_>>())
    .bind(heads().map(|h| h.last.as_ref().map(|l| l.leaf.as_bytes().as_slice())).collect::<Vec<_>>())
    .bind(moved.iter().map(|m| m.row.last_summary.map(column)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    if done.rows_affected() == moved.len() as u64 {
        return Ok(());
    }
    Err(sql::cursors_differ(moved.iter().map(|m| (&m.row, m.from.unwrap_or_default()))))
}

async fn insert_nodes(connection: &mut PgConnection, ledger: i64, append: &Append) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tree_nodes (ledger, level, node_index, hash)
         SELECT $1, * FROM UNNEST($2::BIGINT[], $3::BIGINT[], $4::BYTEA[])",
    )
    .bind(ledger)
    .bind(append.nodes.iter().map(|(node, _)| i64::from(node.level)).collect::<Vec<_>>())
    .bind(append.nodes.iter().map(|(node, _)| column(node.index)).collect::<Vec<_>>())
    .bind(append.nodes.iter().map(|(_, hash)| hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// A session's advisory lock: PostgreSQL releases it when the connection ends, however it ends.
struct AdvisoryLock {
    connection: PoolConnection<Postgres>,
}

#[async_trait]
impl Lease for AdvisoryLock {
    async fn is_held(&mut self) -> bool {
        in_time(self.connection.ping()).await.is_ok()
    }
}

/// Statement hash, seq and bytes of an entry.
type KnownColumns = (Vec<u8>, i64, Vec<u8>);

async fn begin(pool: &PgPool, ledger: i64, lookups: &[Lookup]) -> Result<Begun, StoreError> {
    let mut transaction = pool.begin().await?;
    let position = sqlx::query_as("SELECT next_seq, head, time_ms FROM ledgers WHERE id = $1 FOR UPDATE")
        .bind(ledger)
        .fetch_one(&mut *transaction)
        .await?;
    let mut known = HashMap::new();
    if !lookups.is_empty() {
        for (statement, seq, bytes) in find(&mut transaction, ledger, lookups).await? {
            known.insert(sql::hash(&statement)?, sql::entry((seq, bytes))?);
        }
    }
    let transaction = Box::new(PostgresTransaction { transaction, ledger });
    Ok(Begun { position: sql::position(position)?, known, transaction })
}

/// Finds the looked-up statements that the chain holds.
async fn find(connection: &mut PgConnection, ledger: i64, lookups: &[Lookup]) -> Result<Vec<KnownColumns>, StoreError> {
    let (placed, others): (Vec<_>, Vec<_>) = lookups.iter().partition(|lookup| lookup.place.is_some());
    let hashes = |lookups: &[&Lookup]| lookups.iter().map(|s| s.statement.as_bytes().to_vec()).collect::<Vec<_>>();
    let places = || placed.iter().filter_map(|lookup| lookup.place.as_ref());
    let query = sqlx::query_as(
        "SELECT e.statement, e.seq, e.entry
         FROM UNNEST($2::BYTEA[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
              AS u (statement, cluster, topic, partition_number, epoch, next_offset)
         JOIN streams s ON s.ledger = $1 AND s.cluster = u.cluster AND s.topic = u.topic
              AND s.partition_number = u.partition_number AND s.epoch = u.epoch
         JOIN entries e ON e.ledger = $1 AND e.stream = s.number AND e.next_offset = u.next_offset
              AND e.statement = u.statement
         UNION ALL
         SELECT statement, seq, entry FROM entries WHERE ledger = $1 AND stream IS NULL AND statement = ANY($8)",
    )
    .bind(ledger)
    .bind(hashes(&placed))
    .bind(places().map(|(id, _)| id.partition.cluster.as_str()).collect::<Vec<_>>())
    .bind(places().map(|(id, _)| id.partition.topic.as_str()).collect::<Vec<_>>())
    .bind(places().map(|(id, _)| i64::from(id.partition.number)).collect::<Vec<_>>())
    .bind(places().map(|(id, _)| column(id.epoch)).collect::<Vec<_>>())
    .bind(places().map(|(_, next)| column(*next)).collect::<Vec<_>>())
    .bind(hashes(&others));
    Ok(query.fetch_all(connection).await?)
}

super::reads::impl_store!(PostgresStore, read: pool, write: pool, {
    async fn begin(&self, lookups: &[Lookup]) -> Result<Begun, StoreError> {
        let begin = begin(&self.pool, self.ledger, lookups);
        tokio::time::timeout(CALL_TIME_MAX, begin).await.unwrap_or_else(|_| Err(StoreError::no_answer()))
    }

    async fn publisher_lease(&self) -> Result<Option<Box<dyn Lease>>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        // Closed, not returned to the pool, when the lease ends: that releases the lock.
        connection.close_on_drop();
        let key = i32::try_from(self.ledger).map_err(|_| StoreError::corrupt("more than 2^31 ledgers"))?;
        let query = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)").bind(ADVISORY_CLASS).bind(key);
        let locked: bool = in_time(query.fetch_one(&mut *connection)).await?;
        Ok(locked.then(|| Box::new(AdvisoryLock { connection }) as Box<dyn Lease>))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pool.close().await;
        Ok(())
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_to_do() {
        for (code, kind) in [
            // Serialization failure, deadlock.
            ("40001", StoreErrorKind::Conflict),
            ("40P01", StoreErrorKind::Conflict),
            // Disk full, too many connections, shutting down, starting up, read-only standby, lock timeout.
            ("53100", StoreErrorKind::Unavailable),
            ("53300", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("57P03", StoreErrorKind::Unavailable),
            ("25006", StoreErrorKind::Unavailable),
            ("55P03", StoreErrorKind::Unavailable),
            // Unique violation, corrupted data.
            ("23505", StoreErrorKind::Corrupt),
            ("XX001", StoreErrorKind::Corrupt),
            // Wrong password, no such database, no such table, no right.
            ("28P01", StoreErrorKind::Refused),
            ("3D000", StoreErrorKind::Refused),
            ("42P01", StoreErrorKind::Refused),
            ("42501", StoreErrorKind::Refused),
        ] {
            assert_eq!(classify(code), kind, "{code}");
        }
    }

    #[test]
    fn only_a_rollback_proves_nothing_was_written() {
        // Serialization failure, deadlock, a deferred constraint, disk full.
        for code in ["40001", "40P01", "23505", "53100"] {
            assert!(was_rolled_back(code), "{code}");
        }
        // Statement completion unknown, transaction resolution unknown, shutting down, no code at all.
        for code in ["40003", "08007", "57P01", ""] {
            assert!(!was_rolled_back(code), "{code}");
        }
    }

    #[test]
    fn connection_lost_during_commit_leaves_it_unknown() {
        let broken = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(commit_error(broken).kind, StoreErrorKind::Unknown);
        assert_eq!(commit_error(sqlx::Error::Protocol("cut".to_owned())).kind, StoreErrorKind::Unknown);
    }
}
