//! The objects of a repository: one file each, or many in a pack.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::bounds::{Budget, UNPACKED_BYTES_MAX, inflate, open_file, packed_bytes_max};
use crate::error::{Error, ReadError};
use crate::id::Id;
use crate::objects::Kind;
use crate::pack::Pack;

/// The most folders of objects: the repository's own, and those that it borrows from.
const FOLDERS_MAX: usize = 16;

/// The most packs in all folders.
const PACKS_MAX: usize = 256;

/// The longest `info/alternates`, in bytes.
const ALTERNATES_BYTES_MAX: u64 = 64 * 1024;

/// All objects of a repository.
pub(crate) struct Store {
    folders: Vec<PathBuf>,
    packs: Vec<Pack>,
    budget: Rc<Budget>,
}

impl Store {
    /// Opens the folder `objects` of a repository, and those that it borrows from. A folder or pack that cannot be opened is
    /// left out, and `problem` is then the first reason.
    pub(crate) fn open(objects: &Path, problem: &mut Option<ReadError>) -> Self {
        let mut folders = vec![objects.to_owned()];
        let mut at = 0;
        while let Some(folder) = folders.get(at) {
            let others = alternates(folder).unwrap_or_else(|error| {
                problem.get_or_insert(error);
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
        let budget = Rc::new(Budget::new(UNPACKED_BYTES_MAX));
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
            match Pack::open(&index, packs.len(), Rc::clone(&made), Rc::clone(&budget)) {
                Ok(pack) => packs.push(pack),
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
        Self { folders, packs, budget }
    }

    /// Reads an object of this kind with at most `bytes_max` bytes, and compares its hash with its name. If several places
    /// hold it, one good copy is enough.
    pub(crate) fn read(&self, id: Id, kind: Kind, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let unreadable = |ReadError(problem)| Error::Unreadable(format!("object {id}: {problem}"));
        let mut problem = None;
        for found in self.find(id, bytes_max) {
            match found {
                Ok((found, bytes)) if Id::of(found.name(), &bytes) == id => {
                    if found != kind {
                        return Err(unreadable(format!("a {} where a {} belongs", found.name(), kind.name()).into()));
                    }
                    return Ok(bytes);
                }
                Ok(_) => drop(problem.get_or_insert("its hash is not its name".into())),
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
        Err(problem.map_or(Error::Absent(id), unreadable))
    }

    /// The objects stored under a name, one for each place that has one. Their hashes are not compared with the name.
    pub(crate) fn find(
        &self,
        id: Id,
        bytes_max: usize,
    ) -> impl Iterator<Item = Result<(Kind, Vec<u8>), ReadError>> + '_ {
        let packed = self.packs.iter().map(move |pack| {
            let Some(offset) = pack.find(id)? else { return Ok(None) };
            pack.read(offset, bytes_max).map(Some)
        });
        let loose = self.folders.iter().map(move |folder| {
            let object = loose(folder, id, bytes_max)?;
            self.budget.spend(object.as_ref().map_or(0, |(_, bytes)| bytes.len()))?;
            Ok(object)
        });
        packed.chain(loose).filter_map(Result::transpose)
    }
}

/// The indexes of packs in a folder, by name: at most one more than are opened.
fn indexes(folder: &Path, problem: &mut Option<ReadError>) -> BTreeSet<PathBuf> {
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
fn alternates(objects: &Path) -> Result<Vec<PathBuf>, ReadError> {
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
fn loose(objects: &Path, id: Id, bytes_max: usize) -> Result<Option<(Kind, Vec<u8>)>, ReadError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A zlib stream of this length that compresses nothing: stored blocks, most of them empty.
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
    fn loose_objects_are_read_up_to_gits_longest() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = Id([0x12; Id::LEN]);
        let path = folder.path().join("12");
        fs::create_dir(&path).expect("made");
        // 5000 bytes and a header, a thousandth of that, and a kilobyte.
        let longest = 5032 + 5 + 1024;
        let read = |len, object: &str| {
            fs::write(path.join("12".repeat(19)), zlib_of(object.as_bytes(), len)).expect("written");
            loose(folder.path(), id, 5000).map_err(|ReadError(problem)| problem)
        };
        assert_eq!(read(longest, "blob 3\0xyz"), Ok(Some((Kind::Blob, b"xyz".to_vec()))));
        assert_eq!(read(longest - 4, "blob 4\0wxyz"), Ok(Some((Kind::Blob, b"wxyz".to_vec()))));
        assert!(read(longest + 1, "blob 4\0wxyz").is_err_and(|error| error.contains("cannot be unpacked")));
    }
}
