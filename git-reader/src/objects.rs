//! Raw Git objects: their kinds, and commits and trees decoded.

use crate::id::Id;

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Commit, Self::Tree, Self::Blob, Self::Tag];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// Tree and parents of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The tree.
    pub tree: Id,
    /// The parents, in their order.
    pub parents: Vec<Id>,
}

/// One name in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The name, without slashes in an honest repository.
    pub name: &'a [u8],
    /// The mode as Git writes it, in octal digits.
    pub mode: &'a [u8],
    /// The object that has this name.
    pub id: Id,
}

/// The mode of a folder.
pub const MODE_TREE: &[u8] = b"40000";

/// The mode of a regular file that is not executable.
pub const MODE_FILE: &[u8] = b"100644";

pub(crate) fn parse_commit(bytes: &[u8]) -> Option<Commit> {
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

/// Takes the first name from the rest of a tree.
pub(crate) fn next_entry<'a>(bytes: &mut &'a [u8]) -> Option<TreeEntry<'a>> {
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
