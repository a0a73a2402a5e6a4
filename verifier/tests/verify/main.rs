//! The verifier through its public interface: ledgers made in memory, honest and forged.
#![allow(clippy::single_range_in_vec_init, reason = "ranges of offsets are what is compared")]
#![allow(clippy::type_complexity, reason = "lists of ways to forge something")]

mod absent;
mod anchors;
mod chain;
mod command;
mod common;
mod cosignatures;
mod event_proofs;
mod events;
mod forgery;
mod freshness;
mod heads;
mod hidden;
mod hostile;
mod large;
mod pin;
mod proven;
mod references;
mod repositories;
mod tables;
mod vectors;
