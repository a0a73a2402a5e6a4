//! Signed notes (C2SP signed-note) with Ed25519 signatures and checkpoint cosignatures (C2SP tlog-cosignature).

use std::ops::RangeInclusive;
use std::sync::OnceLock;

use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::{Algorithm, Error, SigningKey, VerifierKey};

/// The largest note that is read, in bytes. It has room for a statement or for a checkpoint with many cosignatures.
pub(crate) const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The most signature lines that are read on one note.
pub(crate) const SIGNATURES_MAX: usize = 64;

const OBJECT: &str = "note";
const PREFIX: &str = "\u{2014} ";

/// A text with its signature lines.
#[derive(Clone)]
pub struct Note {
    text: String,
    lines: Vec<Line>,
}

/// One signature line: the claimed signer, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// A signature with a memory of the key under which it is valid. So the committer can verify it outside of its database
/// lock, and `apply` need not verify it again inside the lock. The memory belongs to this text and is never copied to
/// another.
#[derive(Clone)]
struct Line {
    signature: NoteSignature,
    valid_under: OnceLock<Signer>,
}

/// The parts of a key that its name and id on a line leave open.
type Signer = (Algorithm, [u8; 32]);

fn signer(key: &VerifierKey) -> Signer {
    (key.algorithm(), *key.public_key())
}

/// Why a note does not carry a valid signature of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// No line has the key's name and id.
    #[error("no signature by {0}")]
    Absent(String),
    /// Several lines have the key's name and id. A statement may have one.
    #[error("more than one signature by {0}")]
    Repeated(String),
    /// A line by the key does not verify.
    #[error("the signature by {0} is not valid")]
    Invalid(String),
}

impl NoteSignature {
    /// The key name on the line.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id on the line, a hint only.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Reads one line `— name base64`, without its newline.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are not in this form, or above a limit.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let malformed = |problem: &str| Error::malformed(OBJECT, format!("signature line {line:?}: {problem}"));
        let rest = line.strip_prefix(PREFIX).ok_or_else(|| malformed("does not begin with an em dash and a space"))?;
        let (name, encoded) = rest.split_once(' ').ok_or_else(|| malformed("expected a name and a signature"))?;
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(malformed("not a key name"));
        }
        let bytes = Base64::decode_vec(encoded).map_err(|_| malformed("invalid base64"))?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or_else(|| malformed("shorter than a key id"))?;
        if bytes.is_empty() {
            return Err(malformed("no signature after the key id"));
        }
        Ok(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }

    /// The line without its newline.
    pub fn to_line(&self) -> String {
        let bytes = [&self.id[..], &self.bytes].concat();
        format!("{PREFIX}{} {}", self.name, Base64::encode_string(&bytes))
    }

    fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.id == key.id()
    }
}

impl Note {
    /// A note without signatures yet. `text` is one or more lines, each ended by a newline.
    ///
    /// # Errors
    /// When the text is empty, does not end in a newline, or has control characters.
    pub fn unsigned(text: String) -> Result<Self, Error> {
        if !text.ends_with('\n') || text.starts_with('\n') {
            return Err(Error::malformed(OBJECT, "the text must be lines, each ended by a newline"));
        }
        if let Some(c) = text.chars().find(|c| c.is_ascii_control() && *c != '\n') {
            return Err(Error::malformed(OBJECT, format!("control character {c:?} in the text")));
        }
        Ok(Self { text, lines: Vec::new() })
    }

    /// Reads a note: text, an empty line, one or more signature lines.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are not in this form, or above a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |problem: &str| Error::malformed(OBJECT, problem);
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(malformed("longer than 64 KiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let split = note.rfind("\n\n").ok_or_else(|| malformed("no empty line before the signatures"))?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or_else(|| malformed("no signature line, or no newline after the last one"))?;
        let mut parsed = Self::unsigned(text.to_owned())?;
        for (i, line) in signatures.split('\n').enumerate() {
            if i == SIGNATURES_MAX {
                return Err(malformed("more than 64 signature lines"));
            }
            parsed.lines.push(Line { signature: NoteSignature::parse(line)?, valid_under: OnceLock::new() });
        }
        Ok(parsed)
    }

    /// The signed text, including its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order.
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = &NoteSignature> {
        self.lines.iter().map(|line| &line.signature)
    }

    /// The whole note as it is stored and sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::with_capacity(self.text.len() + 1 + 120 * self.lines.len());
        out.push_str(&self.text);
        out.push('\n');
        for line in &self.lines {
            out.push_str(&line.signature.to_line());
            out.push('\n');
        }
        out.into_bytes()
    }

