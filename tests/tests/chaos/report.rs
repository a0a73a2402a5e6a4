//! The table of what came out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::run::{Outcome, Scenario};

/// All runs of a scenario.
pub(crate) struct Row<'a> {
    pub(crate) scenario: &'a Scenario,
    runs: u32,
    outcome: Outcome,
    length: Duration,
    /// Of the first run that failed.
    pub(crate) failure: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        Self { scenario, runs: 0, outcome: Outcome::default(), length: Duration::ZERO, failure: None }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome, length: Duration, failure: Option<String>) {
        self.runs += 1;
        self.outcome.add(outcome);
        self.length = self.length.max(length);
        self.failure = self.failure.take().or(failure);
    }

    fn recovery(&self) -> [String; 2] {
        match self.outcome.recovery {
            Some(recovery) => [recovery.first, recovery.all].map(|time| format!("{:.1} s", time.as_secs_f64())),
            None => ["-", "-"].map(str::to_owned),
        }
    }

    fn json(&self) -> Value {
        let Outcome { faults, tally, recovery, verdicts } = &self.outcome;
        json!({
            "scenario": self.scenario.name,
            "fault": self.scenario.fault,
            "expected": self.scenario.expected,
            "runs": self.runs,
            "faults": faults,
            "produced": tally.produced,
            "sealed": tally.sealed,
            "destroyed": tally.destroyed,
            "lost": tally.lost,
            "doubled": tally.doubled,
            "falsely_proven": tally.falsely_proven,
            "recovery_first_ms": recovery.map(|recovery| recovery.first.as_millis() as u64),
            "recovery_all_ms": recovery.map(|recovery| recovery.all.as_millis() as u64),
            "verdicts": verdicts,
            "longest_run_ms": self.length.as_millis() as u64,
            "failure": self.failure,
        })
    }
}

/// Writes the table as Markdown and as JSON to a folder.
pub(crate) fn write(folder: &Path, rows: &[Row<'_>]) {
    fs::create_dir_all(folder).unwrap();
    let rows_json: Vec<Value> = rows.iter().map(Row::json).collect();
    fs::write(folder.join("chaos.json"), format!("{:#}\n", Value::from(rows_json))).unwrap();
    fs::write(folder.join("chaos.md"), format!("{}\n{}", markdown(rows), details(rows))).unwrap();
}

/// A line for each scenario.
pub(crate) fn markdown(rows: &[Row<'_>]) -> String {
    let mut text = String::from(
        "| scenario | runs | faults | produced | sealed | destroyed | lost | doubled | falsely proven | first after | all after | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        let (Outcome { faults, tally, .. }, [first, all]) = (&row.outcome, row.recovery());
        let result = if row.failure.is_none() { "ok" } else { "**failed**" };
        let _ = writeln!(
            text,
            "| {} | {} | {faults} | {} | {} | {} | {} | {} | {} | {first} | {all} | {result} |",
            row.scenario.name,
            row.runs,
            tally.produced,
            tally.sealed,
            tally.destroyed,
            tally.lost,
            tally.doubled,
            tally.falsely_proven,
        );
    }
    text
}

/// What each scenario does, and what the verifier said.
fn details(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    for Row { scenario, outcome, failure, .. } in rows {
        let _ = writeln!(text, "- **{}**: {}. Expected: {}.", scenario.name, scenario.fault, scenario.expected);
        for verdict in &outcome.verdicts {
            let _ = writeln!(text, "  - {verdict}");
        }
        if let Some(failure) = failure {
            let _ = writeln!(text, "  - failed: {}", failure.lines().next().unwrap_or_default());
        }
    }
    text
}
