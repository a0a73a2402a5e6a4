//! Requests to a witness and its answers (C2SP tlog-witness). An anchor keeps the same request beside each checkpoint.
//! So the anchors alone show that each checkpoint followed from the one before.

use thiserror::Error;

use crate::proof::{hash_lines, push_hash_lines};
use crate::text::{Lines, parse_u63};
use crate::tree::{self, TreeError};
use crate::{Checkpoint, Error, Hash, NoteSignature, SignedCheckpoint};

const REQUEST: &str = "add-checkpoint request";
const RESPONSE: &str = "add-checkpoint response";

/// The most cosignature lines that are read in one answer.
const COSIGNATURES_MAX: usize = crate::note::SIGNATURES_MAX;

/// The body of `POST <prefix>/add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the log's checkpoint before, 0 when there is none.
    pub old_size: u64,
    /// The consistency proof from that size to the checkpoint's, at most 63 hashes.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
}

/// Why a checkpoint does not follow from the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepError {
    /// It is of another log.
    #[error("the checkpoint is of {found}, the one before of {expected}")]
    Origin {
        /// The origin of the checkpoint before.
        expected: String,
        /// The origin of this checkpoint.
        found: String,
    },
    /// Its proof begins at another size.
    #[error("the proof begins at size {found}, the checkpoint before has size {expected}")]
    OldSize {
        /// The size of the checkpoint before.
        expected: u64,
        /// The size at which the proof begins.
        found: u64,
    },
    /// The proof does not hold: it is wrong, or the log forked.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl AddCheckpoint {
    /// Reads a request in its only spelling.
    ///
    /// # Errors
    /// Also when the old size is above the checkpoint's, as the protocol requires (400 Bad Request).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(REQUEST, "not UTF-8"))?;
        let mut lines = Lines::new(REQUEST, text)?;
        let old_size = lines.field("old")?.u63()?;
        let proof = hash_lines(&mut lines)?;
        let checkpoint = SignedCheckpoint::parse(lines.rest().as_bytes())?;
        let size = checkpoint.checkpoint().size;
        if old_size > size {
            return Err(Error::malformed(REQUEST, format!("old size {old_size} above the checkpoint's {size}")));
        }
        let request = Self { old_size, proof, checkpoint };
        if request.to_bytes() != bytes {
            return Err(Error::malformed(REQUEST, "not the only spelling of its content"));
        }
        Ok(request)
    }

    /// The body that is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("old {}\n", self.old_size);
        push_hash_lines(&mut out, &self.proof);
        [out.into_bytes(), self.checkpoint.to_bytes()].concat()
    }

    /// Verifies that the checkpoint follows from the one before, or that it claims to be the first. It does not verify
    /// signatures.
    ///
    /// # Errors
    /// [`StepError`] when it does not follow.
    pub fn verify_step(&self, before: Option<&Checkpoint>) -> Result<(), StepError> {
        let next = self.checkpoint.checkpoint();
        if let Some(before) = before.filter(|before| before.origin != next.origin) {
            return Err(StepError::Origin { expected: before.origin.clone(), found: next.origin.clone() });
        }
        let (old_size, old_root) = before.map_or_else(|| (0, tree::empty_root()), |before| (before.size, before.root));
        if self.old_size != old_size {
            return Err(StepError::OldSize { expected: old_size, found: self.old_size });
        }
        Ok(tree::verify_consistency(old_size, &old_root, next.size, &next.root, &self.proof)?)
    }
}

/// Reads a witness's answer 200: signature lines, unverified
/// ([`SignedCheckpoint::add_cosignature`] verifies them).
///
/// # Errors
/// [`Error::Malformed`] when a line is not a signature line.
pub fn parse_cosignatures(bytes: &[u8]) -> Result<Vec<NoteSignature>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(RESPONSE, "not UTF-8"))?;
    let lines = text.strip_suffix('\n').ok_or_else(|| Error::malformed(RESPONSE, "does not end in a newline"))?;
    let lines: Vec<&str> = lines.split('\n').take(COSIGNATURES_MAX + 1).collect();
    if lines.len() > COSIGNATURES_MAX {
        return Err(Error::malformed(RESPONSE, format!("more than {COSIGNATURES_MAX} lines")));
    }
    lines.into_iter().map(NoteSignature::parse).collect()
}