    /// Appends an Ed25519 signature.
    ///
    /// # Panics
    /// When the key is a cosigning key. That is a bug of the caller.
    pub fn sign(&mut self, key: &SigningKey) {
        let verifier = key.verifier_key();
        assert_eq!(verifier.algorithm(), Algorithm::Ed25519, "{} cosigns and does not sign", verifier.name());
        let bytes = key.sign(self.text.as_bytes()).to_vec();
        self.add_signature(NoteSignature { name: verifier.name().to_owned(), id: verifier.id(), bytes });
    }

    /// Appends a cosignature at a time in seconds since 1970. The text must be a checkpoint's.
    ///
    /// # Panics
    /// When the key is not a cosigning key. That is a bug of the caller.
    pub fn cosign(&mut self, key: &SigningKey, unix_seconds: u64) {
        let verifier = key.verifier_key();
        assert_eq!(verifier.algorithm(), Algorithm::Cosignature, "{} signs and does not cosign", verifier.name());
        let mut bytes = unix_seconds.to_be_bytes().to_vec();
        bytes.extend_from_slice(&key.sign(&self.cosigned(unix_seconds)));
        self.add_signature(NoteSignature { name: verifier.name().to_owned(), id: verifier.id(), bytes });
    }

    /// Appends a signature made elsewhere, unverified.
    pub fn add_signature(&mut self, signature: NoteSignature) {
        self.lines.push(Line { signature, valid_under: OnceLock::new() });
    }

    /// Drops the signature lines with the key's name and id, so that it can sign again.
    pub fn remove_signatures_by(&mut self, key: &VerifierKey) {
        self.lines.retain(|line| !line.signature.is_by(key));
    }

    /// Sorts the signature lines bytewise, as statements require.
    pub fn sort_signatures(&mut self) {
        self.lines.sort_by_cached_key(|line| line.signature.to_line());
    }

    /// Whether a line has the key's name and id, valid or not.
    pub fn has_signature_by(&self, key: &VerifierKey) -> bool {
        self.lines.iter().any(|line| line.signature.is_by(key))
    }

