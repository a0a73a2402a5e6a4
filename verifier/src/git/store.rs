//! Where Git keeps objects: one file each, or many in a pack.
//!
//! This is a reader of its own because a clone may come from anybody: each step reads a bounded number of bytes, unpacks
//! at most what it was told to, and cannot run in circles.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::Fault;
use super::id::Id;
use super::pack::Pack;
use crate::finding::Verdict;

/// How many folders of objects are looked into: the repository's own, and those that it borrows from.
const FOLDERS_MAX: usize = 16;

/// How many packs there may be in all.
const PACKS_MAX: usize = 256;

/// The longest `info/alternates`, in bytes.
const ALTERNATES_BYTES_MAX: u64 = 64 * 1024;

/// What kind of object a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Commit, Self::Tree, Self::Blob, Self::Tag];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// Why bytes could not be had from a store.
#[derive(Debug)]
pub(super) struct Damaged(pub(super) String);

impl<T: std::fmt::Display> From<T> for Damaged {
    fn from(problem: T) -> Self {
        Self(problem.to_string())
    }
}

/// All objects of a repository.
pub(super) struct Store {
    folders: Vec<PathBuf>,
    packs: Vec<Pack>,
}

impl Store {
    /// Opens the folder `objects` of a repository, and those that it borrows from.
    pub(super) fn open(objects: &Path) -> Result<Self, Damaged> {
        let mut folders = vec![objects.to_owned()];
        let mut at = 0;
        while let Some(folder) = folders.get(at) {
            for other in alternates(folder)? {
                if !folders.contains(&other) {
                    folders.push(other);
                }
            }
            at += 1;
            if folders.len() > FOLDERS_MAX {
                return Err(format!("objects in more than {FOLDERS_MAX} folders").into());
            }
        }
        let made = Rc::default();
        let mut packs = Vec::new();
        for folder in &folders {
            let Ok(files) = fs::read_dir(folder.join("pack")) else { continue };
            for file in files {
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "idx") {
                    packs.push(Pack::open(&path, packs.len(), Rc::clone(&made))?);
                }
                if packs.len() > PACKS_MAX {
                    return Err(format!("more than {PACKS_MAX} packs; run `git gc` in the clone").into());
                }
            }
        }
        Ok(Self { folders, packs })
    }

    /// Reads an object, which must be of this kind, have at most `bytes_max` bytes, and have the name that it is read
    /// by.
    pub(super) fn read(&self, id: Id, kind: Kind, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let fault = |Damaged(problem)| Fault::unusable(format!("object {id}: {problem}"));
        let (found, bytes) = match self.find(id, bytes_max).map_err(fault)? {
            Some(object) => object,
            None => {
                let problem = format!("object {id} is absent: the clone is shallow, partial or damaged");
                return Err(Fault::new(Verdict::Incomplete, "incomplete-clone", problem));
            }
        };
        if Id::of(found.name(), &bytes) != id {
            return Err(fault("has not the hash that it is named by".into()));
        }
        if found != kind {
            return Err(fault(format!("a {} where a {} belongs", found.name(), kind.name()).into()));
        }
        Ok(bytes)
    }

    /// The object that lies under a name, whether it has that name or not.
    pub(super) fn find(&self, id: Id, bytes_max: usize) -> Result<Option<(Kind, Vec<u8>)>, Damaged> {
        for pack in &self.packs {
            if let Some(offset) = pack.find(id)? {
                return pack.read(offset, bytes_max).map(Some);
            }
        }
        for folder in &self.folders {
            if let Some(object) = loose(folder, id, bytes_max)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}

/// Opens a file; `None` when there is none. What is no file, such as a pipe, which would be waited for, is not opened.
pub(super) fn open_file(path: &Path) -> Result<Option<File>, Damaged> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(File::open(path)?)),
        Ok(_) => Err(format!("{} is not a regular file", path.display()).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// The folders of objects that a folder of objects borrows from.
fn alternates(objects: &Path) -> Result<Vec<PathBuf>, Damaged> {
    let Some(file) = open_file(&objects.join("info/alternates"))? else { return Ok(Vec::new()) };
    let mut text = String::new();
    file.take(ALTERNATES_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > ALTERNATES_BYTES_MAX {
        return Err(format!("info/alternates: longer than {ALTERNATES_BYTES_MAX} bytes").into());
    }
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    // A relative path is relative to the folder that has the file.
    Ok(lines.map(|line| objects.join(line)).collect())
}

/// Reads an object from a file of its own.
fn loose(objects: &Path, id: Id, bytes_max: usize) -> Result<Option<(Kind, Vec<u8>)>, Damaged> {
    const HEADER_BYTES_MAX: usize = 32;
    let name = id.to_string();
    let Some(file) = open_file(&objects.join(&name[..2]).join(&name[2..]))? else { return Ok(None) };
    let mut packed = Vec::new();
    let packed_max = packed_bytes_max(bytes_max + HEADER_BYTES_MAX);
    file.take(packed_max as u64).read_to_end(&mut packed)?;
    let mut bytes = inflate(&packed, bytes_max + HEADER_BYTES_MAX)?;
    let header = bytes.iter().take(HEADER_BYTES_MAX).position(|&b| b == 0).ok_or("no header")?;
    let text = std::str::from_utf8(&bytes[..header])?;
    let (kind, len) = text.split_once(' ').ok_or("no header")?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or("of unknown kind")?;
    if len.parse() != Ok(bytes.len() - header - 1) {
        return Err("of another length than its header says".into());
    }
    bytes.drain(..=header);
    Ok(Some((kind, bytes)))
}

/// How long zlib's output for so many bytes can be, as Git writes it.
pub(super) fn packed_bytes_max(bytes: usize) -> usize {
    bytes + bytes / 1000 + 1024
}

/// Unpacks a zlib stream at the start of `packed`, of at most `bytes_max` bytes.
pub(super) fn inflate(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Damaged> {
    // A limit of 0 would be no limit that is ever met.
    decompress_to_vec_zlib_with_limit(packed, bytes_max.max(1))
        .map_err(|error| Damaged(format!("cannot be unpacked into {bytes_max} bytes: {:?}", error.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zlib stream of this length that packs nothing: blocks of the bytes as they are, most of them empty.
    fn zlib_of(bytes: &[u8], len: usize) -> Vec<u8> {
        let empty_blocks = len.checked_sub(2 + 5 + bytes.len() + 4).filter(|rest| rest % 5 == 0).expect("fits") / 5;
        let len = bytes.len() as u16;
        let (mut a, mut b) = (1, 0);
        for byte in bytes {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        let blocks = [&[0, 0, 0, 255, 255].repeat(empty_blocks), &[1][..], &len.to_le_bytes(), &(!len).to_le_bytes()];
        [&[0x78, 1], &blocks.concat()[..], bytes, &(b << 16 | a).to_be_bytes()].concat()
    }

    #[test]
    fn a_loose_object_is_read_up_to_the_length_that_git_can_give_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = Id([0x12; Id::LEN]);
        let path = folder.path().join("12");
        fs::create_dir(&path).expect("made");
        // 5000 bytes and a header, a thousandth of that, and a kilobyte.
        let longest = 5032 + 5 + 1024;
        let read = |len, object: &str| {
            fs::write(path.join("12".repeat(19)), zlib_of(object.as_bytes(), len)).expect("written");
            loose(folder.path(), id, 5000).map_err(|Damaged(problem)| problem)
        };
        assert_eq!(read(longest, "blob 3\0xyz"), Ok(Some((Kind::Blob, b"xyz".to_vec()))));
        assert_eq!(read(longest - 4, "blob 4\0wxyz"), Ok(Some((Kind::Blob, b"wxyz".to_vec()))));
        assert!(read(longest + 1, "blob 4\0wxyz").is_err_and(|error| error.contains("cannot be unpacked")));
    }
}
