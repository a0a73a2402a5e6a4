//! What a scenario is, and what it leaves behind.

use std::time::Duration;

use testbed::Scratch;

use testbed::ledger::Verdict;

/// A scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// What it is called by.
    pub(crate) name: &'static str,
    /// What happens in it.
    pub(crate) fault: &'static str,
    /// What must come of it, beside that nothing is lost, doubled or falsely proven.
    pub(crate) expected: &'static str,
    /// Whether it runs with the tests.
    pub(crate) quick: bool,
    pub(crate) play: fn(&mut Run),
}

/// One run of a scenario.
pub(crate) struct Run {
    pub(crate) scenario: &'static str,
    pub(crate) folder: Scratch,
    pub(crate) outcome: Outcome,
}

/// What is counted in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// How often something was done to what runs.
    pub(crate) faults: u64,
    pub(crate) tally: Tally,
    /// The longest times after the end of a fault.
    pub(crate) recovery: Option<Recovery>,
    /// What the verifier said, each time with what it was asked about.
    pub(crate) verdicts: Vec<String>,
}

/// Times from the end of a fault.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recovery {
    /// To the first entry that covers an event produced after it.
    pub(crate) first: Duration,
    /// Until all that was produced by then is sealed.
    pub(crate) all: Duration,
}

/// Events, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged by the broker, as the producer counts.
    pub(crate) produced: u64,
    /// Covered by summaries, as these count.
    pub(crate) sealed: u64,
    /// Destroyed in Kafka by the scenario itself.
    pub(crate) destroyed: u64,
    /// Neither destroyed nor proven.
    pub(crate) lost: u64,
    /// Offsets covered twice, and events twice in the evidence.
    pub(crate) doubled: u64,
    /// Proven, but not what was produced there.
    pub(crate) falsely_proven: u64,
}

impl Run {
    /// Says what happens; with `--runs` or many scenarios at once one wants to know which.
    pub(crate) fn say(&self, what: &str) {
        println!("{}: {what}", self.scenario);
    }

    /// Counts a fault.
    pub(crate) fn fault(&mut self, what: &str) {
        self.outcome.faults += 1;
        self.say(what);
    }

    /// Keeps what the verifier said about something.
    pub(crate) fn verdict(&mut self, what: &str, verdict: &Verdict) {
        let said = verdict.report["verdict"].as_str().unwrap_or("?");
        self.say(&format!("{what}: {said}"));
        self.outcome.keep(format!("{what}: {said}"));
    }

    /// Keeps the times of the slowest recovery.
    pub(crate) fn recovered(&mut self, recovery: Recovery) {
        let worst = self.outcome.recovery.get_or_insert_default();
        worst.first = worst.first.max(recovery.first);
        worst.all = worst.all.max(recovery.all);
    }
}

impl Outcome {
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

    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        (self.lost, self.doubled, self.falsely_proven) == (0, 0, 0)
    }
}
