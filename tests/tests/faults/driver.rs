//! Which cases run, and on whom.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use crate::report::{Outcome, Report, Tally};
use crate::site::Site;
use crate::steps::Step;
use crate::strace::{Fault, Point, Trace, require};

/// Cases that run at the same time, each worker with a site of its own.
const SIDE_BY_SIDE: usize = 2;

/// Cases of each step that run with the tests beside those that once failed, spread over all of them.
const QUICK_CASES: usize = 2;

/// What is asked for on the command line. Options of Rust's own test programs are taken and mean nothing here.
struct Asked {
    all: bool,
    list: bool,
    sample: usize,
    words: Vec<String>,
    report: Option<PathBuf>,
}

impl Asked {
    fn read() -> Self {
        let mut asked = Self { all: false, list: false, sample: usize::MAX, words: Vec::new(), report: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
            match argument.as_str() {
                "--all" => asked.all = true,
                "--list" => asked.list = true,
                "--sample" => asked.sample = value().parse().expect("--sample wants a number"),
                "--report" => asked.report = Some(value().into()),
                "--format" | "--color" | "--test-threads" | "--skip" | "-Z" => drop(value()),
                option if option.starts_with('-') => {}
                word => asked.words.push(word.to_owned()),
            }
        }
        asked
    }

    fn is_wanted(&self, step: &Step) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| step.name.contains(word.as_str()))
    }

    /// The cases of a step, of which these are the points.
    fn choose(&self, step: &Step, points: Vec<Point>) -> Vec<(Point, Fault)> {
        let kept = step.kept.iter().map(|&(call, file, nth, fault)| {
            let point = Point { call: call.to_owned(), file: Some(file.to_owned()), nth };
            // Its number is of a thread, and threads share their work differently in each run.
            let is_there = points.iter().any(|there| there.place() == point.place());
            assert!(is_there, "{}: there is no {} any more", step.name, point.place());
            (point, fault)
        });
        let kept: Vec<_> = kept.collect();
        let mut places: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        points.into_iter().for_each(|point| places.entry(point.place()).or_default().push(point));
        let points = places.into_values().flat_map(|points| spread(points, self.sample));
        let cases: Vec<_> =
            points.flat_map(|point| point.faults().iter().map(move |fault| (point.clone(), *fault))).collect();
        if self.all { cases } else { kept.into_iter().chain(spread(cases, QUICK_CASES)).collect() }
    }
}

/// At most `most` of the items, evenly spread, the first among them.
fn spread<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let count = items.len();
    let wanted = |i: usize| count <= most || (i * most) % count < most;
    items.into_iter().enumerate().filter(|(i, _)| wanted(*i)).map(|(_, item)| item).collect()
}

struct Case {
    step: &'static Step,
    point: Point,
    fault: Fault,
}

/// Runs what is asked for.
pub(crate) fn main(steps: &'static [Step]) -> ExitCode {
    let asked = Asked::read();
    let wanted: Vec<&Step> = steps.iter().filter(|step| asked.is_wanted(step)).collect();
    if asked.list {
        wanted.iter().for_each(|step| println!("{}: test", step.name));
        return ExitCode::SUCCESS;
    }
    if asked.all && wanted.is_empty() {
        println!("no step has a name like that; --list lists them");
        return ExitCode::FAILURE;
    }
    if wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    require();
    let start = Instant::now();
    let site = Site::new();
    let mut cases = VecDeque::new();
    for step in wanted {
        let points = count(&site, step);
        let chosen = asked.choose(step, points.clone());
        println!("{}: {} calls, {} cases", step.name, points.len(), chosen.len());
        cases.extend(chosen.into_iter().map(|(point, fault)| Case { step, point, fault }));
    }
    let report = play(site, cases);
    println!("\n{}", report.markdown());
    if let Some(folder) = &asked.report {
        report.write(folder);
    }
    let failures: Vec<String> = report.failures().collect();
    let (runs, missed) = report.runs_and_missed();
    println!("{runs} cases in {:.0?}, in {missed} the call was not made, {} failed", start.elapsed(), failures.len());
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The calls of a run without a fault.
fn count(site: &Site, step: &Step) -> Vec<Point> {
    let mut place = site.place(step.start);
    let trace = Trace::count(&site.folder());
    let traced = (step.run)(&mut place, &trace);
    assert!(traced.status.success(), "{} without a fault: {}", step.name, traced.status);
    let points = trace.points(traced.pid);
    assert!(!points.is_empty(), "{} writes nothing", step.name);
    let tally = (step.check)(&mut place, &traced, None);
    assert!(tally.is_good(), "{} without a fault: {tally:?}", step.name);
    points
}

fn play(site: Site, cases: VecDeque<Case>) -> Report {
    let queue = Mutex::new(cases);
    let first = Mutex::new(Some(site));
    let (sender, played) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            let (queue, first, sender) = (&queue, &first, sender.clone());
            scope.spawn(move || {
                let ready = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut site = ready.unwrap_or_else(Site::new);
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(case) = next() {
                    let start = Instant::now();
                    let outcome = play_once(&mut site, &case);
                    sender.send((case, outcome, start.elapsed())).expect("somebody listens");
                }
            });
        }
        drop(sender);
        let mut report = Report::default();
        for (Case { step, point, fault }, outcome, length) in played {
            let result = outcome.failure.as_deref().map_or("ok".to_owned(), |failure| format!("FAILED {failure}"));
            println!("{}: {point} {fault}: {result} in {length:.1?}", step.name);
            report.add(step.name, &point, fault, outcome);
        }
        report
    })
}

/// Plays a case; a panic is its failure.
fn play_once(site: &mut Site, case: &Case) -> Outcome {
    let mut traced = None;
    let mut tally = Tally::default();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let Case { step, point, fault } = case;
        let mut place = site.place(step.start);
        let ended = (step.run)(&mut place, &Trace::inject(&site.folder(), point, *fault));
        traced = Some(ended.clone());
        match (&ended.hit, fault) {
            (None, _) => assert!(ended.status.success(), "{} without a fault", ended.status),
            (Some(_), Fault::Kill) => assert_eq!(ended.status.signal(), Some(9), "{}", ended.status),
            (Some(file), Fault::Io) if point.is_sync() && !(step.may_outlive)(file) => {
                assert!(!ended.status.success(), "it went on after the fsync of {file:?} had failed");
            }
            _ => {}
        }
        tally = (step.check)(&mut place, &ended, ended.hit.is_some().then_some(*fault));
        assert!(tally.is_good(), "{tally:?}");
    }));
    let failure = played.err().map(|panic| {
        site.keep_failed();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    Outcome { traced, tally, failure }
}
