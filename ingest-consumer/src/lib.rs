//! Batches, hashes, signs and submits the events of each partition.

mod cursor;
mod delay;
mod halt;
mod place;
pub mod stream;

pub use halt::Halt;

#[cfg(test)]
#[path = "../tests/support/ledger.rs"]
mod ledger;
