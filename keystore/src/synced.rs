use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::Error;

/// Replaces `path` by a file with these bytes and this mode (such as 0o600), atomically and durably. When it returns, the
/// bytes survive a power cut. When the process dies before that, the old file is intact.
///
/// The bytes go to `<path>.tmp` first. Two writers of one path must exclude each other.
///
/// # Errors
/// [`Error::Io`]. After an error either of the two contents may survive a crash: the caller must not rely on one.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = with_suffix(path, ".tmp");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(&temporary)?;
        // Overrides the umask, and the mode of a file left behind by a crash.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("replace", path))?;
    sync_folder(path)
}

/// Reads a file of at most `bytes_max` bytes. The buffer is erased when dropped.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] when the file is larger or not a regular file.
pub fn read_capped(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_open(&open_regular(path)?, path, bytes_max)
}

/// Opens a file to read it. A pipe or a device is refused at once. Otherwise the author of some evidence could make its
/// reader wait for ever.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] when it is not a regular file.
pub fn open_regular(path: &Path) -> Result<File, Error> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(Error::io("open", path))?;
    // Of the open file, not of the path: what was checked is what is read.
    let metadata = file.metadata().map_err(Error::io("inspect", path))?;
    if metadata.is_file() { Ok(file) } else { Err(Error::malformed(path, "not a regular file")) }
}

pub(crate) fn read_open(file: &File, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let metadata = file.metadata().map_err(Error::io("inspect", path))?;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(Error::malformed(path, format!("larger than {bytes_max} bytes")));
    }
    // Room for everything from the start, so that no copy of a secret is left behind by a growing buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(length as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() > length {
        return Err(Error::malformed(path, "it grew while it was read"));
    }
    Ok(bytes)
}

/// Makes the folder's entry for `path` durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    let sync = || -> io::Result<()> { File::open(folder)?.sync_all() };
    sync().map_err(Error::io("sync folder", folder))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_replaces_contents_and_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        fs::write(&path, "old").expect("written");
        fs::write(folder.path().join("state.tmp"), "left over by a crash").expect("written");
        write_synced(&path, b"new", 0o600).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn failed_write_keeps_old_contents() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        fs::write(&path, "old").expect("written");
        fs::create_dir(folder.path().join("state.tmp")).expect("something in the way");
        let error = write_synced(&path, b"new", 0o600).expect_err("cannot open a folder for writing");
        assert!(error.to_string().contains("state.tmp"), "{error}");
        assert_eq!(fs::read(&path).expect("read"), b"old");
    }

    #[test]
    fn link_at_temporary_path_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, folder.path().join("state.tmp")).expect("linked");
        write_synced(&folder.path().join("state"), b"new", 0o600).expect_err("a link");
        assert_eq!(fs::read(&victim).expect("read"), b"precious");
    }

    #[test]
    fn pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
            path
        };
        let error = read_capped(&pipe("pipe"), 5).expect_err("a pipe").to_string();
        assert!(error.contains("pipe: not a regular file"), "{error}");
        pipe("state.tmp");
        write_synced(&folder.path().join("state"), b"new", 0o600).expect_err("a pipe in the way");
    }

    #[test]
    fn reading_is_capped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "12345").expect("written");
        assert_eq!(**read_capped(&path, 5).expect("fits"), *b"12345");
        assert!(matches!(read_capped(&path, 4), Err(Error::Malformed { .. })));
        assert!(matches!(read_capped(folder.path(), 4), Err(Error::Malformed { .. })));
    }
}
