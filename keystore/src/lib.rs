//! Key files and the synced state files beside them.
//!
//! A signer keeps two things on its own disk: its key, and the largest head it ever signed. This crate writes both so
//! that they survive a crash at any instant. A damaged file is an error, and never taken for an absent one.

mod error;
mod high_water;
mod key_file;
mod synced;

pub use error::Error;
pub use high_water::HighWater;
pub use key_file::{check_private, generate, read_secret, read_signing_key, write_signing_key};
pub use synced::{open_regular, read_capped, write_synced};
