//! tlog-proofs, and requests to witnesses.

use evidence::policy::Policy;
use evidence::tree;
use evidence::witness::{AddCheckpoint, StepError};
use evidence::{Algorithm, Checkpoint, Error, ProofError, SignedCheckpoint, TlogProof};
use serde::Serialize;

use crate::batches::tree_code;
use crate::fixture::{KeyRing, ORIGIN, checkpoint, entry_leaves, head, key, path, root};
use crate::form::{Hex, Input, Refused, Text, as_text, refused_text, texts};
use crate::policies::{Lines, policy_code};

#[derive(Serialize)]
pub(crate) struct ProofVectors {
    policy: String,
    proofs: Vec<Proof>,
    /// Proofs that read well and prove nothing of the entry.
    not_proven: Vec<NotProven>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Proof {
    name: &'static str,
    proof: String,
    entry: Hex,
    index: Text,
    extra: Option<Hex>,
}

#[derive(Serialize)]
struct NotProven {
    name: &'static str,
    proof: String,
    entry: Hex,
    code: &'static str,
}

fn proof(ring: &KeyRing, index: u64, size: u64) -> TlogProof {
    let nodes = tree::inclusion_nodes(index, size).expect("a leaf of the tree");
    let path = path(&entry_leaves(size), nodes);
    TlogProof { extra: None, index, path, checkpoint: checkpoint(size, ring, &[(&ring.witness_1, 100)]) }
}

fn numbered_entry(index: u64) -> Hex {
    Hex(index.to_be_bytes().to_vec())
}

pub(crate) fn proof_vectors() -> ProofVectors {
    let ring = KeyRing::new();
    let policy_text = Lines::new(&ring).policy("quorum w1\n");
    let policy = Policy::parse(policy_text.as_bytes()).expect("a policy");
    let with_extra = TlogProof { extra: Some(b"from the bundle of 2024".to_vec()), ..proof(&ring, 4, 7) };
    let proofs = [
        ("the only entry", proof(&ring, 0, 1)),
        ("an entry of seven", proof(&ring, 4, 7)),
        ("the last entry", proof(&ring, 6, 7)),
        ("an entry of many", proof(&ring, 700, 1025)),
        ("something added", with_extra),
    ]
    .map(|(name, proof)| {
        assert_eq!(TlogProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof), "{name}");
        let leaf = tree::leaf_hash(&proof.index.to_be_bytes());
        assert!(proof.verify(&leaf, &policy).expect(name).satisfied);
        Proof {
            name,
            proof: as_text(proof.to_bytes()),
            entry: numbered_entry(proof.index),
            index: proof.index.into(),
            extra: proof.extra.map(Hex),
        }
    });
    let not_proven = not_proven(&ring, &policy);
    ProofVectors { policy: policy_text, proofs: proofs.into(), not_proven, refused: refused_proofs(&ring) }
}

fn not_proven(ring: &KeyRing, policy: &Policy) -> Vec<NotProven> {
    let good = || proof(ring, 4, 7);
    let longer = [good().path, vec![tree::leaf_hash(b"")]].concat();
    let cosigned: &[_] = &[(&ring.witness_1, 100)];
    let mut by_other_log = SignedCheckpoint::sign(head(7), &key(ORIGIN, Algorithm::Ed25519, 22));
    by_other_log.cosign(&ring.witness_1, 100);
    [
        ("another entry", good(), 5, "wrong-root"),
        ("another index", TlogProof { index: 5, ..good() }, 4, "wrong-root"),
        ("an index beyond the size", TlogProof { index: 7, ..good() }, 4, "out-of-range"),
        ("a hash missing", TlogProof { path: good().path[1..].to_vec(), ..good() }, 4, "wrong-length"),
        ("a hash too many", TlogProof { path: longer, ..good() }, 4, "wrong-length"),
        (
            "a valid checkpoint of another size",
            TlogProof { checkpoint: checkpoint(8, ring, cosigned), ..good() },
            4,
            "wrong-root",
        ),
        ("another log", TlogProof { checkpoint: by_other_log, ..good() }, 4, "not-by-log"),
        (
            "no witness of the quorum",
            TlogProof { checkpoint: checkpoint(7, ring, &[(&ring.witness_2, 100)]), ..good() },
            4,
            "not-satisfied",
        ),
    ]
    .map(|(name, proof, entry, code): (_, _, u64, _)| {
        let parsed = TlogProof::parse(&proof.to_bytes()).expect(name);
        let found = match parsed.verify(&tree::leaf_hash(&entry.to_be_bytes()), policy) {
            Err(ProofError::Policy(error)) => policy_code(&error),
            Err(ProofError::Tree(error)) => tree_code(&error),
            Ok(verdict) => {
                assert!(!verdict.satisfied, "{name}");
                "not-satisfied"
            }
        };
        assert_eq!(found, code, "{name}");
        NotProven { name, proof: as_text(proof.to_bytes()), entry: numbered_entry(entry), code }
    })
    .into()
}

