use committer_client::{Client, TilesError};
use evidence::tile::Tiles;
use evidence::tree::{consistency_nodes, verify_consistency};
use evidence::{Hash, Note, SignedCheckpoint, VerifierKey};
use keystore::Head;

/// Why the log's head cannot be cosigned now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It does not answer, or has nothing to show yet.
    #[error("{0}")]
    Unavailable(String),
    /// What it serves is not what it must be: not signed by the log key, of another log, or not a tree with the root
    /// that was signed. Nothing is known to be forked.
    #[error("{0}")]
    Untrusted(String),
    /// It signed a head that contradicts one that was cosigned.
    #[error("{0}")]
    Contradiction(String),
}

/// The log that a committer serves, read over C2SP tlog-tiles and trusted in nothing.
#[derive(Debug)]
pub(crate) struct Log {
    client: Client,
    key: VerifierKey,
}

impl Log {
    pub(crate) fn new(committer: &str, key: VerifierKey) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(committer)?, key })
    }

    /// The newest checkpoint, with the log's signature, which is valid, and no other.
    pub(crate) async fn checkpoint(&self) -> Result<SignedCheckpoint, Fault> {
        let bytes = self.client.checkpoint().await.map_err(|e| Fault::Unavailable(e.to_string()))?;
        let bytes = bytes.ok_or_else(|| Fault::Unavailable("the committer has signed no checkpoint yet".to_owned()))?;
        self.verified(&bytes).map_err(|problem| Fault::Untrusted(format!("the committer's checkpoint: {problem}")))
    }

    fn verified(&self, bytes: &[u8]) -> Result<SignedCheckpoint, String> {
        let signed = SignedCheckpoint::parse(bytes).map_err(|e| e.to_string())?;
        if signed.checkpoint().origin != self.key.name() {
            return Err(format!("it is of the log {:?}, not of {:?}", signed.checkpoint().origin, self.key.name()));
        }
        signed.verify(&self.key).map_err(|e| e.to_string())?;
        // Lines of others, which nobody here checked, are not passed on.
        let mut note = Note::unsigned(signed.note().text().to_owned()).map_err(|e| e.to_string())?;
        let is_log = |name: &str, id| name == self.key.name() && id == self.key.id();
        for signature in signed.note().signatures().filter(|s| is_log(s.name(), s.id())) {
            note.add_signature(signature.clone());
        }
        SignedCheckpoint::parse(&note.to_bytes()).map_err(|e| e.to_string())
    }

    /// The tiles that the proofs from older sizes to `head` are made of, shown to be of the tree that `head` names.
    pub(crate) async fn tiles(&self, head: Head, old_sizes: &[u64]) -> Result<Tiles, Fault> {
        let mut nodes = Vec::new();
        for old in old_sizes {
            let groups = consistency_nodes(*old, head.size).map_err(|e| Fault::Untrusted(e.to_string()))?;
            nodes.extend(groups.into_iter().flatten());
        }
        self.client.tiles(head.size, &head.root, nodes).await.map_err(|error| match error {
            TilesError::Contradiction { .. } => Fault::Untrusted(format!("the committer's tiles: {error}")),
            _ => Fault::Unavailable(error.to_string()),
        })
    }
}

/// The proof that the tree of `old` is the beginning of the tree of `new`, which `tiles` are of. It was verified.
pub(crate) fn prove(tiles: &Tiles, old: Head, new: Head) -> Result<Vec<Hash>, Fault> {
    let proof = tiles.consistency_proof(old.size).map_err(|e| Fault::Untrusted(e.to_string()))?;
    match verify_consistency(old.size, &old.root, new.size, &new.root, &proof) {
        Ok(()) => Ok(proof),
        // The tiles are of the new head, so the old one cannot be its beginning.
        Err(_) => Err(Fault::Contradiction(format!("the log forked: it signed {new}, which does not continue {old}"))),
    }
}
