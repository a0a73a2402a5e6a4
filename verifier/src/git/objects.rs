//! Raw Git objects: as much of them as anchors need.

use super::Fault;
use super::id::Id;
use super::store::{Kind, Store};

/// The longest commit that is read, in bytes: with merged tags, signatures and a long message.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// The longest tree, in bytes: of a repository that some 180,000 logs share.
const TREE_BYTES_MAX: usize = 16 << 20;

/// The largest file of an anchor, in bytes: a checkpoint and a proof.
const FILE_BYTES_MAX: usize = 128 * 1024;

/// Tree and parents of a commit.
pub(super) struct Commit {
    pub(super) tree: Id,
    pub(super) parents: Vec<Id>,
}

/// One name in a tree.
pub(super) struct TreeEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) mode: &'a [u8],
    pub(super) id: Id,
}

pub(super) const MODE_TREE: &[u8] = b"40000";
pub(super) const MODE_FILE: &[u8] = b"100644";

pub(super) fn commit(store: &Store, id: Id) -> Result<Commit, Fault> {
    let bytes = store.read(id, Kind::Commit, COMMIT_BYTES_MAX)?;
    parse_commit(&bytes).ok_or_else(|| Fault::unusable(format!("object {id} is not a commit's text")))
}

/// Shows `each` the names in a tree, in their order. There may be hundreds of thousands.
pub(super) fn tree(store: &Store, id: Id, mut each: impl FnMut(TreeEntry<'_>)) -> Result<(), Fault> {
    let bytes = store.read(id, Kind::Tree, TREE_BYTES_MAX)?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        each(next_entry(&mut rest).ok_or_else(|| Fault::unusable(format!("object {id} is not a tree's bytes")))?);
    }
    Ok(())
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

/// Takes the first name from what is left of a tree.
pub(super) fn next_entry<'a>(bytes: &mut &'a [u8]) -> Option<TreeEntry<'a>> {
    let space = bytes.iter().position(|&b| b == b' ')?;
    let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
    let end = rest.iter().position(|&b| b == 0)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let (id, rest) = rest.split_at_checked(Id::LEN)?;
    *bytes = rest;
    Some(TreeEntry { name, mode, id: Id(id.try_into().ok()?) })
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
        let names = |mut bytes: &[u8]| {
            let mut names = Vec::new();
            while !bytes.is_empty() {
                names.push(next_entry(&mut bytes)?.name.to_vec());
            }
            Some(names)
        };
        assert_eq!(names(&bytes), Some(vec![b"a".to_vec(), b"b c".to_vec()]));
        for end in (0..bytes.len()).filter(|end| ![0, entry("a").len()].contains(end)) {
            assert!(names(&bytes[..end]).is_none(), "cut at {end}");
        }
    }
}
