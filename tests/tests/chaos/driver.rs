//! Which scenarios run, side by side, and what they come to.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tests::Scratch;

use crate::report::{self, Row};
use crate::run::{Outcome, Run, Scenario};

/// Scenarios that run at the same time: most of their time they wait.
const SIDE_BY_SIDE: usize = 3;

/// What is asked for on the command line. Options of Rust's own test programs are taken and mean nothing here.
struct Asked {
    all: bool,
    list: bool,
    words: Vec<String>,
    runs: u32,
    report: Option<PathBuf>,
}

impl Asked {
    fn read() -> Self {
        let mut asked = Self { all: false, list: false, words: Vec::new(), runs: 1, report: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
            match argument.as_str() {
                "--all" => asked.all = true,
                "--list" => asked.list = true,
                "--runs" => asked.runs = value().parse().expect("--runs wants a number"),
                "--report" => asked.report = Some(value().into()),
                "--format" | "--color" | "--test-threads" | "--skip" | "-Z" => drop(value()),
                option if option.starts_with('-') => {}
                word => asked.words.push(word.to_owned()),
            }
        }
        asked
    }

    fn choose<'a>(&self, scenarios: &'a [Scenario]) -> Vec<&'a Scenario> {
        let named = |word: &str| scenarios.iter().any(|scenario| scenario.name == word);
        let fits = |scenario: &Scenario, word: &String| match named(word) {
            true => scenario.name == word,
            false => scenario.name.contains(word.as_str()),
        };
        let is_wanted = |scenario: &&Scenario| match self.words.as_slice() {
            [] => self.all || scenario.quick,
            words => words.iter().any(|word| fits(scenario, word)),
        };
        scenarios.iter().filter(is_wanted).collect()
    }
}

/// Runs what is asked for.
pub(crate) fn main(scenarios: &[Scenario]) -> ExitCode {
    let asked = Asked::read();
    let wanted = asked.choose(scenarios);
    if asked.list {
        wanted.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    if asked.all && wanted.is_empty() {
        println!("no scenario has a name like that; --list --all lists them");
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    let rows = play(&wanted, asked.runs);
    println!("\n{}", report::markdown(&rows));
    if let Some(folder) = &asked.report {
        report::write(folder, &rows);
    }
    let failed: Vec<_> = rows.iter().filter(|row| row.failure.is_some()).collect();
    println!("{} scenarios in {:.0?}, {} failed", rows.len(), start.elapsed(), failed.len());
    for row in &failed {
        println!("FAILED {}: {}", row.scenario.name, row.failure.as_deref().unwrap_or_default());
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays scenarios side by side, each as often as asked for or until it fails.
fn play<'a>(wanted: &[&'a Scenario], runs: u32) -> Vec<Row<'a>> {
    let queue: Mutex<VecDeque<&Scenario>> = Mutex::new((0..runs).flat_map(|_| wanted.iter().copied()).collect());
    let (sender, played) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(scenario) = next() {
                    sender.send((scenario.name, play_once(scenario))).expect("somebody listens");
                }
            });
        }
        drop(sender);
        let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
        for (name, (outcome, length, failure)) in played {
            println!("{name}: {} in {length:.1?}", if failure.is_none() { "ok" } else { "FAILED" });
            let scenario = wanted.iter().find(|scenario| scenario.name == name).expect("it was asked for");
            rows.entry(name).or_insert_with(|| Row::new(scenario)).add(&outcome, length, failure);
        }
        wanted.iter().filter_map(|scenario| rows.remove(scenario.name)).collect()
    })
}

/// Plays a scenario on a thread of its own, whose panic is its failure.
fn play_once(scenario: &Scenario) -> (Outcome, Duration, Option<String>) {
    let start = Instant::now();
    let (name, play) = (scenario.name, scenario.play);
    let mut run = Run { scenario: name, folder: Scratch::new(name), outcome: Outcome::default() };
    let player = thread::Builder::new().name(name.to_owned());
    let result =
        thread::scope(|scope| player.spawn_scoped(scope, || play(&mut run)).expect("a thread can be made").join());
    let failure = result.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    if failure.is_some() {
        run.folder.keep();
    }
    (run.outcome, start.elapsed(), failure)
}
