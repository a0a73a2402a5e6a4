//! The table of results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::{Value, json};

use crate::strace::{Injection, Point, Traced};

/// Numbers of events and entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sealed events that were compared with the produced ones.
    pub(crate) events: u64,
    /// Acknowledged entries and sealed events that are missing.
    pub(crate) lost: u64,
    /// Offsets covered twice, and events twice in the evidence.
    pub(crate) doubled: u64,
    /// Proven, but different from the produced event.
    pub(crate) falsely_proven: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.falsely_proven += other.falsely_proven;
    }

    /// Whether nothing is lost, doubled or falsely proven.
    pub(crate) fn is_good(&self) -> bool {
        (self.lost, self.doubled, self.falsely_proven) == (0, 0, 0)
    }
}

/// The result of a case.
pub(crate) struct CaseRecord {
    /// How the program ended, if the case reached this point.
    pub(crate) traced: Option<Traced>,
    pub(crate) tally: Tally,
    pub(crate) error: Option<String>,
}

/// All cases of a step with the same call, file and injection.
#[derive(Default)]
struct Row {
    runs: u32,
    /// Runs without the call: threads share their work differently in each run.
    missed: u32,
    tally: Tally,
    ended: BTreeMap<&'static str, u32>,
    errors: Vec<String>,
}

/// The rows, by step, call with file, and injection.
#[derive(Default)]
pub(crate) struct Report {
    rows: BTreeMap<(&'static str, String, Injection), Row>,
}

impl Report {
    pub(crate) fn add(&mut self, step: &'static str, point: &Point, injection: Injection, record: CaseRecord) {
        let row = self.rows.entry((step, point.place(), injection)).or_default();
        row.runs += 1;
        row.tally.add(record.tally);
        row.errors.extend(record.error.map(|error| format!("no. {}: {error}", point.nth)));
        if let Some(traced) = record.traced {
            match traced.hit {
                None => row.missed += 1,
                Some(_) => *row.ended.entry(way(traced.status)).or_default() += 1,
            }
        }
    }

    /// One line per row.
    fn markdown(&self) -> String {
        let mut text = String::from(
            "| step | call | injection | runs | call not made | events | lost | doubled | falsely proven | the program | |\n\
             |---|---|---|--:|--:|--:|--:|--:|--:|---|---|\n",
        );
        for ((step, place, injection), row) in &self.rows {
            let Row { runs, missed, tally, errors, .. } = row;
            let Tally { events, lost, doubled, falsely_proven } = tally;
            let result = if errors.is_empty() { "ok" } else { "**failed**" };
            let _ = writeln!(
                text,
                "| {step} | {place} | {injection} | {runs} | {missed} | {events} | {lost} | {doubled} | {falsely_proven} | {} \
                 | {result} |",
                row.ways()
            );
        }
        text
    }

    /// Writes the table to a folder, as Markdown and JSON.
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let rows = self.rows.iter().map(|((step, place, injection), row)| {
            json!({
                "step": step,
                "call": place,
                "injection": injection.to_string(),
                "runs": row.runs,
                "call_not_made": row.missed,
                "events": row.tally.events,
                "lost": row.tally.lost,
                "doubled": row.tally.doubled,
                "falsely_proven": row.tally.falsely_proven,
                "ended": row.ended,
                "errors": row.errors,
            })
        });
        let rows: Vec<Value> = rows.collect();
        fs::write(folder.join("faults.json"), format!("{:#}\n", Value::from(rows))).unwrap();
        fs::write(folder.join("faults.md"), self.markdown()).unwrap();
    }
}

impl Row {
    fn ways(&self) -> String {
        let ways = self.ended.iter().filter(|(_, count)| **count > 0);
        ways.map(|(way, count)| format!("{way}: {count}")).collect::<Vec<_>>().join(", ")
    }
}

fn way(status: ExitStatus) -> &'static str {
    match (status.success(), status.signal()) {
        (true, _) => "went on",
        (false, None) => "ended with an error",
        (false, Some(_)) => "killed",
    }
}
