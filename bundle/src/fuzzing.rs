//! Readers and writers without a public name, for the fuzzer.

use crate::Run;
use crate::manifest::Manifest;

/// Decodes a manifest and encodes it again. `None` when it does not decode.
pub fn manifest(bytes: &[u8]) -> Option<String> {
    Manifest::parse(bytes).ok().map(|manifest| manifest.encode())
}

/// The bytes of a run. `None` for a run that cannot be written.
pub fn run(run: &Run) -> Option<Vec<u8>> {
    run.encode().ok()
}
