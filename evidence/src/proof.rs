use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::policy::{Policy, PolicyError, Verdict};
use crate::text::Lines;
use crate::tree::{self, TreeError};
use crate::{Error, Hash, SignedCheckpoint};

/// The most hashes in an inclusion or consistency proof: one for each level of the largest tree.
pub const PROOF_HASHES_MAX: usize = 63;

const OBJECT: &str = "proof";
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Proves offline that an entry is in a log (C2SP tlog-proof). It has the entry's index, its inclusion proof, and the
/// checkpoint to which both lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The maker's addition, never empty. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The entry's index in the log: its seq.
    pub index: u64,
    /// The inclusion proof, leaf to root.
    pub path: Vec<Hash>,
    /// The head, with its signatures.
    pub checkpoint: SignedCheckpoint,
}

/// Why a proof does not prove that the entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The entry is not in the tree of the checkpoint at that index.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl TlogProof {
    /// Reads a proof in its only spelling.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(OBJECT, "not UTF-8"))?;
        let mut lines = Lines::new(OBJECT, text)?;
        match lines.line()? {
            FIRST_LINE => {}
            other if other.starts_with("c2sp.org/tlog-proof@v") => {
                return Err(Error::unsupported(OBJECT, format!("version {other:?}")));
            }
            _ => return Err(lines.error(format!("expected {FIRST_LINE}"))),
        }
        let extra = if lines.rest().starts_with("extra ") {
            let encoded = lines.field("extra")?;
            Some(Base64::decode_vec(encoded.as_str()).map_err(|_| encoded.error("padded base64"))?)
        } else {
            None
        };
        let index = lines.field("index")?.u63()?;
        let path = hash_lines(&mut lines)?;
        let checkpoint = SignedCheckpoint::parse(lines.rest().as_bytes())?;
        let proof = Self { extra, index, path, checkpoint };
        if proof.to_bytes() != bytes {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(proof)
    }

    /// The file form; `.tlog-proof` is its customary extension.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{FIRST_LINE}\n");
        if let Some(extra) = &self.extra {
            out.push_str(&format!("extra {}\n", Base64::encode_string(extra)));
        }
        out.push_str(&format!("index {}\n", self.index));
        push_hash_lines(&mut out, &self.path);
        [out.into_bytes(), self.checkpoint.to_bytes()].concat()
    }

    /// Verifies that the entry with this leaf hash is in the log at [`TlogProof::index`], and judges the checkpoint.
    /// The caller must compute the leaf hash from the entry, and check [`Verdict::satisfied`].
    ///
    /// # Errors
    /// [`ProofError`] when the policy refuses the checkpoint, or the path does not lead to its root.
    pub fn verify(&self, leaf: &Hash, policy: &Policy) -> Result<Verdict, ProofError> {
        let verdict = policy.check(&self.checkpoint)?;
        let head = self.checkpoint.checkpoint();
        tree::verify_inclusion(leaf, self.index, head.size, &self.path, &head.root)?;
        Ok(verdict)
    }
}

/// Reads the hashes of a proof, one on each line, and the empty line after them.
pub(crate) fn hash_lines(lines: &mut Lines<'_>) -> Result<Vec<Hash>, Error> {
    let mut hashes = Vec::new();
    loop {
        let line = lines.line()?;
        if line.is_empty() {
            return Ok(hashes);
        }
        if hashes.len() == PROOF_HASHES_MAX {
            return Err(lines.error(format!("more than {PROOF_HASHES_MAX} hashes")));
        }
        hashes.push(line.parse().map_err(|_| lines.error(format!("{line:?} is not a hash")))?);
    }
}

