//! Whether the files of an SQLite database are still those that were opened.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{StoreError, StoreErrorKind};

/// What tells a file from another of the same name: its device and its inode. No other file gets them while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    /// Of the file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Of an open file.
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// The files of an open database: the database, its write-ahead log and the index of that.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Identity)>);

impl Files {
    /// The files of a database that is open, and was read once so that the log is there.
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

    /// Makes sure that each file still has its name. SQLite does not look, and goes on in files that vanish when the
    /// process ends.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let is_other = |(path, opened): &&(PathBuf, Identity)| Identity::at(path).ok() != Some(*opened);
        let Some((path, _)) = self.0.iter().find(is_other) else { return Ok(()) };
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!(
                "{} was removed or replaced while the committer runs, so nothing more is appended or signed. Move the \
                 file that was there back. If the new one is to count, stop the committer, see that the file has only its \
                 own -wal and -shm beside it, and start the committer again",
                path.display()
            ),
        ))
    }
}
