//! A store in memory, for tests and the simulation. It is as unreliable as a database behind a network.
//!
//! It runs the same test suite as the other stores. On demand it does what database servers do to their clients:
//! connections break before, during and after a statement; a commit is carried out after its client was told that the
//! connection broke; sessions end; an old copy replaces the data.

mod link;
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evidence::chain::Position;
use evidence::statement::{HeadsLine, LedgerId};
use evidence::{Hash, Partition, StreamId};
use tokio::sync::Notify;

use super::{
    Append, Begun, EntryRow, IfAbsent, Lease, Lookup, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry,
    StreamEnd, StreamNewest, StreamRow, Transaction, sql,
};
use crate::Clock;
pub use link::{Call, Cut, Direct, Link};
pub use tables::Tables;

/// Maximum wait for the lock of a ledger, as in PostgreSQL.
const LOCK_TIME_MAX: Duration = Duration::from_secs(12);

/// A database server. Clones are the same server.
#[derive(Clone)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    contents: Mutex<Contents>,
    clock: Clock,
    /// Told of every lock that is released.
    unlocked: Notify,
}

#[derive(Default)]
struct Contents {
    ledgers: BTreeMap<String, Tables>,
    /// The session that has each ledger locked.
    locks: HashMap<String, u64>,
    /// The session that publishes each ledger.
    publishers: HashMap<String, u64>,
    /// Commits of disconnected clients that the server received and has not carried out.
    orphans: Vec<Orphan>,
    sessions: u64,
}

struct Orphan {
    origin: String,
    session: u64,
    append: Append,
}

impl MemoryDatabase {
    /// An empty database with a clock in milliseconds since 1970.
    pub fn new(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { contents: Mutex::default(), clock, unlocked: Notify::new() }) }
    }

    /// Opens a client's store for a ledger. Begins the ledger if it does not exist.
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn open(&self, ledger: &LedgerId, link: Arc<dyn Link>) -> Result<Arc<dyn Store>, StoreError> {
        self.open_as(ledger, link, IfAbsent::Begin)
    }

    /// As [`MemoryDatabase::open`], for a ledger that exists.
    ///
    /// # Errors
    /// As [`super::open_existing`].
    pub fn open_existing(&self, ledger: &LedgerId, link: Arc<dyn Link>) -> Result<Arc<dyn Store>, StoreError> {
        self.open_as(ledger, link, IfAbsent::Refuse)
    }

    fn open_as(
        &self,
        ledger: &LedgerId,
        link: Arc<dyn Link>,
        if_absent: IfAbsent,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let mut contents = self.lock();
        if if_absent == IfAbsent::Begin {
            contents.ledgers.entry(ledger.origin.clone()).or_insert_with(|| Tables::new(ledger.genesis));
        }
        let found = contents.ledgers.get(&ledger.origin).map(|tables| (0, tables.genesis.as_bytes().to_vec()));
        sql::ledger(found, ledger)?;
        Ok(Arc::new(MemoryStore { database: self.clone(), origin: ledger.origin.clone(), link }))
    }

    /// A copy of a ledger's committed tables.
    ///
    /// # Panics
    /// If it was never opened.
    pub fn tables(&self, origin: &str) -> Tables {
        self.lock().ledgers.get(origin).expect("the ledger was opened").clone()
    }

    /// Reads a ledger's committed tables.
    ///
    /// # Panics
    /// If it was never opened.
    pub fn look<T>(&self, origin: &str, look: impl FnOnce(&Tables) -> T) -> T {
        look(self.lock().ledgers.get(origin).expect("the ledger was opened"))
    }

    /// Replaces a ledger's tables, with an old copy or a forgery. Sessions continue.
    pub fn replace(&self, origin: &str, tables: Tables) {
        self.lock().ledgers.insert(origin.to_owned(), tables);
    }

    /// Ends all sessions, as a restarting server does. Uncommitted transactions roll back, and leases are free. Pending
    /// commits are dropped.
    pub fn end_sessions(&self) {
        let mut contents = self.lock();
        contents.locks.clear();
        contents.publishers.clear();
        contents.orphans.clear();
        drop(contents);
        self.shared.unlocked.notify_waiters();
    }

    /// How many commits of disconnected clients are pending.
    pub fn orphans(&self) -> usize {
        self.lock().orphans.len()
    }

    /// Carries out the commits of disconnected clients, or rolls them back.
    pub fn settle_orphans(&self, carry_out: bool) {
        let mut contents = self.lock();
        let contents = &mut *contents;
        for Orphan { origin, session, append } in contents.orphans.drain(..) {
            if contents.locks.get(&origin) != Some(&session) {
                continue;
            }
            contents.locks.remove(&origin);
            if carry_out && let Some(tables) = contents.ledgers.get_mut(&origin) {
                // A commit that collides with stored rows changes nothing.
                let _ = tables.write(&append);
            }
        }
        self.shared.unlocked.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Only a test can have panicked, and has failed.
        self.shared.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unlock(&self, origin: &str, session: u64) {
        let mut contents = self.lock();
        if contents.locks.get(origin) == Some(&session) {
            contents.locks.remove(origin);
            drop(contents);
            self.shared.unlocked.notify_waiters();
        }
    }
}