    /// Verifies that there are signatures by `key`, of either algorithm, and that all of them are valid. Remembers
    /// valid ones.
    ///
    /// # Errors
    /// [`NoteError`] when no signature is by `key`, or one by it is invalid.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut lines = self.lines_by(key).peekable();
        if lines.peek().is_none() {
            return Err(NoteError::Absent(key.name().to_owned()));
        }
        if !lines.all(|line| self.is_valid(line, key)) {
            return Err(NoteError::Invalid(key.name().to_owned()));
        }
        Ok(())
    }

    /// Does the same as [`Note::verify`], but several lines by `key` are an error too, valid or not.
    ///
    /// # Errors
    /// The same as [`Note::verify`], and when several lines are by `key`.
    pub fn verify_only(&self, key: &VerifierKey) -> Result<(), NoteError> {
        if self.lines_by(key).nth(1).is_some() {
            return Err(NoteError::Repeated(key.name().to_owned()));
        }
        self.verify(key)
    }

    fn is_valid(&self, line: &Line, key: &VerifierKey) -> bool {
        if line.valid_under.get() == Some(&signer(key)) {
            return true;
        }
        let valid = match key.algorithm() {
            Algorithm::Ed25519 => {
                line.signature.bytes.as_slice().try_into().is_ok_and(|s| key.verify(self.text.as_bytes(), s))
            }
            Algorithm::Cosignature => match line.signature.bytes.split_first_chunk::<8>() {
                Some((time, signature)) => {
                    signature.try_into().is_ok_and(|s| key.verify(&self.cosigned(u64::from_be_bytes(*time)), s))
                }
                None => false,
            },
        };
        if valid {
            // Another thread may have been first, with the same key or another. That is harmless: the memory only saves
            // time.
            let _ = line.valid_under.set(signer(key));
        }
        valid
    }

    /// Verifies the signatures by `key` of many notes, and remembers the valid ones for [`Note::verify`]. It takes less
    /// time for each than [`Note::verify`] does.
    pub fn verify_ahead<'a>(notes: impl IntoIterator<Item = &'a Self>, key: &VerifierKey) {
        if key.algorithm() != Algorithm::Ed25519 {
            return;
        }
        let lines = notes.into_iter().flat_map(|note| note.lines_by(key).map(move |line| (note, line)));
        let unknown = lines.filter_map(|(note, line)| {
            let signature: &[u8; 64] = line.signature.bytes.as_slice().try_into().ok()?;
            (line.valid_under.get() != Some(&signer(key))).then_some((line, (note.text.as_bytes(), signature)))
        });
        let (lines, signed): (Vec<_>, Vec<_>) = unknown.unzip();
        for (line, _) in lines.into_iter().zip(key.verify_all(&signed)).filter(|(_, valid)| *valid) {
            let _ = line.valid_under.set(signer(key));
        }
    }

    /// Verifies the cosignatures by `key` and returns the time of the newest one, in seconds since 1970.
    ///
    /// # Errors
    /// As [`Note::verify`], and when `key` does not cosign.
    pub fn verify_cosignature(&self, key: &VerifierKey) -> Result<u64, NoteError> {
        self.verify_cosignatures(key).map(|times| *times.end())
    }

    /// Verifies the cosignatures by `key`, as [`Note::verify`] does, and returns the times of the earliest and of the newest
    /// one, in seconds since 1970. A witness may cosign one checkpoint several times, and a relay may merge the lines.
    ///
    /// # Errors
    /// As [`Note::verify`], and when `key` does not cosign.
    pub fn verify_cosignatures(&self, key: &VerifierKey) -> Result<RangeInclusive<u64>, NoteError> {
        let invalid = || NoteError::Invalid(key.name().to_owned());
        if key.algorithm() != Algorithm::Cosignature {
            return Err(invalid());
        }
        self.verify(key)?;
        let times = self.lines_by(key).filter_map(|line| line.signature.bytes.split_first_chunk::<8>());
        let times = times.map(|(time, _)| u64::from_be_bytes(*time));
        let span = times.fold(None, |span: Option<(u64, u64)>, time| {
            Some(span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))))
        });
        span.map(|(first, last)| first..=last).ok_or_else(invalid)
    }

    fn lines_by(&self, key: &VerifierKey) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.signature.is_by(key))
    }

    fn cosigned(&self, unix_seconds: u64) -> Vec<u8> {
        format!("cosignature/v1\ntime {unix_seconds}\n{}", self.text).into_bytes()
    }
}

impl PartialEq for Note {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.signatures().eq(other.signatures())
    }
}

