use async_trait::async_trait;

use crate::store::{Append, StoreErrorKind, StoredCheckpoint};

/// What stands between a client and the database: it lets every call through, late or not at all.
#[async_trait]
pub trait Link: Send + Sync {
    /// On the way there.
    async fn request(&self, call: Call<'_>) -> Result<(), Cut>;

    /// On the way back: the call was carried out; an error is all that the client gets of it.
    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind>;
}

/// A call of a store.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// `Store::begin`.
    Begin,
    /// `Transaction::commit`.
    Commit(&'a Append),
    /// `Store::put_checkpoint`.
    PutCheckpoint(&'a StoredCheckpoint),
    /// `Store::set_published`.
    SetPublished(u64),
    /// `Store::publisher_lease`.
    Lease,
    /// Any other, which changes nothing, by its name.
    Read(&'static str),
}

/// How a call came to its end before it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It never will be; what the client is told.
    Now(StoreErrorKind),
    /// Of a commit: the server has it, and the client is told that the connection broke.
    /// [`settle_orphans`](super::MemoryDatabase::settle_orphans) says what comes of it.
    Later,
}

impl Cut {
    pub(super) fn kind(self) -> StoreErrorKind {
        match self {
            Self::Now(kind) => kind,
            Self::Later => StoreErrorKind::Unavailable,
        }
    }
}

/// A link that never breaks.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

#[async_trait]
impl Link for Direct {
    async fn request(&self, _: Call<'_>) -> Result<(), Cut> {
        Ok(())
    }

    async fn reply(&self, _: Call<'_>) -> Result<(), StoreErrorKind> {
        Ok(())
    }
}
