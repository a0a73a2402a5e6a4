//! A ledger in memory, from which a case makes evidence.

use evidence::chain::{Role, State};
use evidence::statement::{Action, Genesis, KeyStatement, LastEvent, SignedStatement, Statement, Summary};
use evidence::{
    Algorithm, Checkpoint, EventRef, Hash, Leaves, SignedCheckpoint, SigningKey, StreamId, TimestampType, batch, sha256,
};

/// Its origin.
pub(crate) const ORIGIN: &str = "example.com/audit";

/// Keys, and the chain as it grows.
pub(crate) struct Ledger {
    log: SigningKey,
    ingest: SigningKey,
    witness: SigningKey,
    pub(crate) state: State,
    /// The genesis entry and the grant of the ingest key.
    pub(crate) keys: Vec<Vec<u8>>,
}

/// The event at an offset, without key and headers.
pub(crate) fn event(offset: u64, value: &[u8]) -> EventRef<'_> {
    EventRef {
        offset: offset as i64,
        timestamp: 1_700_000_000_000 + offset as i64,
        timestamp_type: TimestampType::Create,
        key: None,
        value: Some(value),
        headers: &[],
    }
}

impl Ledger {
    /// A ledger without sealed events.
    pub(crate) fn new() -> Self {
        let key = |name, algorithm, seed| SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a name");
        let operator = key("operator", Algorithm::Ed25519, 1);
        let log = key(ORIGIN, Algorithm::Ed25519, 2);
        let genesis = Statement::Genesis(Genesis {
            origin: ORIGIN.into(),
            nonce: sha256(b"nonce"),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        });
        let genesis = SignedStatement::sign(genesis, &[&operator, &log]);
        let ingest = key("ingest", Algorithm::Ed25519, 3);
        let witness = key("example.org/witness", Algorithm::Cosignature, 4);
        let state = State::new(ORIGIN, genesis.hash());
        let mut ledger = Self { log, ingest, witness, state, keys: Vec::new() };
        let genesis = ledger.append(genesis);
        let grant = Statement::Key(KeyStatement {
            ledger: ledger.state.ledger().clone(),
            action: Action::Grant,
            role: Role::Ingest,
            key: ledger.ingest.verifier_key().clone(),
            topics: vec!["*".parse().expect("a pattern")],
            distrust_from: None,
            prev: ledger.state.keys().statement().expect("after the genesis"),
        });
        let grant = ledger.append(SignedStatement::sign(grant, &[&operator]));
        ledger.keys = vec![genesis, grant];
        ledger
    }

    /// Appends a statement and returns its entry. If earlier entries were skipped, it names a made-up hash for them.
    fn append(&mut self, statement: SignedStatement) -> Vec<u8> {
        let mut entry = self.state.draft(statement, 1_700_000_000_000);
        if entry.seq > 0 {
            entry.prev.get_or_insert_with(|| sha256(b"not made"));
        }
        self.state.apply(&entry).expect("by the chain's rules");
        entry.to_bytes()
    }

    /// Seals the next batch of a stream, with an [`event`] at each offset, and returns its entry.
    pub(crate) fn seal(&mut self, stream: &StreamId, leaves: Leaves<'_>) -> Vec<u8> {
        let head = self.state.stream(stream);
        let (first, events) = (head.map_or(0, |head| head.next), leaves.leaves.len() as u64);
        let last = first + events - 1;
        let summary = Statement::Summary(Summary {
            ledger: self.state.ledger().clone(),
            stream: stream.clone(),
            topic_id: None,
            first,
            next: first + events,
            events,
            bytes: leaves.content_bytes,
            time: Some((event(first, b"").timestamp, event(last, b"").timestamp)),
            root: batch::root(leaves.leaves),
            last: leaves.leaves.last().map(|leaf| LastEvent { offset: last, leaf: *leaf }),
            prev: head.map(|head| head.statement),
        });
        self.append(SignedStatement::sign(summary, &[&self.ingest]))
    }

    /// Appends a heads entry.
    pub(crate) fn heads(&mut self) -> Vec<u8> {
        let heads = Statement::Heads(self.state.draft_heads().expect("something was sealed"));
        self.append(SignedStatement::sign(heads, &[&self.log]))
    }

    /// A checkpoint, cosigned by a witness outside of the ledger.
    pub(crate) fn checkpoint(&self, size: u64, root: Hash) -> SignedCheckpoint {
        let mut signed = SignedCheckpoint::sign(Checkpoint { origin: ORIGIN.into(), size, root }, &self.log);
        signed.cosign(&self.witness, 1_700_000_000);
        signed
    }

    /// The policy: the log and the witness.
    pub(crate) fn policy(&self) -> String {
        format!("log {}\nwitness w {}\nquorum w\n", self.log.verifier_key(), self.witness.verifier_key())
    }

    /// The trust file of an auditor, without `max-anchor-age`.
    pub(crate) fn trust(&self) -> String {
        let genesis = self.state.ledger().genesis;
        format!("streamseal/trust@v1\norigin {ORIGIN}\ngenesis {genesis}\nmax-anchor-age -\n\n{}", self.policy())
    }
}
