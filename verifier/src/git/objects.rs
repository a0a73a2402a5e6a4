//! Raw Git objects: as much of them as anchors need.

use super::Fault;
use super::id::Id;
use super::store::{Kind, Store};

/// The largest commit or tree that is read, in bytes.
const COMMIT_BYTES_MAX: usize = 64 * 1024;
/// Of a repository that some 1,500 logs share.
const TREE_BYTES_MAX: usize = 128 * 1024;

/// The largest file of an anchor, in bytes: a checkpoint and a proof.
const FILE_BYTES_MAX: usize = 128 * 1024;

/// Tree and parents of a commit.
pub(super) struct Commit {
    pub(super) tree: Id,
    pub(super) parents: Vec<Id>,
}

/// One name in a tree.
pub(super) struct TreeEntry {
    pub(super) name: Vec<u8>,
    pub(super) mode: Vec<u8>,
    pub(super) id: Id,
}

pub(super) const MODE_TREE: &[u8] = b"40000";
pub(super) const MODE_FILE: &[u8] = b"100644";

pub(super) fn commit(store: &Store, id: Id) -> Result<Commit, Fault> {
    let bytes = store.read(id, Kind::Commit, COMMIT_BYTES_MAX)?;
    parse_commit(&bytes).ok_or_else(|| Fault::unusable(format!("object {id} is not a commit's text")))
}

pub(super) fn tree(store: &Store, id: Id) -> Result<Vec<TreeEntry>, Fault> {
    let bytes = store.read(id, Kind::Tree, TREE_BYTES_MAX)?;
    parse_tree(&bytes).ok_or_else(|| Fault::unusable(format!("object {id} is not a tree's bytes")))
}

pub(super) fn file(store: &Store, id: Id) -> Result<Vec<u8>, Fault> {
    store.read(id, Kind::Blob, FILE_BYTES_MAX)
}

pub(super) fn parse_commit(bytes: &[u8]) -> Option<Commit> {
    let mut lines = bytes.split(|&b| b == b'\n');
    let tree = Id::parse(lines.next()?.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::new();
    for line in lines {
        match line.strip_prefix(b"parent ") {
            Some(id) => parents.push(Id::parse(id)?),
            None => return line.starts_with(b"author ").then_some(Commit { tree, parents }),
        }
    }
    None
}

pub(super) fn parse_tree(mut bytes: &[u8]) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|&b| b == b' ')?;
        let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
        let end = rest.iter().position(|&b| b == 0)?;
        let (name, rest) = (&rest[..end], &rest[end + 1..]);
        let (id, rest) = rest.split_at_checked(20)?;
        entries.push(TreeEntry { name: name.to_vec(), mode: mode.to_vec(), id: Id(id.try_into().ok()?) });
        bytes = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn commits_are_read_up_to_their_author() {
        let text = format!("tree {ID}\nparent {ID}\nparent {ID}\nauthor a <a> 1 +0000\nparent {ID}\n\nmessage\n");
        let commit = parse_commit(text.as_bytes()).expect("a commit");
        assert_eq!((commit.tree.to_string().as_str(), commit.parents.len()), (ID, 2));
        for bad in ["", "tree", "tree x\nauthor ", &format!("tree {ID}\n"), &format!("tree {ID}\nparent x\nauthor ")] {
            assert!(parse_commit(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(parse_commit(format!("tree {}\nauthor ", ID.to_uppercase()).as_bytes()).is_none());
    }

    #[test]
    fn trees_are_read_to_their_last_byte() {
        let entry = |name: &str| [b"100644 ", name.as_bytes(), b"\0", &[7; 20]].concat();
        let bytes = [entry("a"), entry("b c")].concat();
        let names: Vec<_> = parse_tree(&bytes).expect("a tree").into_iter().map(|e| e.name).collect();
        assert_eq!(names, [b"a".to_vec(), b"b c".to_vec()]);
        for end in (0..bytes.len()).filter(|end| ![0, entry("a").len()].contains(end)) {
            assert!(parse_tree(&bytes[..end]).is_none(), "cut at {end}");
        }
    }
}
