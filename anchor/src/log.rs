use committer_client::{Client, TilesError};
use evidence::chain::{Keys, State};
use evidence::incident::Shown;
use evidence::statement::LedgerId;
use evidence::tile::Tiles;
use evidence::tree::{consistency_nodes, decompose, verify_consistency};
use evidence::{Entry, Hash, Head, Note, SignedCheckpoint};

use crate::anchor::head;
use crate::decide::{LogIncident, not_below};

/// Why the log's head cannot be cosigned now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// It does not answer, or has no checkpoint yet.
    #[error("{0}")]
    Unavailable(String),
    /// It serves something invalid: a checkpoint of another log or without the signature of a log key in force, or tiles
    /// of another tree. That does not prove a fork.
    #[error("{0}")]
    Untrusted(String),
    /// It signed a head that contradicts one that it signed before.
    #[error(transparent)]
    Incident(#[from] LogIncident),
}

/// The log that a committer serves, read over C2SP tlog-tiles. Nothing that it serves is trusted.
///
/// Its key entries say which keys sign for it, and are verified from the genesis on. So the anchor follows when a log key
/// is replaced, without a list of its own that somebody would have to change at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    client: Client,
    ledger: LedgerId,
}

impl Log {
    pub(crate) fn new(committer: &str, ledger: LedgerId) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(committer)?, ledger })
    }

    /// Where it is, without a password.
    pub(crate) fn place(&self) -> String {
        self.client.place()
    }

    /// The ledger that it is the log of.
    pub(crate) const fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The newest checkpoint, with only the valid signature of a log key in force.
    pub(crate) async fn checkpoint(&self) -> Result<SignedCheckpoint, LogError> {
        let bytes = self.client.checkpoint().await.map_err(|e| LogError::Unavailable(e.to_string()))?;
        let bytes =
            bytes.ok_or_else(|| LogError::Unavailable("the committer has signed no checkpoint yet".to_owned()))?;
        // Read after the checkpoint, so that they include the grant of the key that signed it.
        let keys = self.keys().await?;
        self.verified(&bytes, &keys)
            .map_err(|problem| LogError::Untrusted(format!("the committer's checkpoint: {problem}")))
    }

    /// The ledger's keys.
    pub(crate) async fn keys(&self) -> Result<Keys, LogError> {
        let texts = self.client.keys().await.map_err(|e| LogError::Unavailable(e.to_string()))?.entries;
        let untrusted = |problem: String| LogError::Untrusted(format!("the committer's key entries: {problem}"));
        let entries = texts.iter().map(|text| Entry::parse(text.as_bytes())).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| untrusted(error.to_string()))?;
        let state = State::of_keys(&self.ledger, &entries).map_err(|refusal| untrusted(refusal.to_string()))?;
        Ok(state.keys().clone())
    }

    fn verified(&self, bytes: &[u8], keys: &Keys) -> Result<SignedCheckpoint, String> {
        let signed = SignedCheckpoint::parse(bytes).map_err(|e| e.to_string())?;
        let (found, origin) = (&signed.checkpoint().origin, &self.ledger.origin);
        if found != origin {
            return Err(format!("it is of the log {found:?}, not of {origin:?}"));
        }
        let signer = keys.verify_checkpoint(&signed).map_err(|e| e.to_string())?;
        // Other signature lines are unverified, and not passed on.
        let mut note = Note::unsigned(signed.note().text().to_owned()).map_err(|e| e.to_string())?;
        let is_signer = |name: &str, id| name == signer.key.name() && id == signer.key.id();
        for signature in signed.note().signatures().filter(|s| is_signer(s.name(), s.id())) {
            note.add_signature(signature.clone());
        }
        SignedCheckpoint::parse(&note.to_bytes()).map_err(|e| e.to_string())
    }

    /// The tiles for the proofs from older sizes to `head`, verified against its root.
    pub(crate) async fn tiles(&self, head: Head, old_sizes: &[u64]) -> Result<Tiles, LogError> {
        let mut nodes = Vec::new();
        for old in old_sizes {
            let groups = consistency_nodes(*old, head.size).map_err(|e| LogError::Untrusted(e.to_string()))?;
            nodes.extend(groups.into_iter().flatten());
            // If the proof fails, the root that the tree has at that size proves the fork.
            nodes.extend(decompose(0..*old));
        }
        self.client.tiles(head.size, &head.root, nodes).await.map_err(|error| match error {
            TilesError::Mismatch { .. } => LogError::Untrusted(format!("the committer's tiles: {error}")),
            _ => LogError::Unavailable(error.to_string()),
        })
    }

    /// Proves that a head continues one that is known.
    ///
    /// # Errors
    /// [`LogError::Incident`] when it does not.
    pub(crate) async fn compare(&self, known: Head, offered: &SignedCheckpoint) -> Result<(), LogError> {
        let offered = head(offered);
        not_below(known, offered)?;
        let tiles = self.tiles(offered, &[known.size]).await?;
        prove(&tiles, known, offered).map(drop)
    }
}

/// Makes and verifies the proof that the tree of `new` continues the tree of `old`. `tiles` are of the tree of `new`.
pub(crate) fn prove(tiles: &Tiles, old: Head, new: Head) -> Result<Vec<Hash>, LogError> {
    let proof = tiles.consistency_proof(old.size).map_err(|e| LogError::Untrusted(e.to_string()))?;
    if verify_consistency(old.size, &old.root, new.size, &new.root, &proof).is_ok() {
        return Ok(proof);
    }
    // The tiles were verified against the new head, so the old one is not its beginning.
    let root = tiles.compact_range(old.size).map_err(|e| LogError::Untrusted(e.to_string()))?.root();
    Err(LogIncident::NotContinued { known: old, offered: new, shown: Box::new(Shown { root, path: proof }) }.into())
}
