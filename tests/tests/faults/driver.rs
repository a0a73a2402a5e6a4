//! The steps as tests, and which cases each plays.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::panic_of;

use crate::report::{Outcome, Report, Tally};
use crate::site::Site;
use crate::steps::Step;
use crate::strace::{Fault, GIT_OBJECTS, Point, Trace, require};

/// Steps that run at the same time, each on a site of its own.
const SIDE_BY_SIDE: usize = 2;

/// Cases of each step that run with the tests beside those that once failed, spread over all of them.
const QUICK_CASES: usize = 2;

/// How often a case is played until its call is made: threads share their work differently in each run.
const PLAYS: u32 = 6;

/// Which cases of a step are played.
#[derive(Debug, Clone, Copy)]
enum Extent {
    /// Those that once failed, and a few others.
    Quick,
    /// All, or on each file so many.
    Whole { most: usize },
}

/// What all steps share.
struct Driver {
    /// Sites that no step uses just now: making one takes seconds.
    sites: Mutex<Vec<Site>>,
    report: Mutex<Report>,
}

/// One run of a step with one fault.
struct Case {
    step: &'static Step,
    point: Point,
    fault: Fault,
    /// Whether it once failed: then it must come to its fault.
    is_kept: bool,
}

/// Runs what the command line asks for.
pub(crate) fn main(steps: &'static [Step]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let sample = std::env::var("FAULTS_SAMPLE");
    let most = sample.map_or(usize::MAX, |text| text.parse().expect("FAULTS_SAMPLE wants a number"));
    let driver: &Driver = Box::leak(Box::new(Driver { sites: Mutex::default(), report: Mutex::default() }));
    let quick = |step: &'static Step| Trial::test(step.name, move || driver.play(step, Extent::Quick));
    let whole = |step: &'static Step| {
        let play = move || driver.play(step, Extent::Whole { most });
        Trial::test(format!("{}-whole", step.name), play).with_ignored_flag(true)
    };
    let trials = steps.iter().map(quick).chain(steps.iter().map(whole)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Whatever else the process holds dies with it; brokers and folders are for their owners to end.
    driver.sites.lock().unwrap_or_else(PoisonError::into_inner).clear();
    if let Some(folder) = std::env::var_os("FAULTS_REPORT") {
        driver.report.lock().unwrap_or_else(PoisonError::into_inner).write(folder.as_ref());
    }
    conclusion.exit_code()
}

impl Driver {
    /// Plays the cases of a step, all of them also when some fail.
    fn play(&self, step: &'static Step, extent: Extent) -> Result<(), Failed> {
        require();
        let free = self.sites.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut site = free.unwrap_or_else(Site::new);
        let points = count(&site, step);
        let cases = choose(step, points, extent);
        let mut failures = Vec::new();
        let mut hits: BTreeMap<String, bool> = BTreeMap::new();
        for case in &cases {
            let start = Instant::now();
            let outcome = play_case(&mut site, case);
            let Case { point, fault, .. } = case;
            *hits.entry(point.place()).or_default() |= outcome.failure.is_some() || !case.is_missed(&outcome);
            let result = outcome.failure.as_deref().map_or("ok".to_owned(), |failure| format!("FAILED {failure}"));
            println!("{}: {point} {fault}: {result} in {:.1?}", step.name, start.elapsed());
            failures.extend(outcome.failure.as_ref().map(|failure| format!("{point} {fault}: {failure}")));
            self.report.lock().unwrap_or_else(PoisonError::into_inner).add(step.name, point, *fault, outcome);
        }
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).push(site);
        if matches!(extent, Extent::Whole { .. }) {
            let never = hits.into_iter().filter(|(_, hit)| !hit);
            failures.extend(never.map(|(place, _)| format!("{place}: no case came to its call, so nothing was tried")));
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
    }
}

/// The cases of a step, of which these are the points.
fn choose(step: &'static Step, points: Vec<Point>, extent: Extent) -> Vec<Case> {
    let case = |(point, fault)| Case { step, point, fault, is_kept: false };
    let kept = step.kept.iter().map(|&(call, file, nth, fault)| {
        let file = (file != GIT_OBJECTS).then(|| file.to_owned());
        let point = Point { call: call.to_owned(), file, nth };
        // Its number is of a thread, and threads share their work differently in each run.
        let is_there = points.iter().any(|there| there.place() == point.place());
        assert!(is_there, "{}: there is no {} any more", step.name, point.place());
        Case { is_kept: true, ..case((point, fault)) }
    });
    let kept: Vec<_> = kept.collect();
    let mut places: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    points.into_iter().for_each(|point| places.entry(point.place()).or_default().push(point));
    let most = if let Extent::Whole { most } = extent { most } else { usize::MAX };
    let points = places.into_values().flat_map(|points| spread(points, most));
    let all = points.flat_map(|point| point.faults().iter().map(move |fault| (point.clone(), *fault)));
    let all: Vec<_> = all.map(case).collect();
    match extent {
        Extent::Whole { .. } => all,
        Extent::Quick => kept.into_iter().chain(spread(all, QUICK_CASES)).collect(),
    }
}

/// At most `most` of the items, evenly spread, the first among them.
fn spread<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let count = items.len();
    let wanted = |i: usize| count <= most || (i * most) % count < most;
    items.into_iter().enumerate().filter(|(i, _)| wanted(*i)).map(|(_, item)| item).collect()
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

/// Plays a case until its call was made, or often enough.
fn play_case(site: &mut Site, case: &Case) -> Outcome {
    let mut outcome = play_once(site, case);
    for _ in 1..PLAYS {
        if !case.is_missed(&outcome) || outcome.failure.is_some() {
            return outcome;
        }
        outcome = play_once(site, case);
    }
    if case.is_kept && case.is_missed(&outcome) {
        outcome.failure.get_or_insert(format!("in {PLAYS} runs the call was never made, so nothing was tried"));
    }
    outcome
}

impl Case {
    /// Whether nothing was tried: the call was not made; or, of a case that once failed, on another of Git's objects, which
    /// are counted together wherever they are, than one whose loss must end the program.
    fn is_missed(&self, outcome: &Outcome) -> bool {
        let Some(traced) = &outcome.traced else { return false };
        let Some(file) = &traced.hit else { return true };
        self.is_kept && self.point.file.is_none() && self.must_end() && (self.step.may_outlive)(file)
    }

    /// Whether the program must end of it, unless it may outlive the file.
    fn must_end(&self) -> bool {
        self.fault == Fault::Io && self.point.is_sync()
    }
}

/// Plays a case; a panic is its failure.
fn play_once(site: &mut Site, case: &Case) -> Outcome {
    let mut traced = None;
    let mut tally = Tally::default();
    let failure = panic_of(|| {
        let Case { step, point, fault, .. } = case;
        let mut place = site.place(step.start);
        let ended = (step.run)(&mut place, &Trace::inject(&site.folder(), point, *fault));
        traced = Some(ended.clone());
        match (&ended.hit, fault) {
            (None, _) => assert!(ended.status.success(), "{} without a fault", ended.status),
            (Some(_), Fault::Kill) => assert_eq!(ended.status.signal(), Some(9), "{}", ended.status),
            (Some(file), _) if case.must_end() && !(step.may_outlive)(file) => {
                assert!(!ended.status.success(), "it went on after the fsync of {file:?} had failed");
            }
            _ => {}
        }
        tally = (step.check)(&mut place, &ended, ended.hit.is_some().then_some(*fault));
        assert!(tally.is_good(), "{tally:?}");
    });
    if failure.is_some() {
        site.keep_failed();
    }
    Outcome { traced, tally, failure }
}
