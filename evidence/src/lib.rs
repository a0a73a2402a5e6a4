//! Encodes, decodes and verifies everything that streamseal hashes or signs.
//!
//! This crate is pure: it takes bytes and returns values or errors. It does no I/O, reads no clock and is not async.
//! SPEC.md defines the formats. Each object has one file with its type, encoder, strict decoder and tests.
//!
//! | to | use |
//! |---|---|
//! | hash events into a batch | [`LeafHasher`], [`batch`] |
//! | sign or read a statement | [`SignedStatement`], [`statement`] |
//! | decide whether an entry belongs in a chain | [`chain::State::apply`] |
//! | sign or check a head | [`SignedCheckpoint`], [`policy::Policy`] |
//! | prove that an entry is in the log | [`TlogProof`], [`tree`], [`tile`] |
//! | prove one event offline | [`EventProof`], [`EventProofChecker`] |
//!
//! # Example
//!
//! An operator begins a ledger. A verifier that trusts its origin and genesis hash applies the first entry.
//!
//! ```
//! use evidence::chain::State;
//! use evidence::statement::Genesis;
//! use evidence::{Algorithm, Entry, SignedStatement, SigningKey, Statement, sha256};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let operator = SigningKey::from_seed("operator", Algorithm::Ed25519, &[1; 32])?;
//! let log = SigningKey::from_seed("example.com/audit", Algorithm::Ed25519, &[2; 32])?;
//! let genesis = Genesis {
//!     origin: "example.com/audit".into(),
//!     nonce: sha256(b"32 random bytes in earnest"),
//!     operator: operator.verifier_key().clone(),
//!     log: log.verifier_key().clone(),
//!     continues: None,
//! };
//! let signed = SignedStatement::sign(Statement::Genesis(genesis), &[&operator, &log]);
//! let trusted = signed.hash();
//! let published = State::new("example.com/audit", trusted).draft(signed, 1_732_180_000_000).to_bytes();
//!
//! let mut state = State::new("example.com/audit", trusted);
//! state.apply(&Entry::parse(&published)?)?;
//! assert_eq!(state.next_seq(), 1);
//! # Ok(())
//! # }
//! ```

#![warn(clippy::missing_errors_doc, rustdoc::broken_intra_doc_links)]

pub mod batch;
mod blake;
pub mod chain;
mod checkpoint;
mod entry;
mod error;
mod event;
mod event_proof;
mod hash;
mod head;
pub mod incident;
mod key;
mod leaf;
#[cfg(feature = "signature-memory")]
pub mod memo;
mod nodes;
mod note;
pub mod policy;
mod proof;
mod public_key;
pub mod statement;
mod stream;
pub mod text;
pub mod tile;
pub mod time;
pub mod tree;
mod trust;
pub mod witness;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use entry::{EncodedEntry, Entry};
pub use error::Error;
pub use event::{Content, EventRef, HeaderRef, TimestampType, decode_content};
pub use event_proof::{EVENT_PROOF_BYTES_MAX, EventProof, EventProofChecker, EventProofError, ProofPart, Sealed};
pub use hash::{Hash, sha256};
pub use head::Head;
pub use key::{Algorithm, SigningKey, VerifierKey};
pub use leaf::{LeafHasher, LeafPreimage, Leaves, content_hash};
pub use note::{Note, NoteError, NoteSignature};
pub use proof::{PROOF_HASHES_MAX, ProofError, TlogProof};
pub use statement::{SignedStatement, Statement};
pub use stream::{Partition, StreamId};
pub use trust::TrustFile;
