//! Bundles: plain folders that let someone verify events offline.
//!
//! A bundle carries evidence and no authority. The verifier hashes what it reads and compares it with what the auditor
//! brings. This crate only makes it safe to read hostile input, in memory that does not grow with the bundle.
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
//! SPEC.md section 12 defines each file. The manifest gives the length of every file but `checkpoint`, so the reader
//! notices a truncated or continued file before it reads it.

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
