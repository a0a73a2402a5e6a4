use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use evidence::statement::HeadsLine;
use evidence::{Hash, LeafPreimage, StreamId};

use crate::frame::{Event, frame_header, record_header};
use crate::manifest::{MANIFEST, Manifest, StreamRange};
use crate::parts::PartsWriter;
use crate::run::Run;
use crate::{CONTENT_BYTES_MAX, Error, STREAMS_MAX};

/// The most streams with open files at once.
const OPEN_STREAMS_MAX: usize = 32;

/// Writes a bundle beside its target and moves it there when it is complete and durable.
///
/// Runs must come in the order of their seqs, and so must the batches of a stream. Streams may take turns. A writer
/// that is dropped before [`Writer::finish`] removes its files.
pub struct Writer {
    target: PathBuf,
    /// The folder that becomes the target. `None` once it has.
    folder: Option<PathBuf>,
    origin: String,
    genesis: Hash,
    heads_bytes: Option<u64>,
    entries: PartsWriter,
    streams: Vec<Stream>,
    open: BTreeSet<usize>,
}

struct Stream {
    id: StreamId,
    offsets: Range<u64>,
    leaves: PartsWriter,
    events: PartsWriter,
}

impl Writer {
    /// Begins a bundle of the ledger with this origin and this SHA-256 of the genesis text. `checkpoint` is the signed
    /// note against which its entries are proven. `streams` are sorted. [`Writer::batch`] names a stream by its index
    /// in them.
    ///
    /// # Errors
    /// When `target` already exists, when the streams are too many or not strictly ascending, when a range ends before
    /// it begins, and when the system returns an error.
    pub fn create(
        target: &Path,
        origin: &str,
        genesis: Hash,
        checkpoint: &[u8],
        streams: Vec<(StreamId, Range<u64>)>,
    ) -> Result<Self, Error> {
        let unfit = |problem: &str| Err(Error::malformed(MANIFEST, problem));
        if streams.len() > STREAMS_MAX {
            return unfit("more than 65,536 streams");
        }
        if !streams.is_sorted_by(|a, b| a.0 < b.0) {
            return unfit("the streams are not in strictly ascending order");
        }
        if streams.iter().any(|(_, offsets)| offsets.start > offsets.end) {
            return unfit("a range ends before it begins");
        }
        if target.symlink_metadata().is_ok() {
            return Err(Error::io(target.display().to_string())(io::ErrorKind::AlreadyExists.into()));
        }
        let folder = beside(target)?;
        fs::create_dir(&folder).map_err(Error::io(folder.display().to_string()))?;
        let stream = |(i, (id, offsets))| {
            let folder = folder.join("streams").join(stream_folder(i));
            let leaves = PartsWriter::new(&folder, ".leaves");
            let events = PartsWriter::new(&folder, ".events");
            Stream { id, offsets, leaves, events }
        };
        let writer = Self {
            target: target.to_owned(),
            origin: origin.to_owned(),
            genesis,
            heads_bytes: None,
            entries: PartsWriter::new(&folder.join("entries"), ""),
            streams: streams.into_iter().enumerate().map(stream).collect(),
            open: BTreeSet::new(),
            folder: Some(folder),
        };
        writer.file("checkpoint", |file| file.write_all(checkpoint))?;
        Ok(writer)
    }

