//! Readers without a public name of their own, for the fuzzer. Some of them come after a hash that no random input has.

use std::path::Path;

use crate::Repository;
use crate::id::Id;
use crate::objects::{next_entry, parse_commit};
use crate::pack::apply;
use crate::store::Store;

/// Decodes a commit, and encodes it again up to the name of the line after its parents.
pub fn commit(bytes: &[u8]) -> Option<Vec<u8>> {
    let commit = parse_commit(bytes)?;
    let parents: String = commit.parents.iter().map(|parent| format!("parent {parent}\n")).collect();
    Some(format!("tree {}\n{parents}author ", commit.tree).into_bytes())
}

/// Decodes a tree and encodes it again.
pub fn tree(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    while !bytes.is_empty() {
        let entry = next_entry(&mut bytes)?;
        encoded.extend([entry.mode, b" ", entry.name, b"\0", &entry.id.0].concat());
    }
    Some(encoded)
}

/// Applies a delta to its base, with a result of at most `bytes_max` bytes.
pub fn delta(base: &[u8], delta: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    apply(base, delta, bytes_max).ok()
}

/// Kind and bytes of the object stored under a name in a folder `objects`. Its hash is not compared with the name.
pub fn object(objects: &Path, id: [u8; 20], bytes_max: usize) -> Option<(&'static str, Vec<u8>)> {
    let store = Store::open(objects, &mut None);
    let (kind, bytes) = store.find(Id(id), bytes_max).find_map(Result::ok)?;
    Some((kind.name(), bytes))
}

/// The copies of a branch that are certain: the full names of their references, and their newest commits.
pub fn tips(repository: &Path, branch: &str) -> Option<Vec<(String, String)>> {
    let tips = Repository::open(repository).ok()?.copies(branch).tips;
    Some(tips.into_iter().filter(|tip| !tip.is_doubtful).map(|tip| (tip.reference, tip.commit.to_string())).collect())
}
