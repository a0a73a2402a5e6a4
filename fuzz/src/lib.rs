//! Fuzz targets for every parser of the project.
//!
//! A target gives any bytes to a parser, and panics if a rule does not hold. Decoded bytes must encode to the same bytes
//! again, and an event that was not sealed must not be proven. libFuzzer calls the targets (`just fuzz`); a test calls
//! them with the corpus.

mod anchors;
mod bundles;
mod chain;
mod event_proof;
mod git;
mod json;
mod keys;
mod log;
mod scratch;

pub use bundles::Golden;

/// Gives bytes to a parser.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a folder of this name in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("anchor-packs", anchors::packs),
    ("anchor-record", anchors::record),
    ("anchor-remote", anchors::remote),
    ("bundle-folder", bundles::folder),
    ("bundle-frames", bundles::frames),
    ("bundle-manifest", bundles::manifest),
    ("bundle-runs", bundles::runs),
    ("checkpoint", log::checkpoint),
    ("committer-answer", json::answer),
    ("content", chain::content),
    ("cosignatures", log::cosignatures),
    ("entry", chain::entry),
    ("entry-bundle", log::entry_bundle),
    ("event-proof", event_proof::event_proof),
    ("expectation", bundles::expectation),
    ("git-commit", git::commit),
    ("git-delta", git::delta),
    ("git-loose-object", git::loose_object),
    ("git-pack", git::pack),
    ("git-references", git::references),
    ("git-tree", git::tree),
    ("heads-line", chain::heads_line),
    ("high-water", keys::high_water),
    ("incident", log::incident),
    ("key-file", keys::key_file),
    ("leaf-preimage", chain::leaf_preimage),
    ("note", chain::note),
    ("pin", bundles::pin),
    ("policy", log::policy),
    ("private-key", keys::private_key),
    ("statement", chain::statement),
    ("tile", log::tile),
    ("tile-path", log::tile_path),
    ("tlog-proof", log::tlog_proof),
    ("trust-file", log::trust_file),
    ("vkey", keys::vkey),
    ("witness-request", log::witness_request),
];

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The names of all targets.
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// The bytes as text. Parsers that take text are tried with nothing else.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The two parts of an input. Its first two bytes are the length of the first part.
fn halves(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
