//! The keys and the ledger of the vectors. The seeds are not secret.

use std::ops::Range;

use evidence::statement::LedgerId;
use evidence::tree::{self, CompactRange, Node};
use evidence::{
    Algorithm, Checkpoint, Hash, Note, Partition, SignedCheckpoint, SignedStatement, SigningKey, Statement, StreamId,
    sha256,
};

/// The origin of the ledger of the vectors.
pub(crate) const ORIGIN: &str = "example.com/audit";

/// A key whose seed is 32 times the same byte.
pub(crate) fn key(name: &str, algorithm: Algorithm, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a valid name")
}

/// All keys of the vectors.
pub(crate) struct KeyRing {
    pub(crate) operator: SigningKey,
    pub(crate) log: SigningKey,
    pub(crate) ingest_a: SigningKey,
    pub(crate) ingest_b: SigningKey,
    pub(crate) anchor: SigningKey,
    pub(crate) operator_2: SigningKey,
    pub(crate) witness_1: SigningKey,
    pub(crate) witness_2: SigningKey,
    pub(crate) witness_3: SigningKey,
    pub(crate) stranger: SigningKey,
}

impl KeyRing {
    pub(crate) fn new() -> Self {
        let (plain, cosigning) = (Algorithm::Ed25519, Algorithm::Cosignature);
        Self {
            operator: key("operator", plain, 1),
            log: key(ORIGIN, plain, 2),
            ingest_a: key("ingest-a", plain, 3),
            ingest_b: key("ingest-b", plain, 4),
            anchor: key("anchor", cosigning, 5),
            operator_2: key("operator-2", plain, 6),
            witness_1: key("example.net/w1", cosigning, 7),
            witness_2: key("example.net/w2", cosigning, 8),
            witness_3: key("example.org/w3", cosigning, 9),
            stranger: key("stranger", plain, 10),
        }
    }

    /// Each key with its seed byte.
    pub(crate) fn all(&self) -> [(&SigningKey, u8); 10] {
        [
            (&self.operator, 1),
            (&self.log, 2),
            (&self.ingest_a, 3),
            (&self.ingest_b, 4),
            (&self.anchor, 5),
            (&self.operator_2, 6),
            (&self.witness_1, 7),
            (&self.witness_2, 8),
            (&self.witness_3, 9),
            (&self.stranger, 10),
        ]
    }
}

/// The ledger of the vectors, given the hash of its genesis.
pub(crate) fn ledger(genesis: Hash) -> LedgerId {
    LedgerId { origin: ORIGIN.into(), genesis }
}

pub(crate) fn stream(topic: &str, number: u32, epoch: u64) -> StreamId {
    Partition { cluster: "lkc-7".into(), topic: topic.into(), number }.stream(epoch)
}

/// Signs a text unchanged, well formed or not.
pub(crate) fn signed_text(text: &str, keys: &[&SigningKey]) -> Vec<u8> {
    let mut note = Note::unsigned(text.to_owned()).expect("lines");
    keys.iter().for_each(|key| note.sign(key));
    note.sort_signatures();
    note.to_bytes()
}

pub(crate) fn genesis(keys: &KeyRing) -> SignedStatement {
    let genesis = evidence::statement::Genesis {
        origin: ORIGIN.into(),
        nonce: sha256(b"nonce"),
        operator: keys.operator.verifier_key().clone(),
        log: keys.log.verifier_key().clone(),
        continues: None,
    };
    SignedStatement::sign(Statement::Genesis(genesis), &[&keys.operator, &keys.log])
}

/// The leaves that trees are tested with: entry `i` is `i` as eight big-endian bytes.
pub(crate) fn entry_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| tree::leaf_hash(&i.to_be_bytes())).collect()
}

/// The hash over the leaves of a subtree.
pub(crate) fn root(leaves: &[Hash], range: Range<u64>) -> Hash {
    let mut compact = CompactRange::starting_at(0);
    for leaf in &leaves[range.start as usize..range.end as usize] {
        compact.push_leaf(*leaf);
    }
    compact.root()
}

/// The hashes of a proof from the subtrees that fold into each.
pub(crate) fn path(leaves: &[Hash], groups: Vec<Vec<Node>>) -> Vec<Hash> {
    let range = |group: &[Node]| group[0].range().start..group[group.len() - 1].range().end;
    groups.iter().map(|group| root(leaves, range(group))).collect()
}

/// The head of the tree of numbered entries at this size, as in trees.json.
pub(crate) fn head(size: u64) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size, root: root(&entry_leaves(size), 0..size) }
}

pub(crate) fn checkpoint(size: u64, ring: &KeyRing, cosigned: &[(&SigningKey, u64)]) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::sign(head(size), &ring.log);
    cosigned.iter().for_each(|(witness, time)| signed.cosign(witness, *time));
    signed
}
