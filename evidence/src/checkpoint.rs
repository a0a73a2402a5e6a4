use crate::text::{Lines, is_name};
use crate::{Algorithm, Error, Hash, Note, NoteError, NoteSignature, SigningKey, VerifierKey, tree};

const OBJECT: &str = "checkpoint";

/// The head of a log: its number of entries and their root (C2SP tlog-checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of its key.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Parses the three lines of a checkpoint.
    ///
    /// # Errors
    /// Extension lines, and origins that are not names here, are unsupported: they are legal elsewhere, with an unknown
    /// meaning. Size 0 with another root than the empty one is malformed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::new(OBJECT, text)?;
        let origin = lines.line()?.to_owned();
        if origin.is_empty() {
            return Err(lines.error("empty origin"));
        }
        let size = lines.line()?;
        let size = crate::text::parse_u63(size).ok_or_else(|| lines.error(format!("{size:?} is not a tree size")))?;
        let root = lines.line()?;
        let root = root.parse().map_err(|_| lines.error(format!("{root:?} is not a root hash")))?;
        if size == 0 && root != tree::empty_root() {
            return Err(lines.error("the root of size 0 is not that of the empty tree"));
        }
        // `unsupported` only applies to a checkpoint that is otherwise well formed.
        if !is_name(&origin) {
            let problem = format!("origin {origin:?} is not 1 to 255 printable ASCII characters without space and `+`");
            return Err(Error::unsupported(OBJECT, problem));
        }
        if !lines.rest().is_empty() {
            return Err(match lines.line()? {
                "" => lines.error("empty line"),
                line => Error::unsupported(OBJECT, format!("extension line {line:?}")),
            });
        }
        let checkpoint = Self { origin, size, root };
        if checkpoint.encode() != text {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(checkpoint)
    }

    /// The text that is signed.
    pub fn encode(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A checkpoint with the log's signature and any cosignatures. Reading one verifies nothing.
/// [`Policy::check`](crate::policy::Policy::check) verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Signs a checkpoint with the log's key.
    ///
    /// # Panics
    /// When the key cosigns, when its name is not the origin, or when the origin is not a name. Each is a bug of the
    /// caller.
    pub fn sign(checkpoint: Checkpoint, log: &SigningKey) -> Self {
        assert_eq!(log.verifier_key().name(), checkpoint.origin, "a log signs under its origin");
        let mut note = Note::unsigned(checkpoint.encode()).expect("a checkpoint's text is three lines");
        note.sign(log);
        Self { note, checkpoint }
    }

    /// Reads a checkpoint note.
    ///
    /// # Errors
    /// As [`Note::parse`] and [`Checkpoint::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { note, checkpoint })
    }

    /// The bytes that are served and anchored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// The head.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The text and the signature lines.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Verifies that the log of the checkpoint's origin signed it with this key.
    ///
    /// # Errors
    /// The same as [`Note::verify`]. A key with another name, or one that cosigns, does not sign for the log.
    pub fn verify(&self, log: &VerifierKey) -> Result<(), NoteError> {
        if log.name() != self.checkpoint.origin || log.algorithm() != Algorithm::Ed25519 {
            return Err(NoteError::Absent(log.name().to_owned()));
        }
        self.note.verify(log)
    }

    /// Appends a cosignature at a time in seconds since 1970. It replaces an earlier one by the same key.
    ///
    /// # Panics
    /// When the key does not cosign. That is a bug of the caller.
    pub fn cosign(&mut self, witness: &SigningKey, unix_seconds: u64) {
        self.note.remove_signatures_by(witness.verifier_key());
        self.note.cosign(witness, unix_seconds);
    }

    /// Appends a cosignature that a witness made, and returns its time in seconds since 1970. It replaces an earlier
    /// one by the same key.
    ///
    /// # Errors
    /// When the line is not a valid cosignature of this checkpoint by `witness`. The checkpoint then stays as it was.
    pub fn add_cosignature(&mut self, witness: &VerifierKey, signature: NoteSignature) -> Result<u64, NoteError> {
        let mut note = self.note.clone();
        note.remove_signatures_by(witness);
        note.add_signature(signature);
        let unix_seconds = note.verify_cosignature(witness)?;
        self.note = note;
        Ok(unix_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> SigningKey {
        SigningKey::from_seed("example.com/audit", Algorithm::Ed25519, &[1; 32]).expect("a name")
    }

    fn witness() -> SigningKey {
        SigningKey::from_seed("example.com/witness", Algorithm::Cosignature, &[2; 32]).expect("a name")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "example.com/audit".into(), size: 42, root: tree::leaf_hash(b"") }
    }

    #[test]
    fn a_signed_checkpoint_reads_back_and_verifies() {
        let mut signed = SignedCheckpoint::sign(checkpoint(), &log());
        signed.cosign(&witness(), 1_700_000_000);
        let back = SignedCheckpoint::parse(&signed.to_bytes()).expect("own bytes");
        assert_eq!(back, signed);
        assert_eq!(back.checkpoint(), &checkpoint());
        assert_eq!(back.verify(log().verifier_key()), Ok(()));
        assert_eq!(back.note().verify_cosignature(witness().verifier_key()), Ok(1_700_000_000));
    }

    #[test]
    fn a_second_cosignature_replaces_the_first() {
        let mut signed = SignedCheckpoint::sign(checkpoint(), &log());
        signed.cosign(&witness(), 1);
        signed.cosign(&witness(), 2);
        assert_eq!(signed.note().signatures().len(), 2);
        assert_eq!(signed.note().verify_cosignature(witness().verifier_key()), Ok(2));
    }

    #[test]
    fn only_valid_cosignatures_of_the_witness_are_added() {
        let mut made_elsewhere = SignedCheckpoint::sign(checkpoint(), &log());
        made_elsewhere.cosign(&witness(), 7);
        let line = made_elsewhere.note().signatures().nth(1).expect("the cosignature").clone();

        let mut signed = SignedCheckpoint::sign(checkpoint(), &log());
        signed.cosign(&witness(), 1);
        assert_eq!(signed.add_cosignature(witness().verifier_key(), line.clone()), Ok(7));
        assert_eq!(signed, made_elsewhere);

        let mut other = SignedCheckpoint::sign(Checkpoint { size: 43, ..checkpoint() }, &log());
        let before = other.clone();
        assert!(other.add_cosignature(witness().verifier_key(), line.clone()).is_err(), "of another checkpoint");
        let stranger = SigningKey::from_seed("example.com/witness", Algorithm::Cosignature, &[9; 32]).expect("a name");
        assert!(other.add_cosignature(stranger.verifier_key(), line).is_err(), "by another key");
        assert_eq!(other, before);
    }

    #[test]
    fn only_the_log_of_the_origin_signs_it() {
        let mut note = Note::unsigned(checkpoint().encode()).expect("lines");
        let other = SigningKey::from_seed("example.com/other", Algorithm::Ed25519, &[3; 32]).expect("a name");
        note.sign(&other);
        let by_other = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
        assert_eq!(by_other.verify(other.verifier_key()), Err(NoteError::Absent("example.com/other".into())));
        let cosigner = SigningKey::from_seed("example.com/audit", Algorithm::Cosignature, &[1; 32]).expect("a name");
        let mut cosigned = SignedCheckpoint::sign(checkpoint(), &log());
        cosigned.cosign(&cosigner, 1);
        assert_eq!(cosigned.note().verify(cosigner.verifier_key()), Ok(()));
        assert!(cosigned.verify(cosigner.verifier_key()).is_err(), "a cosignature is not the log's signature");
    }

    #[test]
    fn the_text_has_one_spelling() {
        let root = tree::leaf_hash(b"").to_string();
        let good = format!("example.com/audit\n42\n{root}\n");
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for end in 0..good.len() {
            assert!(Checkpoint::parse(&good[..end]).is_err(), "cut at {end}");
        }
        let unsupported = |text: String| matches!(Checkpoint::parse(&text), Err(Error::Unsupported { .. }));
        let malformed = |text: String| matches!(Checkpoint::parse(&text), Err(Error::Malformed { .. }));
        assert!(unsupported(format!("{good}extension\n")));
        assert!(unsupported(format!("an origin\n42\n{root}\n")));
        assert!(malformed(format!("an origin\n042\n{root}\n")));
        assert!(malformed(format!("{good}\n")));
        assert!(malformed(format!("\n42\n{root}\n")));
        for size in ["", "-1", "+42", "042", " 42", "42 ", "0x2a", "9223372036854775808"] {
            assert!(malformed(format!("example.com/audit\n{size}\n{root}\n")), "{size:?}");
        }
        for root in ["", &root[1..], &format!("{root}="), &root.replace('=', ""), &format!(" {root}")] {
            assert!(malformed(format!("example.com/audit\n42\n{root}\n")), "{root:?}");
        }
    }

    #[test]
    fn the_empty_tree_has_one_root() {
        let text = |root: Hash| format!("example.com/audit\n0\n{root}\n");
        assert!(Checkpoint::parse(&text(tree::empty_root())).is_ok());
        assert!(Checkpoint::parse(&text(tree::leaf_hash(b""))).is_err());
    }

    /// The example of the specification.
    #[test]
    fn the_published_example_reads() {
        let bytes = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let signed = SignedCheckpoint::parse(bytes.as_bytes()).expect("a checkpoint");
        assert_eq!(signed.checkpoint().size, 20_852_163);
        assert_eq!(signed.to_bytes(), bytes.as_bytes());
    }
}
