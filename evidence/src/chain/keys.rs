use super::Refusal;
use crate::statement::{Action, Genesis, KeyStatement, LedgerId, Role, TopicPattern};
use crate::{Hash, NoteSignature, SignedCheckpoint, VerifierKey};

/// The keys of a ledger, granted and revoked.
///
/// Key ids and public keys are unique over a ledger's life. Names are too, except that all log keys have the origin as
/// their name. So name and id alone identify a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    granted: Vec<GrantedKey>,
    newest: Option<(u64, Hash)>,
    statement: Option<Hash>,
}

/// A granted key, with its revocation if there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedKey {
    /// The key.
    pub key: VerifierKey,
    /// What it may do.
    pub role: Role,
    /// The topics that an ingest key may seal.
    pub topics: Vec<TopicPattern>,
    /// The entry that granted it.
    pub granted: u64,
    /// Its revocation.
    pub revoked: Option<Revocation>,
}

/// The revocation of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The entry that revoked it.
    pub seq: u64,
    /// The seq from which the operator distrusts its statements.
    pub distrust_from: Option<u64>,
}

/// Why a checkpoint is not by a log key of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotByLog(String);

impl GrantedKey {
    /// Whether a signature by this key on a checkpoint of `size` entries still counts, given its revocation (SPEC.md
    /// section 13.5).
    pub fn counts_on_checkpoint(&self, size: u64) -> bool {
        self.revoked.is_none_or(|end| size <= end.distrust_from.unwrap_or(end.seq))
    }
}

impl Keys {
    /// All keys ever granted, in the order of their grants.
    pub fn granted(&self) -> &[GrantedKey] {
        &self.granted
    }

    /// The keys of a role that are granted and not revoked, in the order of their grants.
    pub fn in_force(&self, role: Role) -> impl Iterator<Item = &GrantedKey> {
        self.granted.iter().filter(move |granted| granted.role == role && granted.revoked.is_none())
    }

    /// Verifies that a log key of the ledger that counts at its size signed a checkpoint. Every line by a log key,
    /// revoked or not, must be valid.
    ///
    /// # Errors
    /// When no such key did, with the reason.
    pub fn verify_checkpoint(&self, signed: &SignedCheckpoint) -> Result<&GrantedKey, NotByLog> {
        let log_keys = self.granted.iter().filter(|granted| granted.role == Role::Log);
        let lines = log_keys.filter(|granted| signed.note().has_signature_by(&granted.key)).collect::<Vec<_>>();
        for granted in &lines {
            signed.verify(&granted.key).map_err(|error| NotByLog(error.to_string()))?;
        }
        let size = signed.checkpoint().size;
        lines.iter().find(|granted| granted.counts_on_checkpoint(size)).copied().ok_or_else(|| match lines.first() {
            None => NotByLog("it is signed by no log key of the ledger".to_owned()),
            Some(GrantedKey { key, .. }) => {
                NotByLog(format!("its log key {key} was revoked, and no longer counts on a checkpoint of size {size}"))
            }
        })
    }

    /// Seq and leaf hash of the newest entry that changed keys.
    pub fn newest(&self) -> Option<(u64, Hash)> {
        self.newest
    }

    /// SHA-256 of the text of the newest key statement, or of the genesis: the `prev` of the next key statement.
    pub fn statement(&self) -> Option<Hash> {
        self.statement
    }

    /// The key that a signature line names, revoked or not.
    pub fn by_signature(&self, signature: &NoteSignature) -> Option<&GrantedKey> {
        self.granted.iter().find(|g| g.key.name() == signature.name() && g.key.id() == signature.id())
    }

    /// Whether the public key was ever granted in this ledger, under any name or role.
    pub fn knows_public_key(&self, key: &VerifierKey) -> bool {
        self.granted.iter().any(|g| g.key.public_key() == key.public_key())
    }

    /// Checks a key statement against the keys granted so far. Signatures are checked elsewhere.
    pub(super) fn check(&self, statement: &KeyStatement, seq: u64, ledger: &LedgerId) -> Result<(), Refusal> {
        let expected = self.statement.unwrap_or(ledger.genesis);
        if statement.prev != expected {
            return Err(Refusal::WrongKeyPrev { expected, found: statement.prev });
        }
        let bad =
            |problem: &str| Refusal::BadKey { name: statement.key.name().to_owned(), problem: problem.to_owned() };
        match statement.action {
            Action::Grant if statement.role == Role::Log && statement.key.name() != ledger.origin => {
                Err(bad("a log key is named like the origin"))
            }
            Action::Grant if self.conflicts(&statement.key, statement.role) => {
                Err(bad("its name, key id or public key was granted before"))
            }
            Action::Grant => Ok(()),
            Action::Revoke => {
                let granted =
                    self.granted.iter().find(|g| g.key == statement.key).ok_or_else(|| bad("was not granted"))?;
                if granted.revoked.is_some() {
                    return Err(bad("is revoked already"));
                }
                if granted.role != statement.role || granted.topics != statement.topics {
                    return Err(bad("was granted with another role or other topics"));
                }
                if statement.distrust_from.is_some_and(|from| from > seq) {
                    return Err(bad("`distrust-from` lies in the future"));
                }
                if granted.role == Role::Operator && self.in_force(Role::Operator).count() == 1 {
                    return Err(bad("is the last operator key"));
                }
                Ok(())
            }
        }
    }

    pub(super) fn begin(&mut self, genesis: &Genesis, leaf: Hash, statement: Hash) {
        for (key, role) in [(&genesis.operator, Role::Operator), (&genesis.log, Role::Log)] {
            self.granted.push(GrantedKey { key: key.clone(), role, topics: Vec::new(), granted: 0, revoked: None });
        }
        self.newest = Some((0, leaf));
        self.statement = Some(statement);
    }

    /// Takes over a key statement that was checked.
    pub(super) fn change(&mut self, statement: &KeyStatement, seq: u64, leaf: Hash, hash: Hash) {
        let KeyStatement { action, role, key, topics, distrust_from, .. } = statement;
        match action {
            Action::Grant => self.granted.push(GrantedKey {
                key: key.clone(),
                role: *role,
                topics: topics.clone(),
                granted: seq,
                revoked: None,
            }),
            Action::Revoke => {
                for granted in self.granted.iter_mut().filter(|g| g.key == *key) {
                    granted.revoked = Some(Revocation { seq, distrust_from: *distrust_from });
                }
            }
        }
        self.newest = Some((seq, leaf));
        self.statement = Some(hash);
    }

    fn conflicts(&self, key: &VerifierKey, role: Role) -> bool {
        self.granted.iter().any(|g| {
            let name = g.key.name() == key.name() && !(role == Role::Log && g.role == Role::Log);
            name || g.key.id() == key.id() || g.key.public_key() == key.public_key()
        })
    }
}