struct MemoryStore {
    database: MemoryDatabase,
    origin: String,
    link: Arc<dyn Link>,
}

fn failed(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, format!("the connection broke: {kind:?}"))
}

impl MemoryStore {
    /// Sends one statement through the link and back.
    async fn ask<T>(&self, call: Call<'_>, statement: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        self.link.request(call).await.map_err(|cut| failed(cut.kind()))?;
        let result = {
            let mut contents = self.database.lock();
            statement(contents.ledgers.get_mut(&self.origin).expect("it was there when this was opened"))
        };
        self.link.reply(call).await.map_err(failed)?;
        Ok(result)
    }

    async fn read<T>(&self, name: &'static str, statement: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        self.ask(Call::Read(name), |tables| statement(tables)).await
    }

    /// Waits for the lock of the ledger.
    async fn locked(&self) -> Result<MemoryTransaction, StoreError> {
        let taken = async {
            loop {
                let unlocked = self.database.shared.unlocked.notified();
                if let Some(transaction) = self.try_lock() {
                    return transaction;
                }
                unlocked.await;
            }
        };
        tokio::time::timeout(LOCK_TIME_MAX, taken)
            .await
            .map_err(|_| StoreError::new(StoreErrorKind::Unavailable, "another transaction keeps the ledger locked"))
    }

    fn try_lock(&self) -> Option<MemoryTransaction> {
        let mut contents = self.database.lock();
        if contents.locks.contains_key(&self.origin) {
            return None;
        }
        contents.sessions += 1;
        let session = contents.sessions;
        contents.locks.insert(self.origin.clone(), session);
        let (database, origin, link) = (self.database.clone(), self.origin.clone(), Arc::clone(&self.link));
        Some(MemoryTransaction { database, origin, session, link, sent: None })
    }
}

/// A session that has the ledger locked.
struct MemoryTransaction {
    database: MemoryDatabase,
    origin: String,
    session: u64,
    link: Arc<dyn Link>,
    /// A commit that may have reached the server.
    sent: Option<Append>,
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        match self.sent.take() {
            // The client is disconnected, but the server has its commit.
            Some(append) => {
                let (origin, session) = (self.origin.clone(), self.session);
                self.database.lock().orphans.push(Orphan { origin, session, append });
            }
            None => self.database.unlock(&self.origin, self.session),
        }
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn now_ms(&mut self) -> Result<i64, StoreError> {
        let call = Call::Read("now_ms");
        self.link.request(call).await.map_err(|cut| failed(cut.kind()))?;
        let now_ms = (self.database.shared.clock)();
        self.link.reply(call).await.map_err(failed)?;
        Ok(now_ms)
    }

    async fn commit(mut self: Box<Self>, append: &Append) -> Result<(), StoreError> {
        let (link, call) = (Arc::clone(&self.link), Call::Commit(append));
        self.sent = Some(append.clone());
        match link.request(call).await {
            Ok(()) => {}
            Err(Cut::Later) => return Err(failed(StoreErrorKind::Unknown)),
            Err(Cut::Now(kind)) => {
                self.sent = None;
                return Err(failed(kind));
            }
        }
        self.sent = None;
        {
            let mut contents = self.database.lock();
            let contents = &mut *contents;
            if contents.locks.get(&self.origin) != Some(&self.session) {
                return Err(StoreError::new(StoreErrorKind::Unavailable, "the server ended the session"));
            }
            contents.ledgers.get_mut(&self.origin).expect("it is locked").write(append)?;
        }
        self.database.unlock(&self.origin, self.session);
        // Written; only the answer can still get lost.
        link.reply(call).await.map_err(|_| failed(StoreErrorKind::Unknown))
    }
}

/// The publisher's lease, until it is dropped or its session ends.
struct MemoryLease {
    database: MemoryDatabase,
    origin: String,
    session: u64,
    link: Arc<dyn Link>,
}

impl MemoryLease {
    fn is_ours(&self) -> bool {
        self.database.lock().publishers.get(&self.origin) == Some(&self.session)
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        if self.is_ours() {
            self.database.lock().publishers.remove(&self.origin);
        }
    }
}