impl Eq for Note {}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a valid name")
    }

    fn signed() -> (Note, SigningKey) {
        let key = key("ingest-a", Algorithm::Ed25519, 1);
        let mut note = Note::unsigned("first\nsecond\n".into()).expect("lines");
        note.sign(&key);
        (note, key)
    }

    #[test]
    fn note_is_at_most_64_kib() {
        let line = format!("{}\n", signed().0.signatures().next().expect("signed").to_line());
        for (len, is_read) in [(65_536, true), (65_537, false)] {
            let text = format!("{}\n\n", "x".repeat(len - line.len() - 2));
            let note = text + &line;
            assert_eq!(note.len(), len);
            assert_eq!(Note::parse(note.as_bytes()).is_ok(), is_read, "{len} bytes");
        }
    }

    #[test]
    fn key_name_excludes_space_control_and_plus() {
        for (name, is_read) in [("a", true), ("a\u{a0}b", false), ("a\u{1}b", false), ("a+b", false), ("", false)] {
            assert_eq!(NoteSignature::parse(&format!("— {name} AAAAAAA=")).is_ok(), is_read, "{name:?}");
        }
    }

    /// The example of the Go reference implementation's documentation.
    #[test]
    fn the_published_example_verifies() {
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("vkey");
        let note = Note::parse(note.as_bytes()).expect("a note");
        assert_eq!(note.verify(&key), Ok(()));
    }

    #[test]
    fn a_note_reads_back_and_verifies() {
        let (note, key) = signed();
        let back = Note::parse(&note.to_bytes()).expect("own bytes");
        assert_eq!(back, note);
        assert_eq!(back.verify(key.verifier_key()), Ok(()));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let (note, key) = signed();
        let bytes = note.to_bytes();
        for i in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[i] ^= flip;
                let accepted = Note::parse(&changed).is_ok_and(|n| n.verify(key.verifier_key()).is_ok());
                assert!(!accepted, "byte {i} ^ {flip:#x}");
            }
            assert!(Note::parse(&bytes[..i]).is_err(), "cut at {i}");
        }
        assert!(Note::parse(&[&bytes[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn all_lines_of_a_key_must_verify() {
        let (mut note, key) = signed();
        assert_eq!(note.verify_only(key.verifier_key()), Ok(()));
        note.sign(&key);
        assert_eq!(note.verify(key.verifier_key()), Ok(()));
        assert_eq!(note.verify_only(key.verifier_key()), Err(NoteError::Repeated("ingest-a".into())));
        let mut other = Note::unsigned("another\n".into()).expect("lines");
        other.sign(&key);
        let stolen = other.signatures().next().expect("signed").clone();
        // The place of the wrong line does not matter.
        for at in 0..=2 {
            let mut lines: Vec<_> = note.signatures().cloned().collect();
            lines.insert(at, stolen.clone());
            let mut mixed = Note::unsigned(note.text().to_owned()).expect("lines");
            lines.into_iter().for_each(|line| mixed.add_signature(line));
            assert_eq!(mixed.verify(key.verifier_key()), Err(NoteError::Invalid("ingest-a".into())), "{at}");
        }
    }

    #[test]
    fn cosignatures_have_an_earliest_and_a_newest_time() {
        let cosigner = key("w", Algorithm::Cosignature, 3);
        let mut note = Note::unsigned("example.com\n0\nroot\n".into()).expect("lines");
        assert_eq!(note.verify_cosignatures(cosigner.verifier_key()), Err(NoteError::Absent("w".into())));
        [20, 30, 10, 20].into_iter().for_each(|time| note.cosign(&cosigner, time));
        assert_eq!(note.verify_cosignatures(cosigner.verifier_key()), Ok(10..=30));
        assert_eq!(note.verify_cosignature(cosigner.verifier_key()), Ok(30));
    }

    #[test]
    fn the_algorithm_is_part_of_the_key() {
        let cosigner = key("w", Algorithm::Cosignature, 3);
        let mut note = Note::unsigned("example.com\n0\nroot\n".into()).expect("lines");
        note.cosign(&cosigner, 1_700_000_000);
        assert_eq!(note.verify_cosignature(cosigner.verifier_key()), Ok(1_700_000_000));
        let plain = key("w", Algorithm::Ed25519, 3);
        assert_eq!(note.verify(plain.verifier_key()), Err(NoteError::Absent("w".into())));
        assert!(note.verify_cosignature(plain.verifier_key()).is_err());
    }

    #[test]
    fn batch_verification_matches_single_verification() {
        let (_, key) = signed();
        let note = |number: u32| {
            let mut note = Note::unsigned(format!("note {number}\n")).expect("lines");
            note.sign(&key);
            note
        };
        let mut notes: Vec<_> = (0..100).map(note).collect();
        // One with the signature of another, one with two of its own, one with its own and that of another, one with none.
        let other = notes[8].signatures().next().expect("signed").clone();
        notes[7].remove_signatures_by(key.verifier_key());
        notes[7].add_signature(other.clone());
        notes[10].add_signature(other);
        notes[20].sign(&key);
        notes[30].remove_signatures_by(key.verifier_key());
        Note::verify_ahead(&notes, key.verifier_key());
        for (number, note) in notes.iter().enumerate() {
            let known =
                note.lines.iter().filter(|line| line.valid_under.get() == Some(&signer(key.verifier_key()))).count();
            assert_eq!(known, [(7, 0), (20, 2), (30, 0)].iter().find(|(n, _)| *n == number).map_or(1, |(_, k)| *k));
            assert_eq!(note.verify(key.verifier_key()).is_ok(), ![7, 10, 30].contains(&number), "{number}");
        }
    }

    #[test]
    fn remembered_signature_is_bound_to_its_key() {
        let (note, first) = signed();
        assert_eq!(note.verify(first.verifier_key()), Ok(()));
        assert_eq!(note.clone().verify(first.verifier_key()), Ok(()));
        let other = key("ingest-a", Algorithm::Ed25519, 2);
        assert!(note.verify(other.verifier_key()).is_err());
    }
}
