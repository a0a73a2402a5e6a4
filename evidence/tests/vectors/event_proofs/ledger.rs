use evidence::chain::State;
use evidence::policy::Policy;
use evidence::statement::{Action, KeyStatement, LastEvent, Role, Summary};
use evidence::tree::{self, inclusion_nodes};
use evidence::{
    Checkpoint, EventProof, EventRef, Hash, HeaderRef, LeafHasher, SignedCheckpoint, SignedStatement, SigningKey,
    Statement, TimestampType, TlogProof, batch,
};

use crate::fixture::{KeyRing, ORIGIN, genesis, path, root, stream};
use crate::policies::Lines;

/// A ledger whose events can be proven.
pub(super) struct Ledger {
    pub(super) ring: KeyRing,
    pub(super) state: State,
    pub(super) entries: Vec<Vec<u8>>,
}

/// The events of a batch, by their places.
const VALUES: [&[u8]; 7] = [b"zero", b"one", b"", b"three", b"four", b"five", b"six"];

fn event(first: u64, place: u64, headers: &[HeaderRef<'_>], hashed: impl FnOnce(&EventRef<'_>)) {
    let value = VALUES[place as usize % VALUES.len()];
    hashed(&EventRef {
        offset: (first + place) as i64,
        timestamp: 1_732_180_000_000 + place as i64,
        timestamp_type: TimestampType::Create,
        key: (place != 3).then_some(b"key"),
        value: (place != 5).then_some(value),
        headers,
    });
}

const HEADERS: &[HeaderRef<'_>] =
    &[HeaderRef { name: b"source", value: Some(b"\xff") }, HeaderRef { name: b"", value: None }];

/// Each batch: the place of its entry, its first offset, its number of events.
pub(super) const BATCHES: [(u64, u64, u64); 3] = [(2, 0, 7), (4, 7, 1), (6, 8, 4)];

impl Ledger {
    pub(super) fn new() -> Self {
        let ring = KeyRing::new();
        let state = State::new(ORIGIN, genesis(&ring).hash());
        let mut ledger = Self { ring, state, entries: Vec::new() };
        ledger.append(genesis(&KeyRing::new()));
        ledger.grant(Role::Ingest, &KeyRing::new().ingest_a);
        ledger.seal(BATCHES[0]);
        ledger.grant(Role::Ingest, &KeyRing::new().ingest_b);
        ledger.seal(BATCHES[1]);
        ledger.grant(Role::Anchor, &KeyRing::new().anchor);
        ledger.seal(BATCHES[2]);
        let heads = Statement::Heads(ledger.state.draft_heads().expect("something moved"));
        let heads = SignedStatement::sign(heads, &[&ledger.ring.log]);
        ledger.append(heads);
        ledger
    }

    pub(super) fn append(&mut self, statement: SignedStatement) {
        let entry = self.state.draft(statement, 1_732_180_001_000);
        self.state.apply(&entry).expect("by the chain's rules");
        self.entries.push(entry.to_bytes());
    }

    pub(super) fn grant(&mut self, role: Role, key: &SigningKey) {
        let statement = Statement::Key(KeyStatement {
            ledger: self.state.ledger().clone(),
            action: Action::Grant,
            role,
            key: key.verifier_key().clone(),
            topics: if role == Role::Ingest { vec!["orders".parse().expect("a pattern")] } else { Vec::new() },
            distrust_from: None,
            prev: self.state.keys().statement().expect("after the genesis"),
        });
        let statement = SignedStatement::sign(statement, &[&self.ring.operator]);
        self.append(statement);
    }

    pub(super) fn summary(&self, first: u64, count: u64) -> Summary {
        let stream = stream("orders", 3, 0);
        let mut hasher = LeafHasher::new();
        (0..count).for_each(|place| event(first, place, HEADERS, |event| hasher.push(event)));
        let leaves = hasher.drain();
        let last = LastEvent { offset: first + count - 1, leaf: leaves.leaves[count as usize - 1] };
        Summary {
            ledger: self.state.ledger().clone(),
            topic_id: None,
            first,
            next: first + count,
            events: count,
            bytes: leaves.content_bytes,
            time: Some((1_732_180_000_000, 1_732_180_000_000 + count as i64 - 1)),
            root: batch::root(leaves.leaves),
            last: Some(last),
            prev: self.state.stream(&stream).map(|head| head.statement),
            stream,
        }
    }

    pub(super) fn seal(&mut self, (seq, first, count): (u64, u64, u64)) {
        assert_eq!(seq, self.state.next_seq());
        let summary = Statement::Summary(self.summary(first, count));
        let statement = SignedStatement::sign(summary, &[&self.ring.ingest_a]);
        self.append(statement);
    }

    pub(super) fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| tree::leaf_hash(entry)).collect()
    }

    pub(super) fn path(&self, index: u64, size: u64) -> Vec<Hash> {
        path(&self.leaves(), inclusion_nodes(index, size).expect("in the tree"))
    }

    pub(super) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let head = Checkpoint { origin: ORIGIN.into(), size, root: root(&self.leaves(), 0..size) };
        let mut signed = SignedCheckpoint::sign(head, &self.ring.log);
        signed.cosign(&self.ring.witness_1, 1_732_180_100);
        signed
    }

    /// The proof of the event at this place of a batch, in the log of this size.
    pub(super) fn proof(&self, (seq, first, count): (u64, u64, u64), place: u64, size: u64) -> EventProof {
        let mut hasher = LeafHasher::new();
        (0..count).for_each(|place| event(first, place, HEADERS, |event| hasher.push(event)));
        let mut content = Vec::new();
        event(first, place, HEADERS, |event| event.encode_content(&mut content));
        EventProof {
            offset: first + place,
            timestamp: 1_732_180_000_000 + place as i64,
            timestamp_type: TimestampType::Create,
            content,
            leaf_index: place,
            leaf_path: batch::prove(hasher.drain().leaves, place as usize),
            entry: self.entries[seq as usize].clone(),
            keys: [0, 1, 3, 5].iter().filter(|i| **i < size).map(|i| self.entries[*i as usize].clone()).collect(),
            newest: self.entries[size as usize - 1].clone(),
            newest_path: self.path(size - 1, size),
            proof: TlogProof { extra: None, index: seq, path: self.path(seq, size), checkpoint: self.checkpoint(size) },
        }
    }

    pub(super) fn policy_text() -> String {
        Lines::new(&KeyRing::new()).policy("quorum w1\n")
    }

    pub(super) fn policy() -> Policy {
        Policy::parse(Self::policy_text().as_bytes()).expect("a policy")
    }

    pub(super) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn all(&self) -> Vec<EventProof> {
        let places = BATCHES.iter().flat_map(|batch| (0..batch.2).map(move |place| (*batch, place)));
        places
            .flat_map(|(batch, place)| (batch.0 + 1..=self.size()).map(move |size| self.proof(batch, place, size)))
            .collect()
    }
}
