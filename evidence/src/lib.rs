//! What can be proven: events, trees, notes, statements, entries, the chain, checkpoints, proofs and policies.
//!
//! Everything here is pure: bytes in, values or reasons out. No I/O, no clock, no async. The formats are those of
//! SPEC.md; each object has one file with its type, encoder, strict decoder and tests.

pub mod batch;
mod blake;
pub mod chain;
mod checkpoint;
mod entry;
mod error;
mod event;
mod event_proof;
mod hash;
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
pub use key::{Algorithm, SigningKey, VerifierKey};
pub use leaf::{LeafHasher, LeafPreimage, Leaves, content_hash};
pub use note::{Note, NoteError, NoteSignature};
pub use proof::{PROOF_HASHES_MAX, ProofError, TlogProof};
pub use statement::{SignedStatement, Statement};
pub use stream::{Partition, StreamId};
pub use trust::TrustFile;
