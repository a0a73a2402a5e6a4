use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::bounds::open_file;
use crate::error::{Error, ReadError};
use crate::id::Id;
use crate::objects::{Commit, Kind, TreeEntry, next_entry, parse_commit};
use crate::references::{Copies, copies};
use crate::store::Store;

/// The longest commit that is read, in bytes: with merged tags, signatures and a long message.
const COMMIT_BYTES_MAX: usize = 16 << 20;

/// The longest tree that is read, in bytes: some 180,000 folders with SHA-256 hashes as names.
const TREE_BYTES_MAX: usize = 16 << 20;

/// The longest file that names a folder, in bytes.
const PATH_BYTES_MAX: u64 = 4096;

/// A Git repository, of which only objects and references are read.
pub struct Repository {
    folder: PathBuf,
    store: Store,
    unread: Option<Error>,
}

impl Repository {
    /// Opens a bare repository, or that of a working tree.
    ///
    /// A folder of objects or a pack that cannot be read is left out; [`Repository::unread`] says so.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if there is no repository at `path`, or if it keeps its references in a reftable.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = git_folder(path)?;
        if folder.join("reftable").exists() {
            let problem = "the repository keeps its references in a reftable, which is not supported; clone it again";
            return Err(Error::Unreadable(problem.to_owned()));
        }
        let mut problem = None;
        let store = Store::open(&folder.join("objects"), &mut problem);
        Ok(Self { folder, store, unread: problem.map(Error::from) })
    }

    /// The first reason why a folder of objects or a pack was left out; `None` if all were opened.
    pub fn unread(&self) -> Option<&Error> {
        self.unread.as_ref()
    }

    /// Finds the copies of a branch: the local one, and that of each remote. They differ if one was not updated, or if a
    /// remote's history was rewritten.
    pub fn copies(&self, branch: &str) -> Copies {
        copies(&self.folder, branch)
    }

    /// Reads tree and parents of a commit.
    ///
    /// # Errors
    /// [`Error::Absent`] if the repository does not hold it; [`Error::Unreadable`] if it is damaged, longer than 16 MiB,
    /// or another kind of object.
    pub fn commit(&self, id: Id) -> Result<Commit, Error> {
        let bytes = self.store.read(id, Kind::Commit, COMMIT_BYTES_MAX)?;
        parse_commit(&bytes).ok_or_else(|| Error::Unreadable(format!("object {id} is not a commit's text")))
    }

    /// Shows `each` the names in a tree, in their order. There may be hundreds of thousands.
    ///
    /// # Errors
    /// As [`Repository::commit`]. Names before a damaged one were shown.
    pub fn tree(&self, id: Id, mut each: impl FnMut(TreeEntry<'_>)) -> Result<(), Error> {
        let bytes = self.store.read(id, Kind::Tree, TREE_BYTES_MAX)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let entry = next_entry(&mut rest);
            each(entry.ok_or_else(|| Error::Unreadable(format!("object {id} is not a tree's bytes")))?);
        }
        Ok(())
    }

    /// Reads a file's content of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`Repository::commit`], with `bytes_max` as the limit.
    pub fn blob(&self, id: Id, bytes_max: usize) -> Result<Vec<u8>, Error> {
        self.store.read(id, Kind::Blob, bytes_max)
    }
}

/// The folder that holds objects and references: the one named, the `.git` in it, or the one that a file `.git` names. It
/// may lie anywhere, like a borrowed folder of objects. It is only read, and the caller verifies what it holds.
fn git_folder(path: &Path) -> Result<PathBuf, ReadError> {
    if !path.exists() {
        return Err("does not exist".into());
    }
    let dot_git = path.join(".git");
    // A working tree may hold files that are named as those of a repository.
    let folders = [named_by(&dot_git, "gitdir:")?, Some(dot_git), Some(path.to_owned())];
    for folder in folders.into_iter().flatten() {
        // A linked working tree keeps little of its own.
        let folder = named_by(&folder.join("commondir"), "")?.unwrap_or(folder);
        if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
            return Ok(folder);
        }
    }
    Err("not a Git repository".into())
}

/// The folder that a file names after a prefix, relative to the folder that the file is in; `None` without such a file.
fn named_by(file: &Path, prefix: &str) -> Result<Option<PathBuf>, ReadError> {
    let Some(folder) = file.parent().filter(|_| file.is_file()) else { return Ok(None) };
    let mut bytes = Vec::new();
    open_file(file)?.ok_or("disappeared")?.take(PATH_BYTES_MAX).read_to_end(&mut bytes)?;
    let named = bytes.trim_ascii_end().strip_prefix(prefix.as_bytes()).map(<[u8]>::trim_ascii_start);
    let named = named.filter(|named| !named.is_empty() && (bytes.len() as u64) < PATH_BYTES_MAX);
    let named = named.ok_or_else(|| format!("{} does not name a folder", file.display()))?;
    Ok(Some(folder.join(OsStr::from_bytes(named))))
}
