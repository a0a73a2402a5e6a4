//! What tests of the whole line share: ledgers with their services, and what forgers do to bundles and clones.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod commitments;
pub(crate) mod forge;
pub(crate) mod history;
pub(crate) mod ledger;
