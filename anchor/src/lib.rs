//! The anchor: proves the chain's head consistent with all it ever cosigned, cosigns it and publishes it in Git.
//!
//! It reads the committer over HTTP (C2SP tlog-tiles) and trusts nothing that it reads. Each anchor is a commit on a
//! branch of its own repository, `logs/<hex SHA-256 of origin>/checkpoint` and `.../consistency`, and is pushed from
//! there to every remote. A remote is only ever fast-forwarded; one that holds something else is an incident for people.

mod address;
mod adopt;
mod anchored;
mod blocking;
mod config;
mod decide;
mod foreign;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod incidents;
mod known_hosts;
mod libgit2;
mod log;
mod metrics;
mod network;
mod newest;
mod pack;
mod path_remote;
mod publisher;
mod push;
mod remote;
mod repository;
mod run;
mod seen;
mod state;
mod witness;
mod witnesses;

use std::time::{SystemTime, UNIX_EPOCH};

pub use adopt::{Source, adopt};
pub use config::{Config, Remote, Witness};
pub use metrics::METRICS;
pub use newest::newest_checkpoint;
pub use run::run;

/// The system clock, in seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
