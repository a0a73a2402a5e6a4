//! Appends signed statements to the chain, signs checkpoints, serves and publishes the log.

mod appender;
mod chain;
mod changes;
mod replay;
mod signer;
pub mod store;

use std::sync::Arc;

use changes::Changes;
use signer::Verdict;

/// Milliseconds since 1970 by the clock of this machine.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
