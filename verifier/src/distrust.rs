//! The keys that the operator distrusts, and from which entry on.

use std::collections::HashMap;

use evidence::chain::Keys;
use evidence::statement::{Action, Statement};
use evidence::{Entry, VerifierKey};

type PublicKey = [u8; 32];

/// For each distrusted key, from which seq on, and why.
///
/// A revocation may distrust earlier entries, so distrust is collected before the entries are applied. The entries are not
/// verified then; [`Distrust::agrees_with`] compares the result with the keys of the chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Distrust {
    keys: HashMap<PublicKey, (u64, String)>,
}

/// Collects distrust from key entries, without keeping the entries.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    distrust: Distrust,
    grants: Vec<Granting>,
}

/// An entry that grants keys: the genesis, which always holds, or a key statement.
#[derive(Debug)]
struct Granting {
    seq: u64,
    keys: Vec<(Signer, PublicKey)>,
    /// The signers of a key statement, without the granted key itself.
    signers: Option<Vec<Signer>>,
}

/// Name and id on a signature line.
type Signer = (String, [u8; 4]);

impl Collector {
    /// Takes the next entry. Only key entries count.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let named = |key: &VerifierKey| ((key.name().to_owned(), key.id()), *key.public_key());
        let seq = entry.seq;
        match entry.statement.statement() {
            Statement::Genesis(genesis) => {
                let keys = [&genesis.operator, &genesis.log].map(named).into();
                self.grants.push(Granting { seq, keys, signers: None });
            }
            Statement::Key(statement) => {
                let key = &statement.key;
                if let Some(from) = statement.distrust_from {
                    let reason =
                        format!("{} was revoked in entry {seq} and distrusted from entry {from} on", key.name());
                    self.distrust.keys.insert(*key.public_key(), (from, reason));
                }
                if statement.action == Action::Grant {
                    let signers = entry.statement.note().signatures();
                    let signers = signers.map(|s| (s.name().to_owned(), s.id()));
                    let signers = signers.filter(|(name, id)| (name.as_str(), *id) != (key.name(), key.id())).collect();
                    self.grants.push(Granting { seq, keys: vec![named(key)], signers: Some(signers) });
                }
            }
            Statement::Summary(_) | Statement::Gap(_) | Statement::Epoch(_) | Statement::Heads(_) => {}
        }
    }

    /// Passes distrust on: a key that only distrusted keys granted is distrusted too.
    pub(crate) fn finish(self) -> Distrust {
        let Self { mut distrust, grants } = self;
        let mut names: HashMap<Signer, PublicKey> = HashMap::new();
        for Granting { seq, keys, signers } in grants {
            for ((name, id), key) in keys {
                let distrusted =
                    |signer: &Signer| names.get(signer).is_some_and(|signer| distrust.since(signer, seq).is_some());
                if signers.as_ref().is_some_and(|signers| signers.iter().all(distrusted)) {
                    let reason = format!("{name} was granted in entry {seq} by a distrusted key");
                    distrust.keys.insert(key, (0, reason));
                }
                names.insert((name, id), key);
            }
        }
        distrust
    }
}

impl Distrust {
    /// From all key entries, in order.
    pub(crate) fn collect(key_entries: &[Entry]) -> Self {
        let mut collector = Collector::default();
        key_entries.iter().for_each(|entry| collector.add(entry));
        collector.finish()
    }

    fn since(&self, key: &PublicKey, seq: u64) -> Option<&str> {
        self.keys.get(key).filter(|(from, _)| seq >= *from).map(|(_, reason)| reason.as_str())
    }

    /// The reason if all signers of an entry are distrusted. `keys` are those of the chain.
    pub(crate) fn of(&self, entry: &Entry, keys: &Keys) -> Option<&str> {
        if self.keys.is_empty() {
            return None;
        }
        let reason = |s| keys.by_signature(s).and_then(|granted| self.since(granted.key.public_key(), entry.seq));
        let mut reasons = entry.statement.note().signatures().map(reason);
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Whether the chain's revocations were all collected.
    pub(crate) fn agrees_with(&self, keys: &Keys) -> bool {
        keys.granted().iter().all(|granted| {
            let from = granted.revoked.and_then(|revoked| revoked.distrust_from);
            let collected = self.keys.get(granted.key.public_key()).map(|(collected, _)| *collected);
            from.is_none_or(|from| collected.is_some_and(|collected| collected <= from))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use evidence::chain::{Role, State};
    use evidence::sha256;
    use evidence::statement::{Genesis, KeyStatement, SignedStatement};
    use evidence::{Algorithm, SigningKey};

    use super::*;

    /// Genesis, grant of a key, its revocation in entry 2, and the state after them.
    pub(crate) fn revoked(distrust_from: Option<u64>) -> (Vec<Entry>, State) {
        let key = |name, seed| SigningKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).expect("a valid name");
        let (operator, log, ingest) = (key("operator", 1), key("example.com/audit", 2), key("ingest-a", 3));
        let genesis = Genesis {
            origin: "example.com/audit".into(),
            nonce: sha256(b"nonce"),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        };
        let genesis = SignedStatement::sign(Statement::Genesis(genesis), &[&operator, &log]);
        let mut state = State::new("example.com/audit", genesis.hash());
        let mut entries = vec![state.draft(genesis, 0)];
        state.apply(&entries[0]).expect("a genesis");
        for (action, distrust_from) in [(Action::Grant, None), (Action::Revoke, distrust_from)] {
            let statement = KeyStatement {
                ledger: state.ledger().clone(),
                action,
                role: Role::Ingest,
                key: ingest.verifier_key().clone(),
                topics: vec!["*".parse().expect("a pattern")],
                distrust_from,
                prev: state.keys().statement().expect("after the genesis"),
            };
            let entry = state.draft(SignedStatement::sign(Statement::Key(statement), &[&operator]), 0);
            state.apply(&entry).expect("a valid statement");
            entries.push(entry);
        }
        (entries, state)
    }

    #[test]
    fn uncollected_revocation_is_noticed() {
        let (entries, state) = revoked(Some(1));
        let agrees = |key_entries: &[Entry]| Distrust::collect(key_entries).agrees_with(state.keys());
        assert!(agrees(&entries));
        assert!(!agrees(&entries[..2]));
        // Too much distrust hides nothing; too little would.
        assert!(agrees(&revoked(Some(0)).0));
        assert!(!agrees(&revoked(Some(2)).0));
        assert!(!agrees(&revoked(None).0));
        assert!(Distrust::default().agrees_with(revoked(None).1.keys()));
    }
}
