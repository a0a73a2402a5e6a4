//! Runs the scenarios as tests.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{Scratch, panic_of};

use crate::report::{self, Row};
use crate::run::{Record, Run, Scenario};

/// Scenarios that run at the same time. They spend most of their time waiting.
const SIDE_BY_SIDE: usize = 3;

/// The rows of the scenarios that ran, unordered.
type Rows = Arc<Mutex<Vec<Row<'static>>>>;

/// Runs the scenarios that the command line names.
pub(crate) fn main(scenarios: &'static [Scenario]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let runs: u32 = std::env::var("CHAOS_RUNS").map_or(1, |text| text.parse().expect("CHAOS_RUNS takes a number"));
    let rows = Rows::default();
    let trial = |scenario: &'static Scenario| {
        let rows = Arc::clone(&rows);
        Trial::test(scenario.name, move || play(scenario, runs, &rows)).with_ignored_flag(!scenario.quick)
    };
    let conclusion = libtest_mimic::run(&arguments, scenarios.iter().map(trial).collect());
    if let Some(folder) = std::env::var_os("CHAOS_REPORT") {
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |row: &Row<'_>| scenarios.iter().position(|scenario| scenario.name == row.scenario.name);
        rows.sort_by_key(place);
        report::write(folder.as_ref(), &rows);
    }
    conclusion.exit_code()
}

/// Plays a scenario `runs` times, or until it fails.
fn play(scenario: &'static Scenario, runs: u32, rows: &Rows) -> Result<(), Failed> {
    let mut row = Row::new(scenario);
    for _ in 0..runs {
        let start = Instant::now();
        let mut run = Run { scenario: scenario.name, folder: Scratch::new(scenario.name), record: Record::default() };
        let error = panic_of(|| (scenario.play)(&mut run));
        if error.is_some() {
            run.folder.keep();
        }
        row.add(&run.record, start.elapsed(), error);
        if row.error.is_some() {
            break;
        }
    }
    let error = row.error.clone();
    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    error.map_or(Ok(()), |error| Err(error.into()))
}
