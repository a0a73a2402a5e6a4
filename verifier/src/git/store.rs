//! Where Git keeps objects: one file each, or many in a pack.
//!
//! This is a reader of its own because a clone may come from anybody: each step reads a bounded number of bytes, unpacks
//! at most what it was told to, and cannot run in circles.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
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

/// How many bytes may be unpacked of one repository: of a million commits, a megabyte each.
const UNPACKED_BYTES_MAX: u64 = 1 << 40;

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

/// What may still be unpacked of one repository.
pub(super) struct Work(Cell<u64>);

impl Work {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Cell::new(bytes))
    }

    pub(super) fn spend(&self, bytes: usize) -> Result<(), Damaged> {
        let left = self.0.get().checked_sub(bytes as u64);
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("more than {UNPACKED_BYTES_MAX} bytes to unpack in this clone").into())
    }
}

/// All objects of a repository.
pub(super) struct Store {
    folders: Vec<PathBuf>,
    packs: Vec<Pack>,
    work: Rc<Work>,
}

impl Store {
    /// Opens the folder `objects` of a repository, and those that it borrows from. What cannot be opened is left out, and
    /// `problem` is then the first reason.
    pub(super) fn open(objects: &Path, problem: &mut Option<Damaged>) -> Self {
        let mut folders = vec![objects.to_owned()];
        let mut at = 0;
        while let Some(folder) = folders.get(at) {
            let others = alternates(folder).unwrap_or_else(|damaged| {
                problem.get_or_insert(damaged);
                Vec::new()
            });
            for other in others {
                if folders.contains(&other) {
                    continue;
                }
                if folders.len() == FOLDERS_MAX {
                    problem.get_or_insert_with(|| format!("objects in more than {FOLDERS_MAX} folders").into());
                    break;
                }
                folders.push(other);
            }
            at += 1;
        }
        let work = Rc::new(Work::new(UNPACKED_BYTES_MAX));
        let made = Rc::default();
        let mut packs = Vec::new();
        let mut all_indexes = Vec::new();
        folders.iter().for_each(|folder| all_indexes.extend(indexes(&folder.join("pack"), problem)));
        for index in all_indexes {
            if packs.len() == PACKS_MAX {
                let too_many = || format!("more than {PACKS_MAX} packs; run `git gc` in the clone").into();
                problem.get_or_insert_with(too_many);
                break;
            }
            match Pack::open(&index, packs.len(), Rc::clone(&made), Rc::clone(&work)) {
                Ok(pack) => packs.push(pack),
                Err(damaged) => drop(problem.get_or_insert(damaged)),
            }
        }
        Self { folders, packs, work }
    }

    /// Reads an object, which must be of this kind, have at most `bytes_max` bytes, and have the name that it is read
    /// by. Where it lies in several places, one good one is enough.
    pub(super) fn read(&self, id: Id, kind: Kind, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let fault = |Damaged(problem)| Fault::unusable(format!("object {id}: {problem}"));
        let mut problem = None;
        for found in self.find(id, bytes_max) {
            match found {
                Ok((found, bytes)) if Id::of(found.name(), &bytes) == id => {
                    if found != kind {
                        return Err(fault(format!("a {} where a {} belongs", found.name(), kind.name()).into()));
                    }
                    return Ok(bytes);
                }
                Ok(_) => drop(problem.get_or_insert("has not the hash that it is named by".into())),
                Err(damaged) => drop(problem.get_or_insert(damaged)),
            }
        }
        Err(problem.map_or_else(
            || {
                let problem = format!("object {id} is absent: the clone is shallow, partial or damaged");
                Fault::new(Verdict::Incomplete, "incomplete-clone", problem)
            },
            fault,
        ))
    }

    /// What lies under a name, in each place in which something does, whether it has that name or not.
    pub(super) fn find(&self, id: Id, bytes_max: usize) -> impl Iterator<Item = Result<(Kind, Vec<u8>), Damaged>> + '_ {
        let packed = self.packs.iter().map(move |pack| {
            let Some(offset) = pack.find(id)? else { return Ok(None) };
            pack.read(offset, bytes_max).map(Some)
        });
        let loose = self.folders.iter().map(move |folder| {
            let object = loose(folder, id, bytes_max)?;
            self.work.spend(object.as_ref().map_or(0, |(_, bytes)| bytes.len()))?;
            Ok(object)
        });
        packed.chain(loose).filter_map(Result::transpose)
    }
}

/// Opens a file; `None` when there is none.
pub(super) fn open_file(path: &Path) -> Result<Option<File>, Damaged> {
    match keystore::open_regular(path) {
        Err(keystore::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The indexes of packs in a folder, by name: as many as are read, and one more.
fn indexes(folder: &Path, problem: &mut Option<Damaged>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut list = || {
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "idx") {
                found.insert(path);
            }
            if found.len() > PACKS_MAX + 1 {
                found.pop_last();
            }
        }
        Ok(())
    };
    if let Err(error) = list().or_else(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }) {
        problem.get_or_insert_with(|| format!("{}: {error}", folder.display()).into());
    }
    found
}

/// The folders of objects that a folder of objects borrows from.
fn alternates(objects: &Path) -> Result<Vec<PathBuf>, Damaged> {
    let Some(file) = open_file(&objects.join("info/alternates"))? else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    file.take(ALTERNATES_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > ALTERNATES_BYTES_MAX {
        return Err(format!("info/alternates: longer than {ALTERNATES_BYTES_MAX} bytes").into());
    }
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    // A relative path is relative to the folder that has the file.
    Ok(lines.map(|line| objects.join(OsStr::from_bytes(line))).collect())
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
    if bytes.len() > bytes_max {
        return Err(format!("{} bytes, at most {bytes_max} are read", bytes.len()).into());
    }
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
    fn work_ends_at_its_limit() {
        let work = Work::new(10);
        assert!(work.spend(4).is_ok() && work.spend(6).is_ok() && work.spend(0).is_ok());
        assert!(work.spend(1).is_err());
        let work = Work::new(10);
        assert!(work.spend(11).is_err_and(|Damaged(problem)| problem.contains("bytes to unpack in this clone")));
        assert!(work.spend(1).is_err(), "what failed is spent too");
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
