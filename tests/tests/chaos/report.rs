//! The table of results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::run::{Record, Scenario};

/// All runs of a scenario.
pub(crate) struct Row<'a> {
    pub(crate) scenario: &'a Scenario,
    runs: u32,
    record: Record,
    length: Duration,
    /// The error of the first failed run.
    pub(crate) error: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        Self { scenario, runs: 0, record: Record::default(), length: Duration::ZERO, error: None }
    }

    pub(crate) fn add(&mut self, record: &Record, length: Duration, error: Option<String>) {
        self.runs += 1;
        self.record.add(record);
        self.length = self.length.max(length);
        self.error = self.error.take().or(error);
    }

    fn recovery(&self) -> [String; 2] {
        match self.record.recovery {
            Some(recovery) => [recovery.first, recovery.all].map(|time| format!("{:.1} s", time.as_secs_f64())),
            None => ["-", "-"].map(str::to_owned),
        }
    }

    fn json(&self) -> Value {
        let Record { faults, tally, recovery, verdicts } = &self.record;
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
            "error": self.error,
        })
    }
}

/// Writes the table to a folder, as Markdown and JSON.
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
        let (Record { faults, tally, .. }, [first, all]) = (&row.record, row.recovery());
        let result = if row.error.is_none() { "ok" } else { "**failed**" };
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

/// The fault, the expected behaviour and the verdicts of each scenario.
fn details(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    for Row { scenario, record, error, .. } in rows {
        let _ = writeln!(text, "- **{}**: {}. Expected: {}.", scenario.name, scenario.fault, scenario.expected);
        for verdict in &record.verdicts {
            let _ = writeln!(text, "  - {verdict}");
        }
        if let Some(error) = error {
            let _ = writeln!(text, "  - failed: {}", error.lines().next().unwrap_or_default());
        }
    }
    text
}
