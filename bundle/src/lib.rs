//! Bundles: plain folders that let someone verify events offline.
//!
//! A bundle carries evidence and no authority. The verifier hashes what it reads and compares it with what the auditor
//! brings. The rules below only make it safe to read hostile input, in memory that does not grow with the bundle.
//!
//! # Example
//!
//! ```
//! use bundle::{Reader, Writer};
//! use evidence::sha256;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("bundle");
//! Writer::create(&path, "example.com/audit", sha256(b"genesis"), b"a signed note", vec![])?.finish()?;
//!
//! let reader = Reader::open(&path)?;
//! assert_eq!(reader.checkpoint()?, b"a signed note");
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! ```text
//! manifest
//! checkpoint
//! heads                           when the manifest gives its length
//! entries/000000 000001 ...
//! streams/000000/000000.leaves 000001.leaves ...
//! streams/000000/000000.events 000001.events ...
//! streams/000001/...
//! ```
//!
//! Only these files are there, each a regular file and no link; a folder is there when a file is in it. The `entries`,
//! and each stream's `.leaves` and `.events`, are one sequence of bytes cut into parts of exactly 2^30 bytes, the last
//! one shorter but not empty; parts are numbered from `000000`. A sequence of 0 bytes has no part. Lengths are known
//! from the manifest, so that a truncated or continued file is noticed before it is read. Binary numbers are
//! big-endian.
//!
//! # `manifest`
//!
//! Text, each line ended by a newline, numbers in decimal without leading zeros, hashes in padded base64:
//!
//! ```text
//! streamseal/bundle@v1
//! origin <origin>
//! genesis <SHA-256 of the genesis text>
//! entries <length of the entries in bytes>
//! heads <length of heads in bytes, or ->
//! streams <number of stream lines>
//! stream <cluster> <topic> <partition> <epoch> <from> <to> <length of .leaves> <length of .events>
//! ```
//!
//! The stream lines are strictly ascending by cluster and topic (bytewise), partition and epoch (as numbers); line `i`
//! (from 0) describes folder `streams/<i as six digits>`. There are at most 65,536. A stream line means: this bundle
//! holds the events of the stream with `from <= offset < to`, as far as they still exist.
//!
//! # `checkpoint`
//!
//! The signed note of one checkpoint with its cosignatures, at most 64 KiB. All entries are proven against it.
//!
//! # `heads`
//!
//! The lines under the newest heads statement in `entries`, in their order, each ended by a newline; at most 256 MiB.
//!
//! # `entries`
//!
//! Runs of consecutive entries, ascending and without overlap:
//!
//! ```text
//! u64  seq of the first entry
//! u32  number of entries, 1 to 1024
//! u8   number L of hashes that follow: the roots of the complete subtrees that cover the leaves before the run,
//!      left to right, largest first, as RFC 6962 splits a tree of that many leaves; 0 when the run begins at 0
//! L x 32 bytes
//! u8   number R of hashes that follow: the roots of the complete subtrees that cover the leaves after the run up to
//!      the checkpoint's size, left to right, each as large as alignment and the size allow
//! R x 32 bytes
//! per entry: u16 length, then the entry's bytes (as in a C2SP tlog-tiles entry bundle)
//! ```
//!
//! Left hashes, the entries' leaf hashes and right hashes fold to the checkpoint's root. Any entries may be there;
//! needed for a proof are: entry 0 and all key entries; of each stream every summary and gap that meets `[from, to)`,
//! and every epoch entry of its partition up to its epoch; the newest heads entry; the last entry below the
//! checkpoint's size, whose `keys` line shows that no key entry is missing.
//!
//! # `.leaves` and `.events`
//!
//! One frame in each for every summary in `entries` that is of the stream, meets `[from, to)` and has an event, in the
//! order of their seqs:
//!
//! ```text
//! .leaves  u64 seq, u32 count, then count leaf preimages of 64 bytes (the batch's leaf index): the whole batch, also
//!          outside of [from, to); or count 0 when no leaf index was kept
//! .events  u64 seq, u32 count, then count records:
//!          i64 offset, i64 timestamp in milliseconds, u8 timestamp type, u32 length, the unpadded content preimage
//! ```
//!
//! Records lie in `[from, to)` and ascend by offset. An event that no longer exists (expired, compacted, erased) has no
//! record; its leaf preimage stays, and what remains can still be verified. A content preimage has at most 2^30 bytes.

#![warn(clippy::missing_errors_doc, rustdoc::broken_intra_doc_links)]

mod error;
mod folder;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod manifest;
mod parts;
mod reader;
mod run;
mod writer;

pub use error::Error;
pub use frame::Event;
pub use manifest::{Manifest, StreamRange};
pub use reader::{BatchReader, HeadsReader, Position, Reader, RunReader};
pub use run::{ENTRIES_PER_RUN_MAX, Run};
pub use writer::Writer;

/// The longest content preimage of one event, in bytes.
pub const CONTENT_BYTES_MAX: u32 = 1 << 30;

/// The most streams in one bundle.
pub const STREAMS_MAX: usize = 65_536;
