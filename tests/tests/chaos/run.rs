//! A scenario, and the record of its runs.

use std::time::Duration;

use testbed::Scratch;

use testbed::ledger::Verification;

/// A scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// The fault that it injects.
    pub(crate) fault: &'static str,
    /// The expected behaviour, besides that nothing is lost, doubled or falsely proven.
    pub(crate) expected: &'static str,
    /// Whether it runs in `./test`.
    pub(crate) quick: bool,
    pub(crate) play: fn(&mut Run),
}

/// One run of a scenario.
pub(crate) struct Run {
    pub(crate) scenario: &'static str,
    pub(crate) folder: Scratch,
    pub(crate) record: Record,
}

/// The counts and verdicts of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// Number of injected faults.
    pub(crate) faults: u64,
    pub(crate) tally: Tally,
    /// The slowest recovery.
    pub(crate) recovery: Option<Recovery>,
    /// The verdicts, each with its subject.
    pub(crate) verdicts: Vec<String>,
}

/// Times since the end of a fault.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recovery {
    /// Until an entry covers the first event produced after it.
    pub(crate) first: Duration,
    /// Until all produced events are sealed.
    pub(crate) all: Duration,
}

/// Numbers of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged by the broker.
    pub(crate) produced: u64,
    /// Covered by summaries, by their counts.
    pub(crate) sealed: u64,
    /// Destroyed in Kafka by the scenario itself.
    pub(crate) destroyed: u64,
    /// Neither destroyed nor proven.
    pub(crate) lost: u64,
    /// Offsets covered twice, and events twice in the evidence.
    pub(crate) doubled: u64,
    /// Proven, but different from the produced event.
    pub(crate) falsely_proven: u64,
}

impl Run {
    /// Prints what happens, with the name of the scenario.
    pub(crate) fn say(&self, what: &str) {
        println!("{}: {what}", self.scenario);
    }

    /// Counts and prints a fault.
    pub(crate) fn fault(&mut self, what: &str) {
        self.record.faults += 1;
        self.say(what);
    }

    /// Records and prints a verdict.
    pub(crate) fn verdict(&mut self, what: &str, verdict: &Verification) {
        let said = verdict.report["verdict"].as_str().unwrap_or("?");
        self.say(&format!("{what}: {said}"));
        self.record.keep(format!("{what}: {said}"));
    }

    /// Keeps the slowest recovery.
    pub(crate) fn recovered(&mut self, recovery: Recovery) {
        let worst = self.record.recovery.get_or_insert_default();
        worst.first = worst.first.max(recovery.first);
        worst.all = worst.all.max(recovery.all);
    }
}

impl Record {
    /// Adds another run of the same scenario.
    pub(crate) fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        self.tally.add(other.tally);
        if let Some(other) = other.recovery {
            let worst = self.recovery.get_or_insert_default();
            worst.first = worst.first.max(other.first);
            worst.all = worst.all.max(other.all);
        }
        other.verdicts.iter().for_each(|verdict| self.keep(verdict.clone()));
    }

    fn keep(&mut self, verdict: String) {
        if !self.verdicts.contains(&verdict) {
            self.verdicts.push(verdict);
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.produced += other.produced;
        self.sealed += other.sealed;
        self.destroyed += other.destroyed;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.falsely_proven += other.falsely_proven;
    }

    /// Whether nothing is lost, doubled or falsely proven.
    pub(crate) fn is_good(&self) -> bool {
        (self.lost, self.doubled, self.falsely_proven) == (0, 0, 0)
    }
}
