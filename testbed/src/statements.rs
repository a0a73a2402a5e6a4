//! Keys and signed statements of a ledger, for tests that need no running service.

use evidence::statement::{
    Action, Epoch, Gap, Genesis, KeyStatement, LastEvent, LedgerId, Reason, Role, Summary, TopicPattern,
};
use evidence::{Algorithm, Hash, Partition, SignedStatement, SigningKey, Statement, StreamId, sha256};

/// The origin of every [`TestLedger`].
pub const ORIGIN: &str = "example.com/audit";

/// The keys of a ledger and its first statements.
pub struct TestLedger {
    /// Signs key statements and epochs.
    pub operator: SigningKey,
    /// Signs checkpoints.
    pub log: SigningKey,
    /// Signs summaries and gaps.
    pub ingest: SigningKey,
    /// The first statement.
    pub genesis: SignedStatement,
    /// Grants `ingest` all topics that begin with `t`.
    pub grants: Vec<SignedStatement>,
}

/// A key derived from `seed`, the same in every run.
pub fn key(name: &str, algorithm: Algorithm, seed: &str) -> SigningKey {
    SigningKey::from_seed(name, algorithm, &sha256(seed.as_bytes()).0).expect("a name")
}

/// Epoch 0 of a partition of the cluster `-`.
pub fn stream(topic: &str, partition: u32) -> StreamId {
    Partition { cluster: "-".to_owned(), topic: topic.to_owned(), number: partition }.stream(0)
}

impl TestLedger {
    /// Ledgers with different seeds share the origin and the key names, but no key.
    pub fn new(seed: &str) -> Self {
        let operator = key("operator", Algorithm::Ed25519, &format!("{seed} operator"));
        let log = key(ORIGIN, Algorithm::Ed25519, &format!("{seed} log"));
        let ingest = key("ingest-a", Algorithm::Ed25519, &format!("{seed} ingest"));
        let genesis = Genesis {
            origin: ORIGIN.to_owned(),
            nonce: sha256(seed.as_bytes()),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        };
        let genesis = SignedStatement::sign(Statement::Genesis(genesis), &[&operator, &log]);
        let mut ledger = Self { operator, log, ingest, genesis, grants: Vec::new() };
        let grant = ledger.grant(ledger.genesis.hash(), Role::Ingest, &ledger.ingest);
        ledger.grants.push(grant);
        ledger
    }

    /// A log key that the genesis does not name.
    pub fn second_log(&self) -> SigningKey {
        key(ORIGIN, Algorithm::Ed25519, "second log")
    }

    /// Its origin and genesis.
    pub fn id(&self) -> LedgerId {
        LedgerId { origin: ORIGIN.to_owned(), genesis: self.genesis.hash() }
    }

    /// The genesis and the grants.
    pub fn beginning(&self) -> Vec<SignedStatement> {
        [vec![self.genesis.clone()], self.grants.clone()].concat()
    }

    /// The operator grants a key. An ingest key gets the topics that begin with `t`.
    pub fn grant(&self, prev: Hash, role: Role, granted: &SigningKey) -> SignedStatement {
        self.sign_key(self.key_statement(prev, Action::Grant, role, granted))
    }

    /// The operator revokes a key.
    pub fn revoke(&self, prev: Hash, role: Role, revoked: &SigningKey) -> SignedStatement {
        self.sign_key(self.key_statement(prev, Action::Revoke, role, revoked))
    }

    /// As [`revoke`](Self::revoke), and the operator distrusts all that the key ever signed.
    pub fn distrust(&self, prev: Hash, role: Role, revoked: &SigningKey) -> SignedStatement {
        let revocation = self.key_statement(prev, Action::Revoke, role, revoked);
        self.sign_key(KeyStatement { distrust_from: Some(0), ..revocation })
    }

    fn key_statement(&self, prev: Hash, action: Action, role: Role, key: &SigningKey) -> KeyStatement {
        let pattern: TopicPattern = "t*".parse().expect("a pattern");
        KeyStatement {
            ledger: self.id(),
            action,
            role,
            key: key.verifier_key().clone(),
            topics: if role == Role::Ingest { vec![pattern] } else { Vec::new() },
            distrust_from: None,
            prev,
        }
    }

    fn sign_key(&self, statement: KeyStatement) -> SignedStatement {
        SignedStatement::sign(Statement::Key(statement), &[&self.operator])
    }

    /// A signed summary of the offsets from `first` up to, not including, `next`, with an event at each.
    pub fn summary(&self, stream: &StreamId, first: u64, next: u64, prev: Option<Hash>) -> SignedStatement {
        self.sign_summary(self.summary_of(stream, first, next, prev), &self.ingest)
    }

    /// As [`summary`](Self::summary), not signed.
    pub fn summary_of(&self, stream: &StreamId, first: u64, next: u64, prev: Option<Hash>) -> Summary {
        Summary {
            ledger: self.id(),
            stream: stream.clone(),
            topic_id: None,
            first,
            next,
            events: next - first,
            bytes: 100 * (next - first),
            time: Some((1_700_000_000_000, 1_700_000_000_999)),
            root: sha256(format!("root {stream} {first} {next}").as_bytes()),
            last: Some(LastEvent { offset: next - 1, leaf: sha256(b"leaf") }),
            prev,
        }
    }

    /// Signs a summary with a key.
    pub fn sign_summary(&self, summary: Summary, key: &SigningKey) -> SignedStatement {
        SignedStatement::sign(Statement::Summary(summary), &[key])
    }

    /// A signed gap of the reason `retention`.
    pub fn gap(&self, stream: &StreamId, first: u64, next: u64, prev: Option<Hash>) -> SignedStatement {
        let gap = Gap {
            ledger: self.id(),
            stream: stream.clone(),
            topic_id: None,
            first,
            next,
            reason: Reason::Retention,
            low: next,
            high: next + 10,
            prev,
        };
        SignedStatement::sign(Statement::Gap(gap), &[&self.ingest])
    }

    /// The epoch that begins `stream`. The previous epoch ends at `old_next`.
    pub fn epoch(&self, stream: &StreamId, old_next: u64, start: u64, prev: Hash) -> SignedStatement {
        let epoch = Epoch {
            ledger: self.id(),
            stream: stream.clone(),
            topic_id: None,
            old_topic_id: None,
            old_next,
            start,
            prev,
        };
        SignedStatement::sign(Statement::Epoch(epoch), &[&self.operator])
    }

    /// `n` summaries of `width` offsets each, which continue a stream from `first`.
    pub fn summaries(
        &self,
        stream: &StreamId,
        first: u64,
        width: u64,
        n: usize,
        prev: Option<Hash>,
    ) -> Vec<SignedStatement> {
        let mut prev = prev;
        let mut statements = Vec::with_capacity(n);
        for i in 0..n as u64 {
            let statement = self.summary(stream, first + i * width, first + (i + 1) * width, prev);
            prev = Some(statement.hash());
            statements.push(statement);
        }
        statements
    }
}

/// A statement as it is submitted.
pub fn text(statement: &SignedStatement) -> String {
    String::from_utf8(statement.to_bytes()).expect("a statement is text")
}
