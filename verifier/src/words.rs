//! The signatures on a checkpoint, judged by the auditor's policy.

use evidence::chain::{Keys, Role};
use evidence::policy::{Policy, PolicyError};
use evidence::{NoteError, SignedCheckpoint, VerifierKey};

use crate::code::Code;

/// The signatures on a checkpoint, under the auditor's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The log key that signed.
    pub log: VerifierKey,
    /// The witnesses of the policy that cosigned.
    pub witnesses: Vec<Word>,
    /// Whether the policy's quorum signed.
    pub satisfied: bool,
    /// The time by which the checkpoint existed, in seconds since 1970, as a quorum says. `None` without a quorum.
    pub existed_by_s: Option<u64>,
    /// A time at which it was the newest checkpoint, in seconds since 1970, as a quorum says. `None` without a quorum.
    pub newest_at_s: Option<u64>,
    /// Whether the ledger revoked the log key before it had this size.
    pub log_key_revoked: bool,
}

/// One witness's cosignature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its key.
    pub key: VerifierKey,
    /// The first time that it cosigned, in seconds since 1970, by its own clock.
    pub time_s: u64,
    /// Whether its key was never granted in the ledger. The operator may still hold such a key, without saying so.
    /// `None` if not all key entries were read.
    pub independent: Option<bool>,
    /// Whether the policy's quorum counts it.
    pub counts: bool,
}

impl Words {
    /// Whether a witness outside the ledger says since when the checkpoint exists.
    pub fn is_independent(&self) -> bool {
        self.by_then().any(|word| word.independent == Some(true))
    }

    /// The witnesses that count for the quorum and cosigned by [`Words::existed_by_s`].
    pub fn by_then(&self) -> impl Iterator<Item = &Word> {
        self.witnesses.iter().filter(|word| word.counts && self.existed_by_s.is_some_and(|by| word.time_s <= by))
    }
}

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointRefusal {
    #[error("it is a checkpoint of {found}, not of {expected}")]
    OtherLog { expected: String, found: String },
    #[error("no log key of the trust file signed it")]
    NotByLog,
    #[error(transparent)]
    Signature(#[from] NoteError),
}

impl CheckpointRefusal {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::OtherLog { .. } => Code::OtherLog,
            Self::NotByLog => Code::NotByLog,
            Self::Signature(_) => Code::BadSignature,
        }
    }
}

/// Judges checkpoints by the auditor's policy and the keys of the chain.
pub(crate) struct Judge<'a> {
    pub(crate) origin: &'a str,
    pub(crate) policy: &'a Policy,
    /// The keys, up to where the chain could be followed.
    pub(crate) keys: &'a Keys,
    /// Whether these are all keys up to the bundle's checkpoint.
    pub(crate) all_keys: bool,
}

impl Judge<'_> {
    /// Verifies the signatures of all known keys on a checkpoint. Keys that the ledger had revoked by then do not count.
    pub(crate) fn judge(&self, signed: &SignedCheckpoint) -> Result<Words, CheckpointRefusal> {
        let checkpoint = signed.checkpoint();
        if checkpoint.origin != self.origin {
            let (expected, found) = (self.origin.to_owned(), checkpoint.origin.clone());
            return Err(CheckpointRefusal::OtherLog { expected, found });
        }
        self.verify_granted(signed)?;
        let counted = self.without_revoked_witnesses(signed);
        let verdict = match self.policy.check(&counted) {
            Ok(verdict) => verdict,
            Err(PolicyError::Signature(error)) => return Err(error.into()),
            Err(PolicyError::NotByLog { .. }) => return Err(CheckpointRefusal::NotByLog),
        };
        let log_key_revoked = self.is_revoked(&verdict.log, checkpoint.size);
        let word = |(key, time_s): (VerifierKey, u64)| {
            let known = self.keys.knows_public_key(&key);
            let independent = (known || self.all_keys).then_some(!known);
            let counts = self.policy.counts(&key);
            Word { key, time_s, independent, counts }
        };
        Ok(Words {
            log: verdict.log,
            witnesses: verdict.witnesses.into_iter().map(word).collect(),
            satisfied: verdict.satisfied && !log_key_revoked,
            existed_by_s: verdict.existed_by_s.filter(|_| !log_key_revoked),
            newest_at_s: verdict.newest_at_s.filter(|_| !log_key_revoked),
            log_key_revoked,
        })
    }

    /// Requires that every line by a key of the ledger verifies, whether the policy knows the key or not.
    fn verify_granted(&self, signed: &SignedCheckpoint) -> Result<(), NoteError> {
        for granted in self.keys.granted().iter().filter(|g| matches!(g.role, Role::Log | Role::Anchor)) {
            match signed.note().verify(&granted.key) {
                Ok(()) | Err(NoteError::Absent(_)) => {}
                Err(wrong) => return Err(wrong),
            }
        }
        Ok(())
    }

    fn without_revoked_witnesses(&self, signed: &SignedCheckpoint) -> SignedCheckpoint {
        let revoked = |key: &&VerifierKey| self.is_revoked(key, signed.checkpoint().size);
        let keys: Vec<_> = self.policy.witnesses().iter().map(|witness| &witness.key).filter(revoked).collect();
        if keys.is_empty() {
            return signed.clone();
        }
        let mut note = signed.note().clone();
        keys.into_iter().for_each(|key| note.remove_signatures_by(key));
        SignedCheckpoint::parse(&note.to_bytes()).unwrap_or_else(|_| signed.clone())
    }

    /// Whether the ledger revoked the key in one of its first `size` entries, or distrusts it from one of them on.
    fn is_revoked(&self, key: &VerifierKey, size: u64) -> bool {
        let granted = self.keys.granted().iter().find(|granted| granted.key.public_key() == key.public_key());
        granted.is_some_and(|granted| !granted.counts_on_checkpoint(size))
    }
}
