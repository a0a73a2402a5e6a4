//! Runs the steps as tests, and chooses their cases.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::panic_of;

use crate::report::{CaseRecord, Report, Tally};
use crate::site::Site;
use crate::steps::Step;
use crate::strace::{GIT_OBJECTS, Injection, Point, Trace, require};

/// Steps that run at the same time, each on its own site.
const SIDE_BY_SIDE: usize = 2;

/// Cases of each step that run in `./test`, evenly spread, besides those that once failed.
const QUICK_CASES: usize = 2;

/// Maximum runs of a case until its call is made. Threads share their work differently in each run.
const PLAYS: u32 = 6;

/// The cases of a step to play.
#[derive(Debug, Clone, Copy)]
enum Extent {
    /// Cases that once failed, and a few others.
    Quick,
    /// All cases, or at most `most` calls on each file.
    Whole { most: usize },
}

/// State that all steps share.
struct Driver {
    /// Unused sites, kept because making one takes seconds.
    sites: Mutex<Vec<Site>>,
    report: Mutex<Report>,
}

/// A run of a step with an injection.
struct Case {
    step: &'static Step,
    point: Point,
    injection: Injection,
    /// Whether it once failed. If so, its injection must happen.
    is_kept: bool,
}

/// Runs the steps that the command line names.
pub(crate) fn main(steps: &'static [Step]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let sample = std::env::var("FAULTS_SAMPLE");
    let most = sample.map_or(usize::MAX, |text| text.parse().expect("FAULTS_SAMPLE takes a number"));
    let driver: &Driver = Box::leak(Box::new(Driver { sites: Mutex::default(), report: Mutex::default() }));
    let quick = |step: &'static Step| Trial::test(step.name, move || driver.play(step, Extent::Quick));
    let whole = |step: &'static Step| {
        let play = move || driver.play(step, Extent::Whole { most });
        Trial::test(format!("{}-whole", step.name), play).with_ignored_flag(true)
    };
    let trials = steps.iter().map(quick).chain(steps.iter().map(whole)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Exiting drops nothing, so brokers and folders are dropped here.
    driver.sites.lock().unwrap_or_else(PoisonError::into_inner).clear();
    if let Some(folder) = std::env::var_os("FAULTS_REPORT") {
        driver.report.lock().unwrap_or_else(PoisonError::into_inner).write(folder.as_ref());
    }
    conclusion.exit_code()
}

impl Driver {
    /// Plays all cases of a step, even if some fail.
    fn play(&self, step: &'static Step, extent: Extent) -> Result<(), Failed> {
        require();
        let free = self.sites.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut site = free.unwrap_or_else(Site::new);
        let points = count(&site, step);
        let cases = choose(step, points, extent);
        let mut errors = Vec::new();
        let mut hits: BTreeMap<String, bool> = BTreeMap::new();
        for case in &cases {
            let start = Instant::now();
            let record = play_case(&mut site, case);
            let Case { point, injection, .. } = case;
            *hits.entry(point.place()).or_default() |= record.error.is_some() || !case.is_missed(&record);
            let result = record.error.as_deref().map_or("ok".to_owned(), |error| format!("FAILED {error}"));
            println!("{}: {point} {injection}: {result} in {:.1?}", step.name, start.elapsed());
            errors.extend(record.error.as_ref().map(|error| format!("{point} {injection}: {error}")));
            self.report.lock().unwrap_or_else(PoisonError::into_inner).add(step.name, point, *injection, record);
        }
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).push(site);
        if matches!(extent, Extent::Whole { .. }) {
            let never = hits.into_iter().filter(|(_, hit)| !hit);
            errors.extend(never.map(|(place, _)| format!("{place}: no run made the call, so nothing was tested")));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n").into()) }
    }
}

