//! The newest checkpoint that a log key of the ledger signed.

use std::sync::{Arc, Mutex, PoisonError};

use evidence::chain::{Keys, Role, State};
use evidence::statement::LedgerId;
use evidence::{Head, SignedCheckpoint};

use crate::parse::parse;
use crate::store::{CALL_TIME_MAX, Store, StoreError, StoredCheckpoint, deletion};

/// Reads the newest checkpoint, and verifies it unless it is the last verified one. Clones share that memory.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    store: Arc<dyn Store>,
    ledger: LedgerId,
    verified: Arc<Mutex<Option<StoredCheckpoint>>>,
    /// Held while verifying, so that concurrent readers wait for the result.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why a note does not count as the checkpoint of a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// No log key of the ledger ever signed it for this head.
    #[error("{0}")]
    Changed(String),
    /// A log key signed it, but was revoked since, so that the signature no longer counts.
    #[error("{0}")]
    Revoked(String),
}

impl Checkpoints {
    pub(crate) fn new(store: Arc<dyn Store>, ledger: LedgerId) -> Self {
        Self { store, ledger, verified: Arc::default(), turn: Arc::default() }
    }

    /// The newest checkpoint. `None` before the first, and if its log key was revoked so that it no longer counts.
    ///
    /// # Errors
    /// If the database does not answer. [`StoreErrorKind::Corrupt`](crate::store::StoreErrorKind::Corrupt) if it holds
    /// no checkpoint of this ledger.
    pub(crate) async fn newest(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        let Some(stored) = self.store.checkpoint().await? else { return Ok(None) };
        if self.is_verified(&stored) {
            return Ok(Some(stored));
        }
        // Bounded, because the verifying task may wait for the database.
        let turn = tokio::time::timeout(CALL_TIME_MAX, self.turn.lock()).await;
        let _turn = turn.map_err(|_| StoreError::no_answer())?;
        if self.is_verified(&stored) {
            return Ok(Some(stored));
        }
        let key_entries = self.store.key_entries().await?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let state = State::of_keys(&self.ledger, &key_entries).map_err(|refusal| {
            StoreError::corrupt(format!("the stored key entries are invalid: {refusal}: run fsck"))
        })?;
        match verify(state.keys(), stored.head, &stored.note) {
            Ok(()) => {}
            Err(CheckpointError::Revoked(_)) => return Ok(None),
            Err(CheckpointError::Changed(problem)) => {
                return Err(StoreError::corrupt(format!(
                    "{problem}: it was changed, so it is not served. Run fsck. If nothing else is wrong, run `{}` in the \
                     database and restart the committer: it signs the head again",
                    deletion("checkpoints", &self.ledger)
                )));
            }
        }
        *self.lock() = Some(stored.clone());
        Ok(Some(stored))
    }

    fn is_verified(&self, stored: &StoredCheckpoint) -> bool {
        self.lock().as_ref() == Some(stored)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<StoredCheckpoint>> {
        // The value is only ever replaced whole, so a panic cannot leave it half changed.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies a note as the checkpoint of `head`.
pub(crate) fn verify(keys: &Keys, head: Head, note: &[u8]) -> Result<(), CheckpointError> {
    let size = head.size;
    let of_size = |problem: &dyn std::fmt::Display| format!("the checkpoint of size {size}: {problem}");
    let signed = SignedCheckpoint::parse(note).map_err(|error| CheckpointError::Changed(of_size(&error)))?;
    let checkpoint = signed.checkpoint();
    if (checkpoint.size, checkpoint.root) != (size, head.root) {
        let problem = format!("the checkpoint of size {size} is signed for {} {}", checkpoint.size, checkpoint.root);
        return Err(CheckpointError::Changed(problem));
    }
    let Err(problem) = keys.verify_checkpoint(&signed) else { return Ok(()) };
    let log_keys = keys.granted().iter().filter(|granted| granted.role == Role::Log);
    let mut lines = log_keys.filter(|granted| signed.note().has_signature_by(&granted.key)).peekable();
    let is_by_log = lines.peek().is_some() && lines.all(|granted| signed.verify(&granted.key).is_ok());
    let error = if is_by_log { CheckpointError::Revoked } else { CheckpointError::Changed };
    Err(error(of_size(&problem)))
}