    /// Writes the lines under the newest heads statement, sorted as under the statement.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn heads(&mut self, lines: impl IntoIterator<Item = HeadsLine>) -> Result<(), Error> {
        let mut bytes = 0;
        self.file("heads", |file| {
            for line in lines {
                let line = format!("{line}\n");
                file.write_all(line.as_bytes())?;
                bytes += line.len() as u64;
            }
            Ok(())
        })?;
        self.heads_bytes = Some(bytes);
        Ok(())
    }

    /// Appends a run of entries.
    ///
    /// # Errors
    /// When it has no entry or too many, when an entry has more than 65,535 bytes, and when the system returns an
    /// error.
    pub fn run(&mut self, run: &Run) -> Result<(), Error> {
        self.entries.write(&run.encode()?)
    }

    /// Appends the batch that entry `seq` seals. `leaf_index` is that of the whole batch, empty if none was kept.
    /// `events` are those in the stream's range that still exist.
    ///
    /// # Errors
    /// When a length does not fit its field, and when the system returns an error.
    ///
    /// # Panics
    /// If there is no stream with this index.
    pub fn batch(
        &mut self,
        stream: usize,
        seq: u64,
        leaf_index: &[LeafPreimage],
        events: &[Event<'_>],
    ) -> Result<(), Error> {
        self.make_room(stream)?;
        let Stream { leaves: leaves_file, events: events_file, .. } = &mut self.streams[stream];
        leaves_file.write(&frame_header(seq, count(leaf_index)?))?;
        for preimage in leaf_index {
            leaves_file.write(&preimage.to_bytes())?;
        }
        events_file.write(&frame_header(seq, count(events)?))?;
        for event in events {
            let len = u32::try_from(event.content.len()).ok().filter(|&len| len <= CONTENT_BYTES_MAX);
            let len = len.ok_or_else(|| {
                let problem = format!("offset {}: the event has {} bytes, too many", event.offset, event.content.len());
                Error::malformed(format!("streams/{}", stream_folder(stream)), problem)
            })?;
            events_file.write(&record_header(event, len))?;
            events_file.write(event.content)?;
        }
        Ok(())
    }

    /// Writes the manifest, makes everything durable and moves it to the target.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be written, synced or moved.
    pub fn finish(mut self) -> Result<(), Error> {
        self.entries.sync()?;
        let mut streams = Vec::with_capacity(self.streams.len());
        for stream in &mut self.streams {
            stream.leaves.sync()?;
            stream.events.sync()?;
            streams.push(StreamRange {
                stream: stream.id.clone(),
                offsets: stream.offsets.clone(),
                leaves_bytes: stream.leaves.len(),
                events_bytes: stream.events.len(),
            });
        }
        let manifest = Manifest {
            origin: self.origin.clone(),
            genesis: self.genesis,
            entries_bytes: self.entries.len(),
            heads_bytes: self.heads_bytes,
            streams,
        };
        self.file(MANIFEST, |file| file.write_all(manifest.encode().as_bytes()))?;
        let folder = self.folder.as_deref().expect("is there until the end");
        sync_folders(folder)?;
        let replace = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(rustix::fs::CWD, folder, rustix::fs::CWD, &self.target, replace)
            .map_err(|e| Error::io(self.target.display().to_string())(e.into()))?;
        self.folder = None;
        let parent = parent(&self.target);
        File::open(parent).and_then(|f| f.sync_all()).map_err(Error::io(parent.display().to_string()))
    }

    /// Writes and syncs one file in the bundle's folder.
    fn file(&self, name: &str, write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
        let path = self.folder.as_deref().expect("is there until the end").join(name);
        let written = || {
            let mut file = io::BufWriter::new(File::create_new(&path)?);
            write(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        };
        written().map_err(Error::io(path.display().to_string()))
    }

    /// Keeps the number of open files bounded.
    fn make_room(&mut self, stream: usize) -> Result<(), Error> {
        if self.open.insert(stream) && self.open.len() > OPEN_STREAMS_MAX {
            for other in std::mem::take(&mut self.open) {
                self.streams[other].leaves.close()?;
                self.streams[other].events.close()?;
            }
            self.open.insert(stream);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // `drop` cannot report an error. At worst a hidden folder stays beside the target.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The name of a stream's folder.
pub(crate) fn stream_folder(index: usize) -> String {
    format!("{index:06}")
}

fn count<T>(items: &[T]) -> Result<u32, Error> {
    u32::try_from(items.len()).map_err(|_| Error::malformed("streams", "a batch of more than 2^32-1 events"))
}

/// The folder in which the bundle is made. It is beside the target, so that a rename can move it.
fn beside(target: &Path) -> Result<PathBuf, Error> {
    let name = target.file_name().ok_or_else(|| Error::malformed(target.display().to_string(), "names no folder"))?;
    let name = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
    Ok(parent(target).join(name))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder and in all folders below it durable.
fn sync_folders(folder: &Path) -> Result<(), Error> {
    let io_error = || Error::io(folder.display().to_string());
    for entry in fs::read_dir(folder).map_err(io_error())? {
        let entry = entry.map_err(io_error())?;
        if entry.file_type().map_err(io_error())?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error())
}
