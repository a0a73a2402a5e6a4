//! Random interleavings of a topic, a committer and processes that crash, against the promises of the design: coverage
//! is exact, what is sealed is what was in the log, and what was sealed is never changed unnoticed.
//!
//! The committer decides by `evidence::chain::State`, with real signatures. A failing seed is printed; give it to
//! [`World::run`] in a test of its own.

mod topic;
mod world;

use evidence::{Statement, batch};

use super::*;
use world::{Misfortune, World};

/// Enough for every kind of interleaving to come up; the whole takes a few seconds.
const SEEDS: u64 = 200;

fn simulate(misfortune: Misfortune) {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, misfortune);
            world.run();
            world.settle();
            world
        });
        let world = run.unwrap_or_else(|_| panic!("{misfortune:?} with seed {seed}"));
        check(&world, seed);
    }
}

/// The chain's rules made sure that the ranges are contiguous; this compares them with the log.
fn check(world: &World, seed: u64) {
    let newest_epoch = world.cursor().epoch;
    for entry in world.ledger.entries() {
        let statement = entry.statement.statement();
        // What was sealed before the operator began a new epoch may be what was lost.
        if world.misfortune == Misfortune::Truncated && statement.stream().is_some_and(|s| s.epoch < newest_epoch) {
            continue;
        }
        match statement {
            Statement::Summary(summary) => {
                let leaves = world.topic_of(&summary.topic_id).leaves(summary.first..summary.next);
                assert_eq!(summary.events, leaves.len() as u64, "seed {seed}: {summary:?}");
                assert_eq!(summary.root, batch::root(&leaves), "seed {seed}: {summary:?}");
            }
            Statement::Gap(gap) => assert!(gap.next <= world.topic_of(&gap.topic_id).low, "seed {seed}: {gap:?}"),
            _ => {}
        }
    }
    assert_eq!(world.cursor().next, world.topic().stable, "seed {seed}: all is sealed in the end");
}

#[test]
fn crashes_rivals_delays_and_repeats_leave_coverage_exact() {
    simulate(Misfortune::None);
}

#[test]
fn a_recreated_topic_is_never_mixed_with_the_old_one() {
    simulate(Misfortune::Recreated);
}

#[test]
fn a_log_cut_off_below_the_cursor_never_goes_unnoticed() {
    simulate(Misfortune::Truncated);
}
