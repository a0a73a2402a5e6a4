//! Appends signed statements to the chain, signs checkpoints, serves and publishes the log.

pub mod store;
