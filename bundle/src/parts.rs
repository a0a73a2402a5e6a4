//! Stores a long sequence of bytes in files of bounded length.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::folder::Folder;

/// The length of every part but the last, in bytes.
pub(crate) const PART_BYTES: u64 = 1 << 30;

/// The number of bytes that are read from or written to a file at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// The parts of a sequence of `len` bytes, with their lengths.
fn lengths(len: u64, part_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len.div_ceil(part_bytes)).map(move |i| (i, part_bytes.min(len - i * part_bytes)))
}

fn part_name(number: u64, suffix: &str) -> String {
    format!("{number:06}{suffix}")
}

/// Whether `name` is that of a part of a sequence of `len` bytes.
pub(crate) fn is_part(name: &str, suffix: &str, len: u64) -> bool {
    let digits = name.strip_suffix(suffix).unwrap_or_default();
    let number = digits.parse().ok().filter(|&n| part_name(n, suffix) == name);
    number.is_some_and(|n: u64| n < len.div_ceil(PART_BYTES))
}

/// Writes a sequence of bytes into numbered files of a folder.
pub(crate) struct PartsWriter {
    folder: PathBuf,
    suffix: &'static str,
    part_bytes: u64,
    len: u64,
    file: Option<io::BufWriter<File>>,
}

impl PartsWriter {
    pub(crate) fn new(folder: &Path, suffix: &'static str) -> Self {
        Self::with_part_bytes(folder, suffix, PART_BYTES)
    }

    fn with_part_bytes(folder: &Path, suffix: &'static str, part_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), suffix, part_bytes, len: 0, file: None }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.part_bytes - self.len % self.part_bytes;
            let now = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let path = self.path(self.len / self.part_bytes);
            self.file_to_write()?.write_all(&bytes[..now]).map_err(Error::io(path.display().to_string()))?;
            self.len += now as u64;
            bytes = &bytes[now..];
            if self.len.is_multiple_of(self.part_bytes) {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Passes everything to the system and closes the file. Writing may continue later.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.flush().map_err(Error::io(self.folder.display().to_string()))
    }

    /// Makes all parts durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.close()?;
        for (number, _) in lengths(self.len, self.part_bytes) {
            let path = self.path(number);
            let sync = || File::open(&path)?.sync_all();
            sync().map_err(Error::io(path.display().to_string()))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(part_name(number, self.suffix))
    }

    fn file_to_write(&mut self) -> Result<&mut io::BufWriter<File>, Error> {
        if self.file.is_none() {
            let path = self.path(self.len / self.part_bytes);
            let open = || {
                std::fs::create_dir_all(&self.folder)?;
                File::options().create(true).append(true).open(&path)
            };
            let file = open().map_err(Error::io(path.display().to_string()))?;
            self.file = Some(io::BufWriter::with_capacity(BUFFER_BYTES, file));
        }
        Ok(self.file.as_mut().expect("was opened above"))
    }
}

/// Reads a sequence of bytes from its parts, and returns slices of one buffer. The buffer grows only to the longest
/// item that the files really hold.
pub(crate) struct PartsReader {
    root: Arc<Folder>,
    /// The folder of the parts, relative to the root, with a final slash.
    path: String,
    suffix: &'static str,
    part_bytes: u64,
    len: u64,
    /// Position in the sequence of the next byte to read from a file.
    read: u64,
    file: Option<File>,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that were read but not taken yet.
    start: usize,
    end: usize,
}

impl PartsReader {
    /// Checks that all parts are there, with the lengths that follow from `len`.
    pub(crate) fn open(root: &Arc<Folder>, path: String, suffix: &'static str, len: u64) -> Result<Self, Error> {
        Self::with_part_bytes(root, path, suffix, len, PART_BYTES)
    }

