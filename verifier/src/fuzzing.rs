//! Readers without a public name of their own, for the fuzzer.

use crate::pin::Pin;

/// Decodes a pin file and encodes it again; `None` if it is invalid.
pub fn pin(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().and_then(Pin::decode).map(|pin| pin.encode())
}
