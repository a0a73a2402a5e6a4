//! The committer on every database. `sqlite` and `postgres` run the whole suite, `memory` the contract of `Store`.

mod all;
mod damage;
mod fsck;
mod running;
mod safety;
mod service;
mod store;

mod collation;
mod memory;
mod pooler;
mod postgres;
mod publish;
mod sqlite;

use std::sync::Arc;

use committer::store::memory::{Direct, MemoryDatabase};
use committer::store::{Store, StoreError, open, open_existing};
use evidence::statement::LedgerId;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// A new database.
pub(crate) struct Database {
    /// Its URL; a database in memory has none that a committer can open.
    pub(crate) url: String,
    /// Removed with this value.
    pub(crate) _folder: Option<tempfile::TempDir>,
    memory: Option<MemoryDatabase>,
}

/// All tables of a chain.
const TABLES: [&str; 6] = ["ledgers", "entries", "streams", "tree_nodes", "checkpoints", "publications"];

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("chain.db").display());
        Self { url, _folder: Some(folder), memory: None }
    }

    pub(crate) fn postgres(url: String) -> Self {
        Self { url, _folder: None, memory: None }
    }

    pub(crate) fn memory() -> Self {
        let memory = MemoryDatabase::new(committer::system_clock());
        Self { url: String::new(), _folder: None, memory: Some(memory) }
    }

    pub(crate) async fn open(&self, ledger: &LedgerId) -> Result<Arc<dyn Store>, StoreError> {
        match &self.memory {
            Some(memory) => memory.open(ledger, Arc::new(Direct)),
            None => open(&self.url, ledger).await,
        }
    }

    pub(crate) async fn open_existing(&self, ledger: &LedgerId) -> Result<Arc<dyn Store>, StoreError> {
        match &self.memory {
            Some(memory) => memory.open_existing(ledger, Arc::new(Direct)),
            None => open_existing(&self.url, ledger).await,
        }
    }

    /// Runs SQL that no committer would run.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        if self.url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(&self.url).await.expect("connects");
            sql.execute(&mut connection).await.expect("runs");
        } else {
            let mut connection = PgConnection::connect(&self.url).await.expect("connects");
            sql.execute(&mut connection).await.expect("runs");
        }
    }

    /// Backs up all tables.
    pub(crate) async fn back_up(&self, name: &str) {
        for table in TABLES {
            self.execute(&format!("CREATE TABLE {name}_{table} AS SELECT * FROM {table}")).await;
        }
    }

    /// Replaces all tables with a backup, in one step, even while a committer runs.
    pub(crate) async fn restore(&self, name: &str) {
        let replace = |table| match table {
            // PostgreSQL assigns these ids itself.
            "ledgers" => format!(
                "UPDATE ledgers SET (next_seq, head, time_ms) =
                 (SELECT next_seq, head, time_ms FROM {name}_ledgers b WHERE b.id = ledgers.id);"
            ),
            table => format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {name}_{table};"),
        };
        let steps: String = TABLES.into_iter().map(replace).collect();
        let begin = if self.url.starts_with("sqlite:") { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.execute(&format!("{begin}; {steps} COMMIT;")).await;
    }

    /// Bytes as SQL.
    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.url.starts_with("sqlite:") { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") }
    }
}
