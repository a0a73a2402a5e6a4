//! What can be proven: events, trees, notes, statements, entries, the chain, checkpoints, proofs and policies.

pub mod hash;

pub use hash::{Hash, sha256};