/// The cases of a step with these points.
fn choose(step: &'static Step, points: Vec<Point>, extent: Extent) -> Vec<Case> {
    let case = |(point, injection)| Case { step, point, injection, is_kept: false };
    let kept = step.kept.iter().map(|&(call, file, nth, injection)| {
        let file = (file != GIT_OBJECTS).then(|| file.to_owned());
        let point = Point { call: call.to_owned(), file, nth };
        // Compared without the number, which counts per thread: threads share their work differently in each run.
        let is_there = points.iter().any(|there| there.place() == point.place());
        assert!(is_there, "{}: no call {} any more", step.name, point.place());
        Case { is_kept: true, ..case((point, injection)) }
    });
    let kept: Vec<_> = kept.collect();
    let mut places: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    points.into_iter().for_each(|point| places.entry(point.place()).or_default().push(point));
    let most = if let Extent::Whole { most } = extent { most } else { usize::MAX };
    let points = places.into_values().flat_map(|points| spread(points, most));
    let all = points.flat_map(|point| point.injections().iter().map(move |injection| (point.clone(), *injection)));
    let all: Vec<_> = all.map(case).collect();
    match extent {
        Extent::Whole { .. } => all,
        Extent::Quick => kept.into_iter().chain(spread(all, QUICK_CASES)).collect(),
    }
}

/// At most `most` items, evenly spread and including the first.
fn spread<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let count = items.len();
    let wanted = |i: usize| count <= most || (i * most) % count < most;
    items.into_iter().enumerate().filter(|(i, _)| wanted(*i)).map(|(_, item)| item).collect()
}

/// The calls of a run without an injection.
fn count(site: &Site, step: &Step) -> Vec<Point> {
    let mut place = site.place(step.start);
    let trace = Trace::count(&site.folder());
    let traced = (step.run)(&mut place, &trace);
    assert!(traced.status.success(), "{} without an injection: {}", step.name, traced.status);
    let points = trace.points(traced.pid);
    assert!(!points.is_empty(), "{} writes nothing", step.name);
    let tally = (step.check)(&mut place, &traced, None);
    assert!(tally.is_good(), "{} without an injection: {tally:?}", step.name);
    points
}

/// Plays a case until its call is made, at most [`PLAYS`] times.
fn play_case(site: &mut Site, case: &Case) -> CaseRecord {
    let mut record = play_once(site, case);
    for _ in 1..PLAYS {
        if !case.is_missed(&record) || record.error.is_some() {
            return record;
        }
        record = play_once(site, case);
    }
    if case.is_kept && case.is_missed(&record) {
        record.error.get_or_insert(format!("{PLAYS} runs did not make the call, so nothing was tested"));
    }
    record
}

impl Case {
    /// Whether nothing was tested: the run did not make the call. Calls on Git's objects are counted together. A kept
    /// case is also missed if it hit an object whose loss need not end the program.
    fn is_missed(&self, record: &CaseRecord) -> bool {
        let Some(traced) = &record.traced else { return false };
        let Some(file) = &traced.hit else { return true };
        self.is_kept && self.point.file.is_none() && self.must_end() && (self.step.may_outlive)(file)
    }

    /// Whether the injection must end the program, unless it may outlive the file.
    fn must_end(&self) -> bool {
        self.injection == Injection::Io && self.point.is_sync()
    }
}

/// Plays a case. A panic is its error.
fn play_once(site: &mut Site, case: &Case) -> CaseRecord {
    let mut traced = None;
    let mut tally = Tally::default();
    let error = panic_of(|| {
        let Case { step, point, injection, .. } = case;
        let mut place = site.place(step.start);
        let ended = (step.run)(&mut place, &Trace::inject(&site.folder(), point, *injection));
        traced = Some(ended.clone());
        match (&ended.hit, injection) {
            (None, _) => assert!(ended.status.success(), "{} without an injection", ended.status),
            (Some(_), Injection::Kill) => assert_eq!(ended.status.signal(), Some(9), "{}", ended.status),
            (Some(file), _) if case.must_end() && !(step.may_outlive)(file) => {
                assert!(!ended.status.success(), "it continued after a failed fsync of {file:?}");
            }
            _ => {}
        }
        tally = (step.check)(&mut place, &ended, ended.hit.is_some().then_some(*injection));
        assert!(tally.is_good(), "{tally:?}");
    });
    if error.is_some() {
        site.keep_failed();
    }
    CaseRecord { traced, tally, error }
}