    fn with_part_bytes(
        root: &Arc<Folder>,
        path: String,
        suffix: &'static str,
        len: u64,
        part_bytes: u64,
    ) -> Result<Self, Error> {
        if len > 0 {
            let folder = root.descend(&path)?;
            for (number, wanted) in lengths(len, part_bytes) {
                let name = part_name(number, suffix);
                let (_, found) = folder.file(&name)?;
                if found != wanted {
                    let problem = format!("{found} bytes, the manifest gives {wanted}");
                    return Err(Error::malformed(folder.path(&name), problem));
                }
            }
        }
        Ok(Self::at(root, path, suffix, len, part_bytes, 0))
    }

    /// Continues at a position of a sequence that was opened before. Parts are not checked until they are read.
    pub(crate) fn resume(root: &Arc<Folder>, path: String, suffix: &'static str, len: u64, position: u64) -> Self {
        Self::at(root, path, suffix, len, PART_BYTES, position.min(len))
    }

    fn at(root: &Arc<Folder>, path: String, suffix: &'static str, len: u64, part_bytes: u64, read: u64) -> Self {
        let root = Arc::clone(root);
        Self { root, path, suffix, part_bytes, len, read, file: None, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// Position in the sequence of the next byte to take.
    pub(crate) fn position(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position() == self.len
    }

    /// Frees the memory of an item longer than the usual buffer.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.len() > BUFFER_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.buffer.truncate(self.end.max(BUFFER_BYTES));
            self.buffer.shrink_to_fit();
        }
    }

    /// Takes the next `count` bytes. If the sequence ends before, `what` names them in the error.
    pub(crate) fn take(&mut self, count: usize, what: &str) -> Result<&[u8], Error> {
        // The number of bytes left matters only for reading: all bytes in the buffer belong to the sequence.
        if self.end - self.start < count {
            self.fill(count, what)?;
        }
        let start = self.start;
        self.start += count;
        Ok(&self.buffer[start..start + count])
    }

    /// Takes a fixed number of bytes.
    pub(crate) fn take_array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        Ok(self.take(N, what)?.try_into().expect("as many as were asked for"))
    }

    /// An error at the current position.
    pub(crate) fn malformed(&self, problem: impl std::fmt::Display) -> Error {
        let position = self.position();
        // At the end of the sequence, name the part that ends there.
        let number = position.min(self.len.saturating_sub(1)) / self.part_bytes;
        let file = format!("{}{}", self.path, part_name(number, self.suffix));
        Error::malformed(file, format!("byte {}: {problem}", position - number * self.part_bytes))
    }

