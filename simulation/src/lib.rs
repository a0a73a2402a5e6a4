//! Runs sealing and committing in a world where everything fails, by seed.
//!
//! A world runs the real step of each stream (`ingest_consumer::stream`) and the real parts of two committers
//! (appender, signer, publisher, watcher, request handlers), on one thread. Everything around them is simulated and
//! moves at random: clocks, network, the sealed topic, the topic of commitments, and a database in memory that keeps
//! exactly the contract of `committer::store`.
//!
//! After every step, a model compares what is stored, signed, acknowledged and published with the promises of
//! ARCHITECTURE.md. At the end all disruptions stop, and everything must be sealed, signed and published.
//!
//! A seed always makes the same world. [`Simulator::run`] runs one; the binary runs many.

mod assignments;
mod commitments;
mod committers;
mod counts;
mod defect;
mod executor;
mod kafka;
mod ledger;
mod link;
mod model;
mod network;
mod plan;
mod random;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use counts::Counts;
pub use defect::Defect;

use executor::Timer;
use world::World;

/// Runs the worlds of one thread, one after another.
pub struct Simulator {
    keys: ledger::Keys,
    folder: tempfile::TempDir,
}

/// A world in which a promise was broken.
#[derive(Debug)]
pub struct Finding {
    /// The seed of the world.
    pub seed: u64,
    /// The broken promise.
    pub problem: String,
    /// All events, step by step.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "seed {}: {}", self.seed, self.problem)?;
        let seed = self.seed;
        write!(f, "run it again: cargo run --release --locked --package simulation -- 1 --first {seed}")
    }
}

impl Default for Simulator {
    fn default() -> Self {
        evidence::memo::remember_signatures_made();
        // In memory, so that syncing the file costs no disk time.
        let named = || tempfile::Builder::new().prefix("streamseal-simulation-").to_owned();
        let folder = named().tempdir_in("/dev/shm").or_else(|_| named().tempdir());
        let folder = folder.expect("a folder for the high-water file");
        Self { keys: ledger::Keys::new(), folder }
    }
}

impl Simulator {
    /// Runs the world of a seed, optionally with a deliberate defect.
    ///
    /// # Errors
    /// The broken promise, with the trace of a second run.
    pub fn run(&mut self, seed: u64, defect: Option<Defect>) -> Result<Counts, Box<Finding>> {
        self.once(seed, defect, false).map(|(counts, _)| counts).map_err(|(problem, _)| {
            let second = self.once(seed, defect, true);
            let (second, trace) = second.err().unwrap_or_else(|| ("no problem".to_owned(), Vec::new()));
            let problem = if second == problem {
                problem
            } else {
                format!("{problem}; the second run does not repeat it: {second}")
            };
            Box::new(Finding { seed, problem, trace })
        })
    }

    /// All events in the world of a seed, step by step.
    pub fn trace(&mut self, seed: u64) -> Vec<String> {
        match self.once(seed, None, true) {
            Ok((_, trace)) | Err((_, trace)) => trace,
        }
    }

    fn once(
        &mut self,
        seed: u64,
        defect: Option<Defect>,
        traced: bool,
    ) -> Result<(Counts, Vec<String>), (String, Vec<String>)> {
        // A new clock that begins at 0: the rounding of the runtime must not depend on earlier worlds.
        let timer = Timer::default();
        let _context = timer.enter();
        let mut world = World::new(seed, defect, traced, &timer, &self.keys, self.folder.path());
        // A panic in the code under test is a finding too.
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        let trace = world.take_trace();
        match result {
            Ok(Ok(())) => Ok((std::mem::take(&mut world.counts), trace)),
            Ok(Err(problem)) => Err((problem, trace)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err((format!("panic: {}", text.unwrap_or_default()), trace))
            }
        }
    }
}
