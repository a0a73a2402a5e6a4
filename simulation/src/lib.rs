//! Sealing and committing in a world where everything fails, by seed.
//!
//! A world holds the real step of each stream (`ingest_consumer::stream`) and the real parts of two committers
//! (appender, signer, publisher, watcher, and what serves requests), on one thread. Around them all is made up and moved
//! by chance: the clocks, the network, a database in memory that keeps the contract of `committer::store` and no more, the
//! topic that is sealed and the topic of commitments. After every step the model compares what is stored, signed,
//! acknowledged and published with the promises of ARCHITECTURE.md, and in the end all trouble stops and everything must
//! come to its goal.
//!
//! A seed always makes the same world. [`Simulator::run`] runs one; the binary runs many.

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
mod seats;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use counts::Counts;
pub use defect::Defect;

use executor::Timer;
use world::World;

/// A thread's worlds, one after another.
pub struct Simulator {
    keys: ledger::Keys,
    folder: tempfile::TempDir,
}

/// A world in which something went wrong.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
    /// What happened, step by step.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        let seed = self.seed;
        write!(f, "again: cargo run --release --locked --package simulation -- 1 --first {seed}")
    }
}

impl Default for Simulator {
    fn default() -> Self {
        evidence::memo::remember_signatures_made();
        // The synced file should cost a copy in memory, not a disk's time.
        let named = || tempfile::Builder::new().prefix("streamseal-simulation-").to_owned();
        let folder = named().tempdir_in("/dev/shm").or_else(|_| named().tempdir());
        let folder = folder.expect("a folder for the high-water file");
        Self { keys: ledger::Keys::new(), folder }
    }
}

impl Simulator {
    /// Runs the world of a seed, with a part that is broken or none.
    ///
    /// # Errors
    /// What went wrong, with the trace of a second run.
    pub fn run(&mut self, seed: u64, defect: Option<Defect>) -> Result<Counts, Box<Failure>> {
        self.once(seed, defect, false).map(|(counts, _)| counts).map_err(|(what, _)| {
            let again = self.once(seed, defect, true);
            let (again, trace) = again.err().unwrap_or_else(|| ("nothing: it does not repeat".to_owned(), Vec::new()));
            let what = if again == what { what } else { format!("{what}; the second time {again}") };
            Box::new(Failure { seed, what, trace })
        })
    }

    /// What happens in the world of a seed, step by step.
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
        // A clock of its own, that begins at 0: what the runtime rounds must not depend on the worlds before.
        let timer = Timer::default();
        let _context = timer.enter();
        let mut world = World::new(seed, defect, traced, &timer, &self.keys, self.folder.path());
        // A panic in the code under test is a finding like any other.
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        let trace = world.take_trace();
        match result {
            Ok(Ok(())) => Ok((std::mem::take(&mut world.counts), trace)),
            Ok(Err(what)) => Err((what, trace)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err((format!("panic: {}", text.unwrap_or_default()), trace))
            }
        }
    }
}
