//! What `crate::fuzzing` has of Git.

use std::path::Path;

use super::Repository;
use super::id::Id;
use super::objects::{next_entry, parse_commit};
use super::pack::apply;
use super::store::Store;

/// The head of a commit as it is read: its tree and parents, up to the name of the line after them.
pub fn commit(bytes: &[u8]) -> Option<Vec<u8>> {
    let commit = parse_commit(bytes)?;
    let parents: String = commit.parents.iter().map(|parent| format!("parent {parent}\n")).collect();
    Some(format!("tree {}\n{parents}author ", commit.tree).into_bytes())
}

/// A tree as it is written again.
pub fn tree(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    while !bytes.is_empty() {
        let entry = next_entry(&mut bytes)?;
        encoded.extend([entry.mode, b" ", entry.name, b"\0", &entry.id.0].concat());
    }
    Some(encoded)
}

/// What a delta makes of its base, of at most `bytes_max` bytes.
pub fn delta(base: &[u8], delta: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    apply(base, delta, bytes_max).ok()
}

/// The kind and bytes of the object that lies under a name in a folder `objects`, whether it has that name or not.
pub fn object(objects: &Path, id: [u8; 20], bytes_max: usize) -> Option<(&'static str, Vec<u8>)> {
    let store = Store::open(objects, &mut None);
    let (kind, bytes) = store.find(Id(id), bytes_max).find_map(Result::ok)?;
    Some((kind.name(), bytes))
}

/// Where the copies of a branch end that are certainly its copies: the full names of their references, and the commits.
pub fn tips(repository: &Path, branch: &str) -> Option<Vec<(String, String)>> {
    let (_, tips) = Repository::open(repository, branch, &mut Vec::new()).ok()?;
    Some(tips.into_iter().filter(|tip| !tip.is_doubtful).map(|tip| (tip.reference, tip.commit.to_string())).collect())
}
