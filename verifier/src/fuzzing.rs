//! Readers that have no public name of their own, for the fuzzer: in a verification some of them stand behind hashes that
//! no random input has.

pub use crate::git::fuzzing::{commit, delta, object, tips, tree};
use crate::pin::Pin;

/// A pin file as it is written again; `None` for what is none.
pub fn pin(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().and_then(Pin::decode).map(|pin| pin.encode())
}
