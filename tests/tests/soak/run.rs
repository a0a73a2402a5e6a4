//! A run: a load, from its start to the verifier's verdict.

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

/// Interval between checks of the services.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Time for the services to catch up with the producers, which continue.
const RECOVERED_WITHIN: Duration = Duration::from_secs(600);

/// The settings of a run.
pub(crate) struct Plan {
    /// Its name, and the name of its report's folder.
    pub(crate) name: &'static str,
    /// A short description.
    pub(crate) what: &'static str,
    pub(crate) topics: u32,
    pub(crate) partitions: u32,
    pub(crate) batch_events: u64,
    pub(crate) bounds: Bounds,
}

/// The line and its load.
pub(crate) struct Stage {
    pub(crate) line: Line,
    pub(crate) load: Load,
    pub(crate) record: Record,
    /// Length of the load; only seconds in `./test`.
    pub(crate) minutes: Option<u64>,
}

impl Stage {
    /// The length in minutes, or in seconds in `./test`.
    pub(crate) fn lasting(&self, in_tests: Duration) -> Duration {
        self.minutes.map_or(in_tests, |minutes| Duration::from_secs(minutes * 60))
    }

    /// Begins a phase with a rate, in events per second.
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

    /// Waits until at most the events of two seconds are unsealed. Returns how long it took.
    pub(crate) fn until_recovered(&self, events_s: u64) -> Duration {
        let begun = Instant::now();
        self.begin("recovery", events_s);
        testbed::until("the services caught up with the producers", RECOVERED_WITHIN, || {
            self.line.ledger.assert_running();
            // Measured in this phase.
            self.record.in_phase(|phase| phase.moments.last().is_some_and(|moment| moment.behind() <= 2 * events_s))
        });
        begun.elapsed()
    }
}

/// Starts a line and producers, runs `drive`, verifies all produced events, and writes the report. Fails if the report
/// has problems. `drive` returns the recovery time, if any, and further problems.
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
    let (recovery, problems, proven) = thread::scope(|scope| {
        let _ended = SetOnDrop(&[&sampled, &produced]);
        scope.spawn(|| record.ask(line, &sampled));
        scope.spawn(|| record.sample(line, load, &folder, &sampled));
        let producing = scope.spawn(|| line.produce(load, &produced));
        let (recovery, problems) = drive(&stage);
        record.begin("end");
        produced.store(true, Ordering::SeqCst);
        producing.join().unwrap();
        line.until_caught_up(load);
        (recovery, problems, line.prove(load))
    });
    let (refused, slowest, acknowledged) = (load.refused(), load.slowest(), load.acknowledged());
    let mut report =
        Report { plan, phases: record.phases(), recovery, refused, slowest, acknowledged, proven, problems };
    report.judge();
    eprintln!("{}", report.markdown());
    report.write(&folder);
    assert!(report.problems.is_empty(), "{}: {:#?}", plan.name, report.problems);
}

/// Sets flags when dropped, so that threads beside a test stop even if it fails.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a [&'a AtomicBool]);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ended| ended.store(true, Ordering::SeqCst));
    }
}
