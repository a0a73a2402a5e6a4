//! The scenarios, each with what is done and what must come of it.

mod broker;
mod clones;
mod comparison;
mod connections;
mod database;
mod disks;
mod erasure;
mod everything;
mod members;
mod remotes;
mod services;
mod storm;
mod topics;

use crate::run::Scenario;

/// All of them, in the order of the report.
pub(crate) fn all() -> Vec<Scenario> {
    let groups = [
        services::SCENARIOS,
        members::SCENARIOS,
        everything::SCENARIOS,
        storm::SCENARIOS,
        broker::SCENARIOS,
        topics::SCENARIOS,
        erasure::SCENARIOS,
        database::SCENARIOS,
        connections::SCENARIOS,
        remotes::SCENARIOS,
        clones::SCENARIOS,
        disks::SCENARIOS,
        comparison::SCENARIOS,
    ];
    groups.into_iter().flatten().copied().collect()
}