#[async_trait]
impl Lease for MemoryLease {
    async fn is_held(&mut self) -> bool {
        let asked = self.link.request(Call::Read("is_held")).await.is_ok();
        let held = asked && self.is_ours();
        held && self.link.reply(Call::Read("is_held")).await.is_ok()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin(&self, lookups: &[Lookup]) -> Result<Begun, StoreError> {
        self.link.request(Call::Begin).await.map_err(|cut| failed(cut.kind()))?;
        let transaction = self.locked().await?;
        let (position, known) = self.database.look(&self.origin, |tables| {
            let known = lookups.iter().filter_map(|lookup| Some((lookup.statement, tables.find(lookup)?)));
            (tables.position, known.collect())
        });
        self.link.reply(Call::Begin).await.map_err(failed)?;
        Ok(Begun { position, known, transaction: Box::new(transaction) })
    }

    async fn position(&self) -> Result<Option<Position>, StoreError> {
        self.read("position", |tables| tables.position).await
    }

    async fn entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError> {
        self.read("entries", |tables| tables.range(seqs).map(Tables::stored).collect()).await
    }

    async fn rows(&self, seqs: Range<u64>) -> Result<Vec<EntryRow>, StoreError> {
        self.read("rows", |tables| tables.range(seqs).cloned().collect()).await
    }

    async fn ledger_entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError> {
        self.read("ledger_entries", |tables| tables.ledger_entries(seqs)).await
    }

    async fn key_entries(&self) -> Result<Vec<StoredEntry>, StoreError> {
        self.read("key_entries", Tables::key_entries).await
    }

    async fn heads_entry(&self, size: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.read("heads_entry", |tables| tables.heads_entry(size)).await
    }

    async fn heads_lines(&self, size: u64) -> Result<Vec<HeadsLine>, StoreError> {
        self.read("heads_lines", |tables| tables.heads_lines(size)).await
    }

    async fn newest_entries(&self, size: u64) -> Result<Vec<StreamNewest>, StoreError> {
        self.read("newest_entries", |tables| tables.newest_entries(size)).await
    }

    async fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        self.read("streams", |tables| tables.streams.values().cloned().collect()).await
    }

    async fn clusters(&self) -> Result<Vec<String>, StoreError> {
        self.read("clusters", |tables| {
            let clusters = tables.streams.values().map(|row| row.state.id.partition.cluster.clone());
            clusters.collect::<BTreeSet<_>>().into_iter().collect()
        })
        .await
    }

    async fn moved_streams(&self, seqs: Range<u64>) -> Result<Vec<StreamRow>, StoreError> {
        self.read("moved_streams", |tables| tables.moved_streams(seqs)).await
    }

    async fn ends(&self, seqs: Range<u64>) -> Result<Vec<StreamEnd>, StoreError> {
        self.read("ends", |tables| tables.ends(seqs)).await
    }

    async fn open_stream(&self, partition: &Partition) -> Result<Option<StreamRow>, StoreError> {
        self.read("open_stream", |tables| tables.open_stream(partition)).await
    }

    async fn stream_entries(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.read("stream_entries", |tables| tables.stream_entries(stream, from, limit)).await
    }

    async fn covering_entry(&self, stream: &StreamId, offset: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.read("covering_entry", |tables| tables.covering_entry(stream, offset)).await
    }

    async fn nodes(&self, level: u8, indices: Range<u64>) -> Result<Vec<Hash>, StoreError> {
        self.read("nodes", |tables| tables.subtrees(level, indices)).await
    }

    async fn stray_entry(&self, size: u64) -> Result<Option<i64>, StoreError> {
        self.read("stray_entry", |tables| tables.range(size..u64::MAX).next().map(|row| sql::column(row.seq))).await
    }

    async fn node_count(&self) -> Result<u64, StoreError> {
        self.read("node_count", |tables| tables.nodes.len() as u64).await
    }

    async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.read("checkpoint", |tables| tables.checkpoint.clone()).await
    }

    async fn put_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), StoreError> {
        self.ask(Call::PutCheckpoint(checkpoint), |tables| {
            let kept = tables.checkpoint.as_ref().map(|kept| kept.head.size);
            if kept.is_none_or(|kept| kept <= checkpoint.head.size) {
                tables.checkpoint = Some(checkpoint.clone());
            }
        })
        .await
    }

    async fn published(&self) -> Result<Option<u64>, StoreError> {
        self.read("published", |tables| tables.published).await
    }

    async fn set_published(&self, size: u64) -> Result<(), StoreError> {
        self.ask(Call::SetPublished(size), |tables| tables.published = tables.published.max(Some(size))).await
    }

    async fn publisher_lease(&self) -> Result<Option<Box<dyn Lease>>, StoreError> {
        self.link.request(Call::Lease).await.map_err(|cut| failed(cut.kind()))?;
        let lease = {
            let mut contents = self.database.lock();
            if contents.publishers.contains_key(&self.origin) {
                None
            } else {
                contents.sessions += 1;
                let session = contents.sessions;
                contents.publishers.insert(self.origin.clone(), session);
                let (database, origin) = (self.database.clone(), self.origin.clone());
                Some(MemoryLease { database, origin, session, link: Arc::clone(&self.link) })
            }
        };
        self.link.reply(Call::Lease).await.map_err(failed)?;
        Ok(lease.map(|lease| Box::new(lease) as Box<dyn Lease>))
    }
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
