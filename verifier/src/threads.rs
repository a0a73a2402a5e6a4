//! The number of threads to work with.

use std::thread;

/// The number of threads that this machine runs at once.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