/// Reads a witness's answer 409: the size of the newest checkpoint that it cosigned.
///
/// # Errors
/// [`Error::Malformed`] when it is not a size on a line of its own.
pub fn parse_size(bytes: &[u8]) -> Result<u64, Error> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| parse_u63(text.strip_suffix('\n')?))
        .ok_or_else(|| Error::malformed(RESPONSE, "expected one decimal size and a newline"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{leaf_hash, node_hash};
    use crate::{Algorithm, SigningKey};

    fn log() -> SigningKey {
        SigningKey::from_seed("example.com/audit", Algorithm::Ed25519, &[1; 32]).expect("a name")
    }

    fn head(size: u64, root: Hash) -> Checkpoint {
        Checkpoint { origin: "example.com/audit".into(), size, root }
    }

    fn leaves() -> [Hash; 3] {
        [leaf_hash(b"0"), leaf_hash(b"1"), leaf_hash(b"2")]
    }

    /// From two entries to three.
    fn request() -> (Checkpoint, AddCheckpoint) {
        let [a, b, c] = leaves();
        let before = head(2, node_hash(&a, &b));
        let checkpoint = SignedCheckpoint::sign(head(3, node_hash(&before.root, &c)), &log());
        (before, AddCheckpoint { old_size: 2, proof: vec![c], checkpoint })
    }

    #[test]
    fn answer_lines_are_limited_as_in_a_note() {
        let line = "— witness AAAAAAA=\n";
        assert_eq!(
            parse_cosignatures(line.repeat(COSIGNATURES_MAX).as_bytes()).map(|all| all.len()),
            Ok(COSIGNATURES_MAX)
        );
        assert!(parse_cosignatures(line.repeat(COSIGNATURES_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_request_reads_back_and_verifies() {
        let (before, request) = request();
        let bytes = request.to_bytes();
        assert!(bytes.starts_with(format!("old 2\n{}\n\nexample.com/audit\n3\n", leaves()[2]).as_bytes()));
        let back = AddCheckpoint::parse(&bytes).expect("own bytes");
        assert_eq!(back, request);
        assert_eq!(back.verify_step(Some(&before)), Ok(()));
    }

    #[test]
    fn the_first_checkpoint_follows_from_nothing() {
        let (before, next) = request();
        let first = AddCheckpoint { old_size: 0, proof: vec![], ..next.clone() };
        assert_eq!(first.verify_step(None), Ok(()));
        assert_eq!(first.verify_step(Some(&before)), Err(StepError::OldSize { expected: 2, found: 0 }));
        assert_eq!(next.verify_step(None), Err(StepError::OldSize { expected: 0, found: 2 }));
        assert!(matches!(
            AddCheckpoint { proof: leaves().to_vec(), ..first }.verify_step(None),
            Err(StepError::Tree(TreeError::WrongLength { .. }))
        ));
    }

    #[test]
    fn request_that_does_not_follow_is_refused() {
        let (before, next) = request();
        let forked = Checkpoint { root: node_hash(&leaves()[0], &leaves()[2]), ..before.clone() };
        assert!(matches!(next.verify_step(Some(&forked)), Err(StepError::Tree(TreeError::WrongRoot { .. }))));
        let of_other_log = Checkpoint { origin: "example.com/other".into(), ..before };
        assert!(matches!(next.verify_step(Some(&of_other_log)), Err(StepError::Origin { .. })));
        let same_size = head(3, leaves()[0]);
        let again = AddCheckpoint { old_size: 3, proof: vec![], ..next };
        assert!(matches!(again.verify_step(Some(&same_size)), Err(StepError::Tree(TreeError::WrongRoot { .. }))));
        assert_eq!(again.verify_step(Some(again.checkpoint.checkpoint())), Ok(()));
    }

    #[test]
    fn cuts_and_other_spellings_are_refused() {
        let (_, request) = request();
        let text = String::from_utf8(request.to_bytes()).expect("text");
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(AddCheckpoint::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let body = text.strip_prefix("old 2\n").expect("the first line");
        for first in ["", "old 02\n", "old -2\n", "old +2\n", "old 2 \n", "old  2\n", "Old 2\n", "old 4\n", "old 2\n\n"]
        {
            assert!(AddCheckpoint::parse(format!("{first}{body}").as_bytes()).is_err(), "{first:?}");
        }
        assert!(AddCheckpoint::parse(format!("{text}\n").as_bytes()).is_err());
        let with = |hashes| AddCheckpoint { proof: vec![leaves()[0]; hashes], ..request.clone() }.to_bytes();
        assert!(AddCheckpoint::parse(&with(63)).is_ok());
        assert!(AddCheckpoint::parse(&with(64)).is_err());
    }

    #[test]
    fn answers_are_read() {
        let witness = SigningKey::from_seed("example.com/w", Algorithm::Cosignature, &[2; 32]).expect("a name");
        let (_, mut request) = request();
        let mut cosigned = request.checkpoint.clone();
        cosigned.cosign(&witness, 9);
        let line = cosigned.note().signatures().nth(1).expect("the cosignature").to_line();
        let read = parse_cosignatures(format!("{line}\n").as_bytes()).expect("one line");
        assert_eq!(request.checkpoint.add_cosignature(witness.verifier_key(), read[0].clone()), Ok(9));
        for bad in [String::new(), "\n".into(), line.clone(), format!("{line}\n\n"), format!("{line}\n").repeat(65)] {
            assert!(parse_cosignatures(bad.as_bytes()).is_err(), "{bad:?}");
        }

        assert_eq!(parse_size(b"20852163\n"), Ok(20_852_163));
        for bad in ["", "1", "01\n", "1\n\n", " 1\n", "-1\n", "9223372036854775808\n"] {
            assert!(parse_size(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
