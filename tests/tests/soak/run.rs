//! A load from its beginning to the verifier's verdict.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::Scratch;

use crate::flat::Bounds;
use crate::line::Line;
use crate::load::Load;
use crate::record::Record;
use crate::report::Report;

/// How often the services are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// For the services to be as far as the producers again, who go on.
const RECOVERED_WITHIN: Duration = Duration::from_secs(600);

/// What is run.
pub(crate) struct Plan {
    /// Also the name of the folder of its report.
    pub(crate) name: &'static str,
    /// In a few words.
    pub(crate) what: &'static str,
    pub(crate) topics: u32,
    pub(crate) partitions: u32,
    pub(crate) batch_events: u64,
    pub(crate) bounds: Bounds,
}

/// What runs.
pub(crate) struct Stage {
    pub(crate) line: Line,
    pub(crate) load: Load,
    pub(crate) record: Record,
    /// How long the load is to last; in the tests only seconds.
    pub(crate) minutes: Option<u64>,
}

impl Stage {
    /// Minutes, or in the tests seconds.
    pub(crate) fn lasting(&self, in_tests: Duration) -> Duration {
        self.minutes.map_or(in_tests, |minutes| Duration::from_secs(minutes * 60))
    }

    /// Begins a phase in which so many events a second are sent.
    pub(crate) fn begin(&self, phase: &'static str, events_s: u64) {
        self.record.begin(phase);
        self.load.set_pace(events_s);
    }

    /// Lets the load last.
    pub(crate) fn hold(&self, length: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < length {
            self.line.ledger.assert_running();
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until no more events than those of two seconds are not sealed; returns how long that took.
    pub(crate) fn until_recovered(&self, events_s: u64) -> Duration {
        let begun = Instant::now();
        self.begin("recovery", events_s);
        testbed::until("the services are as far as the producers", RECOVERED_WITHIN, || {
            self.line.ledger.assert_running();
            // Of a moment in this phase.
            self.record.in_phase(|phase| phase.moments.last().is_some_and(|moment| moment.behind() <= 2 * events_s))
        });
        begun.elapsed()
    }
}

/// Starts a line and producers, lets `drive` do what is to be done to them, has the verifier prove all that was
/// produced, writes the report, and fails if anything in it is not as it should be. `drive` returns how long the line
/// took to recover, where it had to, and what else was wrong.
pub(crate) fn run(plan: &Plan, drive: impl FnOnce(&Stage) -> (Option<Duration>, Vec<String>)) {
    let scratch = Scratch::new("samples");
    let folder = std::env::var_os("SOAK_REPORT").map_or(scratch.path().to_owned(), PathBuf::from).join(plan.name);
    std::fs::create_dir_all(&folder).unwrap();
    let minutes = std::env::var("SOAK_MINUTES").ok();
    let line = Line::start(plan.topics, plan.partitions, plan.batch_events);
    let stage = Stage {
        load: Load::new(line.places()),
        line,
        record: Record::new("start"),
        minutes: minutes.map(|minutes| minutes.parse().expect("SOAK_MINUTES is a number")),
    };
    let Stage { line, load, record, .. } = &stage;
    let (sampled, produced) = (AtomicBool::new(false), AtomicBool::new(false));
    let (recovery, faults, proven) = thread::scope(|scope| {
        let _ended = Ended(&[&sampled, &produced]);
        scope.spawn(|| record.ask(line, &sampled));
        scope.spawn(|| record.sample(line, load, &folder, &sampled));
        let producing = scope.spawn(|| line.produce(load, &produced));
        let (recovery, faults) = drive(&stage);
        record.begin("end");
        produced.store(true, Ordering::SeqCst);
        producing.join().unwrap();
        line.until_caught_up(load);
        (recovery, faults, line.prove(load))
    });
    let (refused, slowest, acknowledged) = (load.refused(), load.slowest(), load.acknowledged());
    let mut report = Report { plan, phases: record.phases(), recovery, refused, slowest, acknowledged, proven, faults };
    report.judge();
    eprintln!("{}", report.markdown());
    report.write(&folder);
    assert!(report.faults.is_empty(), "{}: {:#?}", plan.name, report.faults);
}

/// Ends what runs beside a test also when it fails.
pub(crate) struct Ended<'a>(pub(crate) &'a [&'a AtomicBool]);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ended| ended.store(true, Ordering::SeqCst));
    }
}
