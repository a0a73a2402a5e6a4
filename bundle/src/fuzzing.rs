//! Readers and writers that have no public name of their own, for the fuzzer.

use crate::Run;
use crate::manifest::Manifest;

/// Decodes a manifest and encodes it again; `None` when it does not decode.
pub fn manifest(bytes: &[u8]) -> Option<String> {
    Manifest::parse(bytes).ok().map(|manifest| manifest.encode())
}

/// A run as it is written; `None` for one that cannot be.
pub fn run(run: &Run) -> Option<Vec<u8>> {
    run.encode().ok()
}
