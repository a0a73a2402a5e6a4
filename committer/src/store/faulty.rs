//! A store that fails when told to, for tests.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evidence::chain::Position;
use evidence::statement::HeadsLine;
use evidence::{Hash, Partition, StreamId};

use super::{
    Append, Begun, EntryRow, Lease, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry, StreamRow,
    Transaction,
};

/// What happens to the next transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It does not begin.
    Begin(StoreErrorKind),
    /// It is not written.
    Lost(StoreErrorKind),
    /// It is written, and reported as failed.
    Written(StoreErrorKind),
}

/// Passes everything on to `inner`, except for the planned faults.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Mutex<VecDeque<Fault>>,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, faults: Mutex::default() }
    }

    /// Plans the faults of the transactions to come; after them all is well.
    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("not poisoned").extend(faults);
    }
}

fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, format!("planned: {kind:?}"))
}

struct FaultyTransaction {
    inner: Box<dyn Transaction>,
    fault: Fault,
}

#[async_trait]
impl Transaction for FaultyTransaction {
    async fn commit(self: Box<Self>, append: &Append) -> Result<(), StoreError> {
        if let Fault::Lost(kind) = self.fault {
            return Err(error(kind));
        }
        self.inner.commit(append).await?;
        match self.fault {
            Fault::Written(kind) => Err(error(kind)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn begin(&self, statements: &[Hash]) -> Result<Begun, StoreError> {
        let fault = self.faults.lock().expect("not poisoned").pop_front().unwrap_or(Fault::None);
        if let Fault::Begin(kind) = fault {
            return Err(error(kind));
        }
        let begun = self.inner.begin(statements).await?;
        let transaction = Box::new(FaultyTransaction { inner: begun.transaction, fault });
        Ok(Begun { transaction, ..begun })
    }

    async fn position(&self) -> Result<Option<Position>, StoreError> {
        self.inner.position().await
    }

    async fn entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.entries(seqs).await
    }

    async fn rows(&self, seqs: Range<u64>) -> Result<Vec<EntryRow>, StoreError> {
        self.inner.rows(seqs).await
    }

    async fn key_entries(&self) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.key_entries().await
    }

    async fn heads_entry(&self, size: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.inner.heads_entry(size).await
    }

    async fn heads_lines(&self, size: u64) -> Result<Vec<HeadsLine>, StoreError> {
        self.inner.heads_lines(size).await
    }

    async fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        self.inner.streams().await
    }

    async fn open_stream(&self, partition: &Partition) -> Result<Option<StreamRow>, StoreError> {
        self.inner.open_stream(partition).await
    }

    async fn stream_entries(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.stream_entries(stream, from, limit).await
    }

    async fn covering_entry(&self, stream: &StreamId, offset: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.inner.covering_entry(stream, offset).await
    }

    async fn nodes(&self, level: u8, indices: Range<u64>) -> Result<Vec<Hash>, StoreError> {
        self.inner.nodes(level, indices).await
    }

    async fn stray_entry(&self, size: u64) -> Result<Option<i64>, StoreError> {
        self.inner.stray_entry(size).await
    }

    async fn node_count(&self) -> Result<u64, StoreError> {
        self.inner.node_count().await
    }

    async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.inner.checkpoint().await
    }

    async fn put_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), StoreError> {
        self.inner.put_checkpoint(checkpoint).await
    }

    async fn published(&self) -> Result<Option<u64>, StoreError> {
        self.inner.published().await
    }

    async fn set_published(&self, size: u64) -> Result<(), StoreError> {
        self.inner.set_published(size).await
    }

    async fn publisher_lease(&self) -> Result<Option<Box<dyn Lease>>, StoreError> {
        self.inner.publisher_lease().await
    }
}
