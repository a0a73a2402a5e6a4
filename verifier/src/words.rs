//! Whose word there is on a checkpoint.

use evidence::chain::{Keys, Role};
use evidence::policy::{Policy, PolicyError};
use evidence::{NoteError, SignedCheckpoint, VerifierKey};

/// What the signatures on a checkpoint are worth under the auditor's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The log key that signed.
    pub log: VerifierKey,
    /// The witnesses of the policy that cosigned.
    pub witnesses: Vec<Word>,
    /// Whether the policy is content.
    pub satisfied: bool,
    /// The checkpoint existed no later than this, in seconds since 1970, says a quorum. `None` without a quorum.
    pub existed_by_s: Option<u64>,
    /// It was the newest checkpoint at this time, in seconds since 1970, says a quorum. `None` without a quorum.
    pub newest_at_s: Option<u64>,
    /// The ledger revoked the log key before it had this size.
    pub log_key_revoked: bool,
}

/// One witness's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its key.
    pub key: VerifierKey,
    /// When it cosigned, in seconds since 1970, by its own clock; the first time, where it did so several times.
    pub time_s: u64,
    /// Whether its key was never granted in the ledger: the ledger's keeper may still hold it, but does not say so.
    /// `None` where not all key entries were read.
    pub independent: Option<bool>,
    /// Whether the policy's quorum counts it.
    pub counts: bool,
}

impl Words {
    /// Whether one of those who say since when it exists is outside of the ledger.
    pub fn is_independent(&self) -> bool {
        self.by_then().any(|word| word.independent == Some(true))
    }

    /// The witnesses who had cosigned by the time that the quorum vouches for, and whom it counts.
    pub fn by_then(&self) -> impl Iterator<Item = &Word> {
        self.witnesses.iter().filter(|word| word.counts && self.existed_by_s.is_some_and(|by| word.time_s <= by))
    }
}

/// Why a checkpoint counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Worthless {
    #[error("it is a checkpoint of {found}, not of {expected}")]
    OtherLog { expected: String, found: String },
    #[error("no log key of the trust file signed it")]
    NotByLog,
    #[error(transparent)]
    Signature(#[from] NoteError),
}

impl Worthless {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::OtherLog { .. } => "other-log",
            Self::NotByLog => "not-by-log",
            Self::Signature(_) => "bad-signature",
        }
    }
}

/// Judges checkpoints by the auditor's policy and by what the chain says of keys.
pub(crate) struct Judge<'a> {
    pub(crate) origin: &'a str,
    pub(crate) policy: &'a Policy,
    /// The keys as far as the chain could be followed.
    pub(crate) keys: &'a Keys,
    /// Whether those are all, up to the bundle's checkpoint.
    pub(crate) all_keys: bool,
}

impl Judge<'_> {
    /// Verifies the signatures of all known keys on a checkpoint. The words of keys that the ledger had revoked by then
    /// do not count.
    pub(crate) fn judge(&self, signed: &SignedCheckpoint) -> Result<Words, Worthless> {
        let checkpoint = signed.checkpoint();
        if checkpoint.origin != self.origin {
            let (expected, found) = (self.origin.to_owned(), checkpoint.origin.clone());
            return Err(Worthless::OtherLog { expected, found });
        }
        self.verify_granted(signed)?;
        let counted = self.without_revoked_witnesses(signed);
        let verdict = match self.policy.check(&counted) {
            Ok(verdict) => verdict,
            Err(PolicyError::Signature(error)) => return Err(error.into()),
            Err(PolicyError::NotByLog { .. }) => return Err(Worthless::NotByLog),
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

    /// Every line by a key of the ledger must verify, whether the policy knows the key or not.
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

    /// Whether the ledger revoked the key in one of its first `size` entries, or says that it was not to be trusted by
    /// then.
    fn is_revoked(&self, key: &VerifierKey, size: u64) -> bool {
        let granted = self.keys.granted().iter().find(|granted| granted.key.public_key() == key.public_key());
        granted.is_some_and(|granted| !granted.counts_on_checkpoint(size))
    }
}
