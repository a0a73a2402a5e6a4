//! Whether the files of an SQLite database are still those that were opened.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{StoreError, StoreErrorKind};

/// A file's device and inode. They tell it from another file of the same name; no other file gets them while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    /// The identity of the file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// The identity of an open file.
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// The files of an open database: the database, its write-ahead log and the log's index.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Identity)>);

impl Files {
    /// The files of a database. It must be open and read once, so that the log exists.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        let path = |suffix: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        let files = ["", "-wal", "-shm"].into_iter().map(|suffix| {
            let path = path(suffix);
            Identity::at(&path).map(|identity| (path, identity))
        });
        files.collect::<io::Result<_>>().map(Self)
    }

    /// Makes sure that each file still has its name. SQLite does not check, and would write to files that vanish when the
    /// process ends.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let is_other = |(path, opened): &&(PathBuf, Identity)| Identity::at(path).ok() != Some(*opened);
        let Some((path, _)) = self.0.iter().find(is_other) else { return Ok(()) };
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!(
                "{} was removed or replaced while the committer runs, so nothing more is appended or signed. Move the \
                 file that was there back. To use the new file instead, stop the committer, make sure that only the file's \
                 own -wal and -shm are beside it, and restart the committer",
                path.display()
            ),
        ))
    }
}
