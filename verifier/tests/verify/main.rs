//! The verifier through its public interface: ledgers made in memory, honest and forged.

mod anchors;
mod chain;
mod command;
mod common;
mod events;
mod hostile;
mod pin;
mod proven;
