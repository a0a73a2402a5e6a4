mod batches;
mod heads;
mod runs;

pub use batches::{BatchReader, Position};
pub use heads::HeadsReader;
pub use runs::RunReader;

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::folder::Folder;
use crate::manifest::{MANIFEST, MANIFEST_BYTES_MAX, Manifest};
use crate::parts::{PartsReader, is_part};
use crate::writer::stream_folder;

/// The longest checkpoint, in bytes: the limit of a note.
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024;

/// The longest `heads`, in bytes.
const HEADS_BYTES_MAX: u64 = 256 << 20;

/// Reads a bundle from an untrusted source.
///
/// It needs memory for the manifest (at most 65,536 streams) and one run of entries. For each stream that is being read
/// it needs two buffers of 128 KiB, or of the longest event.
pub struct Reader {
    root: Arc<Folder>,
    manifest: Manifest,
}

impl Reader {
    /// Opens a bundle. Checks that exactly the files of its manifest are there, with their lengths.
    ///
    /// # Errors
    /// [`Error`] when a file is absent, unknown, unreadable or malformed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let root = Arc::new(Folder::open_root(path)?);
        let manifest = Manifest::parse(&root.read(MANIFEST, MANIFEST_BYTES_MAX)?)?;
        let reader = Self { root, manifest };
        reader.check_files()?;
        Ok(reader)
    }

    /// The bundle's table of contents.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of the checkpoint's signed note.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read or is too long.
    pub fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        self.root.read("checkpoint", CHECKPOINT_BYTES_MAX)
    }

    /// The heads lines. `None` when the bundle has no such file.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be opened.
    pub fn heads(&self) -> Result<Option<HeadsReader>, Error> {
        let Some(wanted) = self.manifest.heads_bytes else { return Ok(None) };
        let (file, _) = self.root.file("heads")?;
        Ok(Some(HeadsReader::new(file, wanted)))
    }

    /// The runs of entries, from the first.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be opened.
    pub fn runs(&self) -> Result<RunReader, Error> {
        Ok(RunReader::new(PartsReader::open(&self.root, "entries/".into(), "", self.manifest.entries_bytes)?))
    }

    /// The batches of a stream, from the first.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be opened.
    ///
    /// # Panics
    /// If the manifest has no stream with this index.
    pub fn batches(&self, stream: usize) -> Result<BatchReader, Error> {
        let range = &self.manifest.streams[stream];
        let path = format!("streams/{}/", stream_folder(stream));
        let leaves = PartsReader::open(&self.root, path.clone(), ".leaves", range.leaves_bytes)?;
        let events = PartsReader::open(&self.root, path, ".events", range.events_bytes)?;
        Ok(BatchReader::new(leaves, events))
    }

    /// The batches of a stream, from the batch whose frames begin at a position up to `to`. If the files are shorter,
    /// reading ends early.
    ///
    /// # Panics
    /// If the manifest has no stream with this index.
    pub fn batches_from(&self, stream: usize, from: Position, to: Option<Position>) -> BatchReader {
        let range = &self.manifest.streams[stream];
        let path = format!("streams/{}/", stream_folder(stream));
        let len = |len: u64, to: Option<u64>| to.map_or(len, |to| to.min(len));
        let (leaves, events) =
            (len(range.leaves_bytes, to.map(|to| to.leaves)), len(range.events_bytes, to.map(|to| to.events)));
        let leaves = PartsReader::resume(&self.root, path.clone(), ".leaves", leaves, from.leaves);
        let events = PartsReader::resume(&self.root, path, ".events", events, from.events);
        BatchReader::new(leaves, events)
    }

    fn check_files(&self) -> Result<(), Error> {
        let Manifest { entries_bytes, heads_bytes, streams, .. } = &self.manifest;
        let has_files = |i: usize| streams.get(i).is_some_and(|s| s.leaves_bytes > 0 || s.events_bytes > 0);
        let has_streams = (0..streams.len()).any(has_files);
        self.root.check_names(|name| match name {
            MANIFEST | "checkpoint" => true,
            "entries" => *entries_bytes > 0,
            "heads" => heads_bytes.is_some(),
            "streams" => has_streams,
            _ => false,
        })?;
        self.root.file("checkpoint")?;
        self.check_heads()?;
        if *entries_bytes > 0 {
            self.root.folder("entries")?.check_names(|name| is_part(name, "", *entries_bytes))?;
            self.runs()?;
        }
        if !has_streams {
            return Ok(());
        }
        let folder = self.root.folder("streams")?;
        folder.check_names(|name| name.parse().is_ok_and(|i: usize| stream_folder(i) == name && has_files(i)))?;
        for (i, stream) in streams.iter().enumerate().filter(|(i, _)| has_files(*i)) {
            folder.folder(&stream_folder(i))?.check_names(|name| {
                is_part(name, ".leaves", stream.leaves_bytes) || is_part(name, ".events", stream.events_bytes)
            })?;
            self.batches(i)?;
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<(), Error> {
        let Some(wanted) = self.manifest.heads_bytes else { return Ok(()) };
        if wanted > HEADS_BYTES_MAX {
            return Err(Error::malformed(MANIFEST, format!("`heads` has more than {HEADS_BYTES_MAX} bytes")));
        }
        let (_, found) = self.root.file("heads")?;
        if found != wanted {
            let problem = format!("{found} bytes, the manifest gives {wanted}");
            return Err(Error::malformed("heads", problem));
        }
        Ok(())
    }
}
