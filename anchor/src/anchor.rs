use anyhow::ensure;
use evidence::chain::{Keys, Role};
use evidence::witness::AddCheckpoint;
use evidence::{Hash, Head, SignedCheckpoint, VerifierKey, sha256};

use crate::decide::Anchored;

/// Name of the file with the cosigned checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Name of the file with the proof from the anchor before, in tlog-witness request form.
pub(crate) const CONSISTENCY: &str = "consistency";

/// The folder of a log in the branch.
pub(crate) fn folder(origin: &str) -> String {
    let name: String = sha256(origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("logs/{name}")
}

/// What one commit holds of a log: a cosigned checkpoint, and the proof that it continues the anchor before it.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    request: AddCheckpoint,
    time: Option<u64>,
}

impl Anchor {
    /// `old` is the size of the anchor before this one, 0 for the first. `checkpoint` has all its signatures. `key` is
    /// our own cosigning key.
    pub(crate) fn new(
        old: u64,
        proof: Vec<Hash>,
        checkpoint: SignedCheckpoint,
        origin: &str,
        key: &VerifierKey,
    ) -> anyhow::Result<Self> {
        Self::verified(AddCheckpoint { old_size: old, proof, checkpoint }, origin, key)
    }

    /// Parses the file `consistency`; the other file follows from it. The log's signature is not verified again: that
    /// needs the committer, and was done when the anchor was made or adopted.
    pub(crate) fn parse(consistency: &[u8], origin: &str, key: &VerifierKey) -> anyhow::Result<Self> {
        Self::verified(AddCheckpoint::parse(consistency)?, origin, key)
    }

    fn verified(request: AddCheckpoint, origin: &str, key: &VerifierKey) -> anyhow::Result<Self> {
        let found = &request.checkpoint.checkpoint().origin;
        ensure!(found == origin, "it is of the log {found:?}, not of {origin:?}");
        let note = request.checkpoint.note();
        // An anchor from before a change of the anchor key has no cosignature by this key.
        let time = if note.has_signature_by(key) { Some(note.verify_cosignature(key)?) } else { None };
        Ok(Self { request, time })
    }

    pub(crate) fn head(&self) -> Head {
        head(&self.request.checkpoint)
    }

    /// The checkpoint with all signatures.
    pub(crate) const fn signed(&self) -> &SignedCheckpoint {
        &self.request.checkpoint
    }

    /// Whether a log key of the ledger signed it. A key that was revoked since counts too: it could sign then.
    pub(crate) fn is_by_log(&self, keys: &Keys) -> bool {
        let mut log_keys = keys.granted().iter().filter(|granted| granted.role == Role::Log);
        log_keys.any(|granted| self.request.checkpoint.verify(&granted.key).is_ok())
    }

    pub(crate) fn anchored(&self) -> Anchored {
        Anchored { head: self.head(), time: self.time }
    }

    /// The file `checkpoint`.
    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        self.request.checkpoint.to_bytes()
    }

    /// The file `consistency`.
    pub(crate) fn consistency(&self) -> Vec<u8> {
        self.request.to_bytes()
    }

    /// The commit's message.
    pub(crate) fn message(&self) -> String {
        let checkpoint = self.request.checkpoint.checkpoint();
        format!("{} {}\n\nroot {}\n", checkpoint.origin, checkpoint.size, checkpoint.root)
    }
}

/// The head that a checkpoint names.
pub(crate) fn head(checkpoint: &SignedCheckpoint) -> Head {
    let checkpoint = checkpoint.checkpoint();
    Head { size: checkpoint.size, root: checkpoint.root }
}
