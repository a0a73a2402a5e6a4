use std::sync::Arc;

use super::{LedgerId, OBJECT, Statement};
use crate::{Error, Hash, Note, SigningKey, sha256};

/// The largest statement with its signatures, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;

/// The most signature lines on a statement.
pub const SIGNATURES_PER_STATEMENT_MAX: usize = 4;

/// A statement with its signatures, in the form of the note that the chain holds. Clones share the note and the memory
/// of valid signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement(Arc<Signed>);

#[derive(Debug, PartialEq, Eq)]
struct Signed {
    note: Note,
    statement: Statement,
    hash: Hash,
}

impl SignedStatement {
    /// Signs a statement with one or more keys.
    ///
    /// # Panics
    /// When there is no key, or a cosigning key among them. That is a bug of the caller.
    pub fn sign(statement: Statement, keys: &[&SigningKey]) -> Self {
        assert!((1..=SIGNATURES_PER_STATEMENT_MAX).contains(&keys.len()), "a statement has 1 to 4 signatures");
        let mut note =
            Note::unsigned(statement.encode()).expect("a statement's text is lines without control characters");
        for key in keys {
            note.sign(key);
        }
        note.sort_signatures();
        Self::new(note, statement)
    }

    fn new(note: Note, statement: Statement) -> Self {
        let hash = sha256(note.text().as_bytes());
        Self(Arc::new(Signed { note, statement, hash }))
    }

    /// Reads a statement: at most 16 KiB, with 1 to 4 signature lines in ascending order.
    ///
    /// Signatures are not verified here; `chain::State::apply` does that.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(Error::malformed(OBJECT, format!("{} bytes are more than 16 KiB", bytes.len())));
        }
        let note = Note::parse(bytes)?;
        let statement = Statement::parse(note.text())?;
        if note.signatures().len() > SIGNATURES_PER_STATEMENT_MAX {
            return Err(Error::malformed(OBJECT, "more than 4 signatures"));
        }
        let lines: Vec<String> = note.signatures().map(|s| s.to_line()).collect();
        if !lines.is_sorted_by(|a, b| a < b) {
            return Err(Error::malformed(OBJECT, "the signature lines are not in ascending order"));
        }
        Ok(Self::new(note, statement))
    }

    /// The identity of the statement: the SHA-256 of its text without signatures.
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// Its ledger. A genesis names none: it begins the ledger that has its hash.
    pub fn ledger(&self) -> LedgerId {
        match self.statement() {
            Statement::Genesis(genesis) => LedgerId { origin: genesis.origin.clone(), genesis: self.hash() },
            other => other.ledger().cloned().expect("every kind but the genesis names its ledger"),
        }
    }

    /// The statement.
    pub fn statement(&self) -> &Statement {
        &self.0.statement
    }

    /// Text and signatures.
    pub fn note(&self) -> &Note {
        &self.0.note
    }

    /// The note's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.note.to_bytes()
    }
}
