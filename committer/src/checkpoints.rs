//! The newest checkpoint as it may be shown: one that a log key of the ledger signed.

use std::sync::{Arc, Mutex, PoisonError};

use evidence::SignedCheckpoint;
use evidence::chain::{Keys, State};
use evidence::statement::LedgerId;
use keystore::Head;

use crate::parse::parse;
use crate::store::{Store, StoreError, StoredCheckpoint};

/// Reads the newest checkpoint, and verifies it where it is not the one that was verified last. Clones share that.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    store: Arc<dyn Store>,
    ledger: LedgerId,
    verified: Arc<Mutex<Option<StoredCheckpoint>>>,
}

impl Checkpoints {
    pub(crate) fn new(store: Arc<dyn Store>, ledger: LedgerId) -> Self {
        Self { store, ledger, verified: Arc::default() }
    }

    /// The newest checkpoint; `None` before the first.
    ///
    /// # Errors
    /// When the database does not answer. [`StoreErrorKind::Damaged`](crate::store::StoreErrorKind::Damaged) when what
    /// it has is no checkpoint of this ledger.
    pub(crate) async fn newest(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        let Some(stored) = self.store.checkpoint().await? else { return Ok(None) };
        if self.lock().as_ref() == Some(&stored) {
            return Ok(Some(stored));
        }
        let key_entries = self.store.key_entries().await?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let state = State::of_keys(&self.ledger, &key_entries)
            .map_err(|refusal| StoreError::damaged(format!("the stored key entries are none: {refusal}: run fsck")))?;
        if let Some(problem) = problem(state.keys(), stored.head, &stored.note) {
            return Err(StoreError::damaged(format!(
                "{problem}: it was changed, so it is not served. Run fsck. If nothing else is wrong, run `DELETE FROM \
                 checkpoints` in the database and start the committer again: it signs the head anew"
            )));
        }
        *self.lock() = Some(stored.clone());
        Ok(Some(stored))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<StoredCheckpoint>> {
        // What it holds is only ever replaced whole.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with a note as the checkpoint of `head`.
pub(crate) fn problem(keys: &Keys, head: Head, note: &[u8]) -> Option<String> {
    let size = head.size;
    let signed = match SignedCheckpoint::parse(note) {
        Ok(signed) => signed,
        Err(error) => return Some(format!("the checkpoint of size {size}: {error}")),
    };
    let checkpoint = signed.checkpoint();
    if (checkpoint.size, checkpoint.root) != (size, head.root) {
        return Some(format!("the checkpoint of size {size} is signed for {} {}", checkpoint.size, checkpoint.root));
    }
    keys.verify_checkpoint(&signed).err().map(|problem| format!("the checkpoint of size {size}: {problem}"))
}