    /// Reads until `count` bytes are in the buffer.
    #[cold]
    fn fill(&mut self, count: usize, what: &str) -> Result<(), Error> {
        let remaining = self.len - self.position();
        if count as u64 > remaining {
            return Err(self.malformed(format!("a {what} of {count} bytes where {remaining} are left")));
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = self.buffer.len().max(BUFFER_BYTES).max(count);
        self.buffer.resize(room, 0);
        while self.end < count {
            self.read_some().map_err(|e| match e {
                Error::Io { source, .. } => Error::Io { file: self.current_file(), source },
                other => other,
            })?;
        }
        Ok(())
    }

    /// Reads from the current part, with one call.
    fn read_some(&mut self) -> Result<(), Error> {
        let part_end = self.len.min((self.read / self.part_bytes + 1) * self.part_bytes);
        let room = usize::try_from(part_end - self.read).unwrap_or(usize::MAX).min(self.buffer.len() - self.end);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let name = part_name(self.read / self.part_bytes, self.suffix);
                let (mut file, _) = self.root.descend(&self.path)?.file(&name)?;
                file.seek(SeekFrom::Start(self.read % self.part_bytes)).map_err(Error::io(name))?;
                self.file.insert(file)
            }
        };
        match file.read(&mut self.buffer[self.end..self.end + room]) {
            Ok(0) => return Err(Error::io("")(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => {
                self.end += n;
                self.read += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("")(e)),
        }
        if self.read == part_end {
            self.file = None;
        }
        Ok(())
    }

    fn current_file(&self) -> String {
        format!("{}{}", self.path, part_name(self.read / self.part_bytes, self.suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes into the folder `x` of a bundle.
    fn written(bytes: &[u8], part_bytes: u64) -> (tempfile::TempDir, Arc<Folder>) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = PartsWriter::with_part_bytes(&dir.path().join("x"), ".y", part_bytes);
        for (i, chunk) in bytes.chunks(3).enumerate() {
            writer.write(chunk).expect("written");
            if i % 2 == 0 {
                writer.close().expect("closed");
            }
        }
        writer.sync().expect("synced");
        assert_eq!(writer.len(), bytes.len() as u64);
        let root = Folder::open_root(dir.path()).expect("opened");
        (dir, Arc::new(root))
    }

    fn reader(root: &Arc<Folder>, len: u64) -> Result<PartsReader, Error> {
        PartsReader::with_part_bytes(root, "x/".into(), ".y", len, 8)
    }

    #[test]
    fn parts_read_back_as_one_sequence() {
        for len in 0..40_usize {
            let bytes: Vec<u8> = (0..len as u8).collect();
            let (dir, root) = written(&bytes, 8);
            let parts = std::fs::read_dir(dir.path().join("x")).map_or(0, Iterator::count);
            assert_eq!(parts, len.div_ceil(8));
            for step in 1..12 {
                let mut reader = reader(&root, len as u64).expect("complete");
                let mut back = Vec::new();
                while !reader.is_at_end() {
                    let now = step.min(len - back.len());
                    back.extend_from_slice(reader.take(now, "item").expect("there"));
                    if back.len() % 5 == 0 {
                        let position = reader.position();
                        reader = PartsReader::at(&root, "x/".into(), ".y", len as u64, 8, position);
                    }
                }
                assert_eq!(back, bytes);
                assert!(reader.take(1, "item").is_err());
            }
        }
    }

    #[test]
    fn part_of_another_length_is_refused_by_name() {
        let (dir, root) = written(&[7; 20], 8);
        for (len, named) in [(19, "x/000002.y"), (21, "x/000002.y"), (16 + 8 + 1, "x/000002.y"), (4, "x/000000.y")] {
            let error = reader(&root, len).err().expect("another length");
            assert!(error.to_string().starts_with(named), "{error}");
        }
        std::fs::remove_file(dir.path().join("x/000001.y")).expect("removed");
        let error = reader(&root, 20).err().expect("a part is missing");
        assert_eq!(error.to_string(), "x/000001.y: is missing");
    }

    #[test]
    fn item_longer_than_the_files_reserves_no_memory() {
        let (_dir, root) = written(&[7; 20], 8);
        let mut reader = reader(&root, 20).expect("complete");
        let error = reader.take(usize::MAX, "record").expect_err("too long");
        assert!(error.to_string().starts_with("x/000000.y: byte 0: a record"), "{error}");
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[test]
    fn a_long_item_does_not_keep_its_memory() {
        let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
        let (_dir, root) = written(&bytes, 1 << 20);
        let open = || PartsReader::with_part_bytes(&root, "x/".into(), ".y", bytes.len() as u64, 1 << 20);
        let mut reader = open().expect("complete");
        let long = bytes.len() - 10;
        assert_eq!(reader.take(long, "item").expect("there"), &bytes[..long]);
        reader.shrink();
        assert!(reader.buffer.capacity() <= BUFFER_BYTES);
        assert_eq!(reader.take(10, "item").expect("there"), &bytes[long..]);
    }

    #[test]
    fn names_of_parts_have_one_spelling() {
        assert!(is_part("000000.y", ".y", 1));
        assert!(is_part("000001.y", ".y", PART_BYTES + 1));
        for name in ["000000.y", "000001.y"] {
            assert!(!is_part(name, ".y", 0));
        }
        for name in ["000001.y", "0.y", "0000000.y", "+00000.y", "000000", "000000.x", ".y", ""] {
            assert!(!is_part(name, ".y", 1), "{name:?}");
        }
    }
}
