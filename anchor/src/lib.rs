//! The anchor proves that the chain's head continues all that it ever cosigned. Then it cosigns the head and publishes
//! it in Git.
//!
//! It reads the committer over HTTP (C2SP tlog-tiles) and trusts nothing that it reads. Each anchor is a commit on a
//! branch of its own repository with two files, `logs/<hex SHA-256 of origin>/checkpoint` and `.../consistency`. From
//! there it is pushed to every remote, always as a fast-forward. A remote that holds something else is an incident: a
//! person must look at it.

mod address;
mod adopt;
mod anchor;
mod blocking;
mod config;
mod decide;
mod fork_check;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod git_options;
mod incidents;
mod known_hosts;
mod last_seen;
mod log;
mod maker;
mod metrics;
mod network_remote;
mod newest_checkpoint;
mod pack;
mod pack_list;
mod path_remote;
mod publisher;
mod push;
mod remote;
mod reporter;
mod repository;
mod run;
mod state;
mod sync_error;
mod witness;
mod witnesses;

use std::time::{SystemTime, UNIX_EPOCH};

pub use adopt::{Source, adopt};
pub use config::{Config, Remote, Witness};
pub use metrics::METRICS;
pub use newest_checkpoint::newest_checkpoint;
pub use run::run;

/// The system clock, in seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