fn refused_proofs(ring: &KeyRing) -> Vec<Refused<Input>> {
    let good = as_text(proof(ring, 4, 7).to_bytes());
    let changed = |name: &str, from: &str, to: &str, code| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        refused_text(name, changed.as_bytes(), code, TlogProof::parse)
    };
    let many = TlogProof { path: vec![tree::leaf_hash(b""); 64], ..proof(ring, 4, 7) };
    vec![
        changed("another version", "tlog-proof@v1", "tlog-proof@v2", "unsupported"),
        changed("no version", "c2sp.org/tlog-proof@v1\n", "", "malformed"),
        changed("no index", "index 4\n", "", "malformed"),
        changed("an index with a leading zero", "index 4", "index 04", "malformed"),
        changed("an index of 2^63", "index 4", "index 9223372036854775808", "malformed"),
        changed("extra after the index", "index 4\n", "index 4\nextra AAAA\n", "malformed"),
        changed("extra of nothing", "index 4", "extra \nindex 4", "malformed"),
        changed("extra without padding", "index 4", "extra AAAAA\nindex 4", "malformed"),
        changed("a hash without padding", "=\n", "\n", "malformed"),
        changed("no empty line before the checkpoint", "\n\nexample.com", "\nexample.com", "malformed"),
        changed("no checkpoint signature", "\n\n— ", "\n— ", "malformed"),
        refused_text("64 hashes", &many.to_bytes(), "malformed", TlogProof::parse),
    ]
}

#[derive(Serialize)]
pub(crate) struct WitnessVectors {
    steps: Vec<Step>,
    /// Requests that read well and do not follow from the checkpoint before.
    not_following: Vec<NotFollowing>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Step {
    name: &'static str,
    /// The text of the checkpoint before.
    before: Option<String>,
    request: String,
    old_size: Text,
    proof: Vec<Text>,
}

#[derive(Serialize)]
struct NotFollowing {
    name: &'static str,
    before: Option<String>,
    request: String,
    code: &'static str,
}

fn request(ring: &KeyRing, old_size: u64, size: u64) -> AddCheckpoint {
    let nodes = tree::consistency_nodes(old_size, size).expect("the older is not the larger");
    let proof = path(&entry_leaves(size), nodes);
    AddCheckpoint { old_size, proof, checkpoint: checkpoint(size, ring, &[(&ring.anchor, 100)]) }
}

pub(crate) fn witness_vectors() -> WitnessVectors {
    let ring = KeyRing::new();
    let steps = [
        ("the first checkpoint", None, request(&ring, 0, 7)),
        ("an empty first checkpoint", None, request(&ring, 0, 0)),
        ("from five to seven", Some(head(5)), request(&ring, 5, 7)),
        ("from a whole tree of four", Some(head(4)), request(&ring, 4, 1025)),
        ("the same head again", Some(head(7)), request(&ring, 7, 7)),
        ("from the empty tree", Some(head(0)), request(&ring, 0, 3)),
    ]
    .map(|(name, before, request)| {
        assert_eq!(AddCheckpoint::parse(&request.to_bytes()).as_ref(), Ok(&request), "{name}");
        assert_eq!(request.verify_step(before.as_ref()), Ok(()), "{name}");
        Step {
            name,
            before: before.map(|before| before.encode()),
            request: as_text(request.to_bytes()),
            old_size: request.old_size.into(),
            proof: texts(&request.proof),
        }
    });
    WitnessVectors { steps: steps.into(), not_following: not_following(&ring), refused: refused_requests(&ring) }
}

fn not_following(ring: &KeyRing) -> Vec<NotFollowing> {
    let good = || request(ring, 5, 7);
    let forked = Checkpoint { root: root(&entry_leaves(4), 0..4), ..head(5) };
    let fork_of_seven = Checkpoint { root: root(&entry_leaves(4), 0..4), ..head(7) };
    let other = Checkpoint { origin: "example.com/other".into(), ..head(5) };
    let shorter = AddCheckpoint { proof: good().proof[1..].to_vec(), ..good() };
    [
        ("another older root", Some(forked), good(), "wrong-root"),
        ("another root of one size", Some(fork_of_seven), request(ring, 7, 7), "wrong-root"),
        ("a first checkpoint after another", Some(head(5)), request(ring, 0, 7), "old-size"),
        ("a proof from another size", Some(head(4)), good(), "old-size"),
        ("a later checkpoint as the first", None, good(), "old-size"),
        ("another log", Some(other), good(), "origin"),
        ("a hash missing", Some(head(5)), shorter, "wrong-length"),
        ("a smaller head", Some(head(8)), request(ring, 7, 7), "old-size"),
    ]
    .map(|(name, before, request, code)| {
        let parsed = AddCheckpoint::parse(&request.to_bytes()).expect(name);
        let found = match parsed.verify_step(before.as_ref()).expect_err(name) {
            StepError::Origin { .. } => "origin",
            StepError::OldSize { .. } => "old-size",
            StepError::Tree(error) => tree_code(&error),
        };
        assert_eq!(found, code, "{name}");
        NotFollowing { name, before: before.map(|before| before.encode()), request: as_text(request.to_bytes()), code }
    })
    .into()
}

fn refused_requests(ring: &KeyRing) -> Vec<Refused<Input>> {
    let good = as_text(request(ring, 5, 7).to_bytes());
    let changed = |name: &str, from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        refused_text(name, changed.as_bytes(), "malformed", parse_request)
    };
    vec![
        changed("no old size", "old 5\n", ""),
        changed("an old size with a leading zero", "old 5", "old 05"),
        changed("an old size above the new", "old 5", "old 8"),
        changed("a hash without padding", "=\n", "\n"),
        changed("no empty line before the checkpoint", "\n\nexample.com", "\nexample.com"),
    ]
}

fn parse_request(bytes: &[u8]) -> Result<AddCheckpoint, Error> {
    AddCheckpoint::parse(bytes)
}
