//! What every service needs besides its work: shutdown, backoff, health, metrics, the admin listener, configuration, logs.

pub mod admin;
mod backoff;
mod condition;
pub mod config;
mod health;
pub mod logging;
pub mod metrics;

pub use backoff::Backoff;
pub use condition::Condition;
pub use health::{Component, Health};
/// Tells the tasks of a process to end. Cancel it once, and everything that holds a clone notices.
pub use tokio_util::sync::CancellationToken as Shutdown;
