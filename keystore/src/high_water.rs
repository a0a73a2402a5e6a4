use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use evidence::{Head, sha256, text};
use rustix::fs::{FlockOperation, flock};

use crate::Error;
use crate::synced::{read_capped, sync_folder, with_suffix, write_synced};

const HEADER: &str = "streamseal/high-water@v1\n";
/// Far above any record: a checkpoint with its cosignatures and a consistency proof.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The largest head that a key ever signed, in a file that only goes up.
///
/// A signer calls [`HighWater::advance`] before its signature leaves the process, so that no restored database and no
/// second instance can make it sign a smaller head, or another head of the same size. The file belongs to one process
/// at a time: a lock on `<path>.lock` is held until this value is dropped.
///
/// The file is text with a checksum, so that a flipped bit is an error:
///
/// ```text
/// streamseal/high-water@v1
/// sum <base64 SHA-256 of everything below this line>
/// origin example.com/audit
/// size 42
/// root <base64>
///
/// <the record, if any>
/// ```
#[derive(Debug)]
pub struct HighWater {
    path: PathBuf,
    origin: String,
    head: Option<Head>,
    record: Vec<u8>,
    poisoned: bool,
    _lock: File,
}

impl HighWater {
    /// Opens the file for the log `origin`. The first [`HighWater::advance`] creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it; [`Error::Malformed`] when it is damaged or belongs to another log;
    /// [`Error::Io`].
    pub fn open(path: &Path, origin: &str) -> Result<Self, Error> {
        let lock = lock(path)?;
        let mut this = Self {
            path: path.to_owned(),
            origin: origin.to_owned(),
            head: None,
            record: Vec::new(),
            poisoned: false,
            _lock: lock,
        };
        match read_capped(path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                let (found, head, record) = decode(&bytes).map_err(|problem| {
                    let advice =
                        "do not delete the file or restore an older copy: it keeps the key from signing two histories";
                    Error::malformed(path, format!("{problem}; {advice}"))
                })?;
                if found != origin {
                    return Err(Error::malformed(path, format!("belongs to the log {found:?}, not to {origin:?}")));
                }
                this.head = Some(head);
                this.record = record.to_vec();
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(this)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The largest head recorded, `None` before the first.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// The record that [`HighWater::advance_with`] stored with the head.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// Records a head, without a record beside it, and returns when it is on disk. Recording the current head again does
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Backwards`] and [`Error::Forked`] when a head was signed that this one contradicts; nothing changes
    /// then. [`Error::Io`] when the file could not be written and synced: the disk may hold either head then, and every
    /// later call is [`Error::Poisoned`]. [`Error::Malformed`] when the record is too large to be read back.
    pub fn advance(&mut self, head: Head) -> Result<(), Error> {
        if !self.poisoned && self.head == Some(head) {
            return Ok(());
        }
        self.advance_with(head, &[])
    }

    /// Records a head as [`HighWater::advance`] does, and replaces the record in the same atomic write, even when the head
    /// stays the same.
    ///
    /// # Errors
    /// As [`HighWater::advance`].
    pub fn advance_with(&mut self, head: Head, record: &[u8]) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Poisoned { path: self.path.clone() });
        }
        if let Some(recorded) = self.head {
            let path = self.path.clone();
            if head.size < recorded.size {
                return Err(Error::Backwards { path, recorded, offered: head });
            }
            if head.size == recorded.size && head.root != recorded.root {
                return Err(Error::Forked { path, recorded, offered: head });
            }
        }
        let bytes = encode(&self.origin, head, record);
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Error::malformed(&self.path, format!("a record of {} bytes is too large", record.len())));
        }
        self.poisoned = true;
        write_synced(&self.path, &bytes, 0o600)?;
        self.poisoned = false;
        self.head = Some(head);
        self.record = record.to_vec();
        Ok(())
    }
}

/// Takes the lock. It is on a file of its own, because the state file is replaced by every write.
fn lock(path: &Path) -> Result<File, Error> {
    let lock_path = with_suffix(path, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(Error::io("open lock file", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked { path: path.to_owned() }),
        Err(errno) => return Err(Error::io("lock", &lock_path)(errno.into())),
    }
    sync_folder(&lock_path)?;
    Ok(file)
}

fn encode(origin: &str, head: Head, record: &[u8]) -> Vec<u8> {
    let mut body = format!("origin {origin}\nsize {}\nroot {}\n\n", head.size, head.root).into_bytes();
    body.extend_from_slice(record);
    let mut bytes = format!("{HEADER}sum {}\n", sha256(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// The origin, head and record of a file, or what is wrong with it.
fn decode(bytes: &[u8]) -> Result<(&str, Head, &[u8]), String> {
    let rest = bytes.strip_prefix(HEADER.as_bytes()).ok_or("not a high-water file of version 1")?;
    let (sum, body) = line(rest, "sum")?;
    if sum != sha256(body).to_string() {
        return Err("damaged: the contents do not have the checksum that the file names".to_owned());
    }
    let (origin, rest) = line(body, "origin")?;
    let (size, rest) = line(rest, "size")?;
    let (root, rest) = line(rest, "root")?;
    let record = rest.strip_prefix(b"\n").ok_or("expected an empty line after `root`")?;
    let size = text::parse_u63(size).ok_or("`size` is not a number")?;
    let root = root.parse().map_err(|e| format!("`root`: {e}"))?;
    Ok((origin, Head { size, root }, record))
}

/// The value of the line `name value`, and what follows the line.
fn line<'a>(bytes: &'a [u8], name: &str) -> Result<(&'a str, &'a [u8]), String> {
    let wanted = || format!("expected a line `{name} ...`");
    let end = bytes.iter().position(|&b| b == b'\n').ok_or_else(wanted)?;
    let line = str::from_utf8(&bytes[..end]).map_err(|_| wanted())?;
    let value = line.strip_prefix(name).and_then(|v| v.strip_prefix(' ')).ok_or_else(wanted)?;
    Ok((value, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ORIGIN: &str = "example.com/audit";

    fn head(size: u64) -> Head {
        Head { size, root: sha256(&size.to_be_bytes()) }
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.key.high-water");
        (folder, path)
    }

    fn open(path: &Path) -> HighWater {
        HighWater::open(path, ORIGIN).expect("opens")
    }

    #[test]
    fn head_and_record_are_read_back() {
        let (_folder, path) = place();
        let mut state = open(&path);
        assert_eq!(state.head(), None);
        state.advance(head(3)).expect("first");
        state.advance_with(head(5), b"record\n\nwith lines").expect("up");
        drop(state);
        let mut state = open(&path);
        assert_eq!(state.head(), Some(head(5)));
        assert_eq!(state.record(), b"record\n\nwith lines");
        state.advance(head(5)).expect("the same head");
        assert_eq!(state.record(), b"record\n\nwith lines");
        state.advance_with(head(5), b"").expect("another record");
        drop(state);
        assert_eq!(open(&path).record(), b"");
    }

    #[test]
    fn smaller_or_forked_head_is_refused() {
        let (_folder, path) = place();
        let mut state = open(&path);
        state.advance(head(5)).expect("first");
        let fork = Head { size: 5, root: sha256(b"fork") };
        assert!(matches!(state.advance(head(4)), Err(Error::Backwards { .. })));
        assert!(matches!(state.advance_with(fork, b"x"), Err(Error::Forked { .. })));
        assert_eq!(state.head(), Some(head(5)));
        drop(state);
        let mut state = open(&path);
        assert_eq!(state.head(), Some(head(5)));
        let error = state.advance(fork).expect_err("also after a restart").to_string();
        assert!(error.contains(&fork.to_string()) && error.contains(&head(5).to_string()), "{error}");
        state.advance(head(6)).expect("the refusals do no harm");
    }

    #[test]
    fn only_one_may_have_it_open() {
        let (_folder, path) = place();
        let first = open(&path);
        assert!(matches!(HighWater::open(&path, ORIGIN), Err(Error::Locked { .. })));
        drop(first);
        open(&path);
    }

    #[test]
    fn damage_at_any_byte_is_an_error() {
        let (_folder, path) = place();
        let good = encode(ORIGIN, head(1000), b"a record");
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).expect("written");
            let error = HighWater::open(&path, ORIGIN).expect_err("truncated");
            assert!(matches!(error, Error::Malformed { .. }), "{length}: {error}");
        }
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).expect("written");
            let error = HighWater::open(&path, ORIGIN).expect_err("a flipped bit");
            assert!(matches!(error, Error::Malformed { .. }), "{place}: {error}");
        }
        fs::write(&path, [&good[..], b"x"].concat()).expect("written");
        assert!(matches!(HighWater::open(&path, ORIGIN), Err(Error::Malformed { .. })));
        fs::write(&path, &good).expect("written");
        assert_eq!(open(&path).head(), Some(head(1000)));
    }

    #[test]
    fn file_of_another_log_is_refused() {
        let (_folder, path) = place();
        open(&path).advance(head(1)).expect("first");
        let error = HighWater::open(&path, "example.com/other").expect_err("another log").to_string();
        assert!(error.contains("example.com/other") && error.contains(ORIGIN), "{error}");
    }

    #[test]
    fn nothing_is_signed_after_a_failed_write() {
        let (folder, path) = place();
        let mut state = open(&path);
        state.advance(head(1)).expect("first");
        let obstacle = folder.path().join("log.key.high-water.tmp");
        fs::create_dir(&obstacle).expect("something in the way");
        assert!(matches!(state.advance(head(2)), Err(Error::Io { .. })));
        fs::remove_dir(&obstacle).expect("removed");
        for size in [1, 2, 3] {
            assert!(matches!(state.advance(head(size)), Err(Error::Poisoned { .. })), "{size}");
        }
        drop(state);
        assert_eq!(open(&path).head(), Some(head(1)));
    }
}
