use async_trait::async_trait;

use crate::store::{Append, StoreErrorKind, StoredCheckpoint};

/// The connection between a client and the database. It may delay or drop each call.
#[async_trait]
pub trait Link: Send + Sync {
    /// On the way to the database.
    async fn request(&self, call: Call<'_>) -> Result<(), Cut>;

    /// On the way back. The call was carried out, but on an error the client gets only that.
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
    /// Any other call by its name; it changes nothing.
    Read(&'static str),
}

/// How a call failed before it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It never is. The client gets this error.
    Now(StoreErrorKind),
    /// For a commit: the server has it, but the client gets a broken connection.
    /// [`settle_orphans`](super::MemoryDatabase::settle_orphans) decides whether it is carried out.
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