/// Writes what [`hash_lines`] reads.
pub(crate) fn push_hash_lines(out: &mut String, hashes: &[Hash]) {
    for hash in hashes {
        out.push_str(&format!("{hash}\n"));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{leaf_hash, node_hash};
    use crate::{Algorithm, Checkpoint, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("example.com/audit", Algorithm::Ed25519, &[seed; 32]).expect("a name")
    }

    fn policy() -> Policy {
        Policy::parse(format!("log {}\nquorum none\n", key(1).verifier_key()).as_bytes()).expect("a policy")
    }

    /// The proof of the second of three entries.
    fn proof() -> TlogProof {
        let leaves = [leaf_hash(b"0"), leaf_hash(b"1"), leaf_hash(b"2")];
        let root = node_hash(&node_hash(&leaves[0], &leaves[1]), &leaves[2]);
        let checkpoint = Checkpoint { origin: "example.com/audit".into(), size: 3, root };
        let checkpoint = SignedCheckpoint::sign(checkpoint, &key(1));
        TlogProof { extra: None, index: 1, path: vec![leaves[0], leaves[2]], checkpoint }
    }

    #[test]
    fn a_proof_reads_back_and_verifies() {
        let with_extra = TlogProof { extra: Some(b"more".to_vec()), ..proof() };
        for proof in [proof(), with_extra] {
            let back = TlogProof::parse(&proof.to_bytes()).expect("own bytes");
            assert_eq!(back, proof);
            let verdict = back.verify(&leaf_hash(b"1"), &policy()).expect("in the log");
            assert_eq!(&verdict.log, key(1).verifier_key());
        }
    }

    #[test]
    fn entry_outside_the_log_is_refused() {
        let verify = |proof: &TlogProof, entry: &[u8]| proof.verify(&leaf_hash(entry), &policy());
        assert!(matches!(verify(&proof(), b"0"), Err(ProofError::Tree(_))), "another entry");
        assert!(matches!(verify(&TlogProof { index: 0, ..proof() }, b"1"), Err(ProofError::Tree(_))));
        assert!(matches!(verify(&TlogProof { index: 3, ..proof() }, b"1"), Err(ProofError::Tree(_))));
        assert!(matches!(verify(&TlogProof { path: vec![], ..proof() }, b"1"), Err(ProofError::Tree(_))));
        let checkpoint = SignedCheckpoint::sign(proof().checkpoint.checkpoint().clone(), &key(2));
        assert!(matches!(verify(&TlogProof { checkpoint, ..proof() }, b"1"), Err(ProofError::Policy(_))));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let bytes = proof().to_bytes();
        for i in 0..bytes.len() {
            assert!(TlogProof::parse(&bytes[..i]).is_err(), "cut at {i}");
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[i] ^= flip;
                let verified = TlogProof::parse(&changed).map(|p| p.verify(&leaf_hash(b"1"), &policy()));
                assert!(!matches!(verified, Ok(Ok(_))), "byte {i} ^ {flip:#x}");
            }
        }
        assert!(TlogProof::parse(&[&bytes[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn the_head_of_the_file_has_one_spelling() {
        let text = String::from_utf8(proof().to_bytes()).expect("text");
        let body = text.strip_prefix("c2sp.org/tlog-proof@v1\nindex 1\n").expect("the head");
        let read = |head: &str| TlogProof::parse(format!("{head}{body}").as_bytes());
        assert!(read("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 1\n").is_ok());
        for head in [
            "",
            "index 1\n",
            "c2sp.org/tlog-proof@v1\n",
            "c2sp.org/tlog-proof@v1\nindex 01\n",
            "c2sp.org/tlog-proof@v1\nindex -1\n",
            "c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n",
            "c2sp.org/tlog-proof@v1\nindex 1 \n",
            "c2sp.org/tlog-proof@v1\nindex 1\nindex 1\n",
            "c2sp.org/tlog-proof@v1\nextra \nindex 1\n",
            "c2sp.org/tlog-proof@v1\nextra bW9yZQ\nindex 1\n",
            "c2sp.org/tlog-proof@v1\nindex 1\nextra bW9yZQ==\n",
            "c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nextra bW9yZQ==\nindex 1\n",
        ] {
            assert!(matches!(read(head), Err(Error::Malformed { .. })), "{head:?}");
        }
        assert!(matches!(read("c2sp.org/tlog-proof@v2\nindex 1\n"), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_path_has_63_hashes_at_most() {
        let with = |hashes| TlogProof { path: vec![leaf_hash(b""); hashes], ..proof() }.to_bytes();
        assert!(TlogProof::parse(&with(63)).is_ok());
        assert!(TlogProof::parse(&with(64)).is_err());
    }
}
