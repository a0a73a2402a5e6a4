//! Opens files and folders of a bundle that may be hostile: by descriptor, never through a link, and without blocking
//! on a pipe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// An open folder of a bundle.
pub(crate) struct Folder {
    fd: OwnedFd,
    /// Its path inside the bundle, with a final slash. Empty for the bundle's own folder.
    prefix: String,
}

impl Folder {
    /// Opens the bundle's own folder. It may be a link, because the user named it.
    pub(crate) fn open_root(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| Error::Io { file: path.display().to_string(), source: e.into() })?;
        Ok(Self { fd, prefix: String::new() })
    }

    /// Opens a folder inside this one.
    pub(crate) fn folder(&self, name: &str) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|e| self.refused(name, e, "a link or no folder"))?;
        Ok(Self { fd, prefix: format!("{}{name}/", self.prefix) })
    }

    /// Opens a folder further down. `path` has one or more components, each followed by a slash.
    pub(crate) fn descend(&self, path: &str) -> Result<Self, Error> {
        let mut names = path.trim_end_matches('/').split('/');
        let mut folder = self.folder(names.next().expect("split yields one item at least"))?;
        for name in names {
            folder = folder.folder(name)?;
        }
        Ok(folder)
    }

    /// Opens a regular file in this folder and returns its length with it.
    pub(crate) fn file(&self, name: &str) -> Result<(File, u64), Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| self.refused(name, e, "a link"))?;
        let file = File::from(fd);
        let metadata = file.metadata().map_err(Error::io(self.path(name)))?;
        if !metadata.is_file() {
            return Err(Error::malformed(self.path(name), "not a regular file"));
        }
        Ok((file, metadata.len()))
    }

    /// Reads a whole file of at most `bytes_max` bytes.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let (file, len) = self.file(name)?;
        if len > bytes_max {
            return Err(Error::malformed(self.path(name), format!("{len} bytes, at most {bytes_max} are allowed")));
        }
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes).map_err(Error::io(self.path(name)))?;
        Ok(bytes)
    }

    /// Refuses the first name that `is_known` does not know.
    pub(crate) fn check_names(&self, is_known: impl Fn(&str) -> bool) -> Result<(), Error> {
        let io_error = |e: Errno| Error::Io { file: self.path("."), source: e.into() };
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." && !is_known(&name) {
                return Err(Error::malformed(self.path(&name), "has no place in a bundle"));
            }
        }
        Ok(())
    }

    /// The path of a name in this folder, inside the bundle.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn refused(&self, name: &str, errno: Errno, not_followed: &str) -> Error {
        match errno {
            Errno::NOENT => Error::malformed(self.path(name), "is missing"),
            Errno::LOOP | Errno::NOTDIR => Error::malformed(self.path(name), format!("is {not_followed}")),
            errno => Error::Io { file: self.path(name), source: io::Error::from(errno) },
        }
    }
}
