//! Measurements of every second, written to files at once.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use testbed::Usage;

use crate::line::{Line, SERVICES};
use crate::load::Load;

/// Interval of measurements.
const EVERY: Duration = Duration::from_secs(1);

/// Pause between requests to the ingest-consumer.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The measurements of one phase, second by second.
#[derive(Debug, Default, Clone)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// Usage of the services, in the order of [`SERVICES`]; empty for a second in which a service did not run.
    pub(crate) held: [Vec<Usage>; 3],
    pub(crate) moments: Vec<Moment>,
}

/// The progress of the line at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Moment {
    /// Events acknowledged to producers.
    pub(crate) acknowledged: u64,
    /// Sealed events, by the ingest-consumer's last answer.
    pub(crate) sealed: u64,
    /// Unsealed events, by its last answer.
    pub(crate) lag_shown: u64,
}

impl Moment {
    /// Events acknowledged and not sealed.
    pub(crate) fn behind(&self) -> u64 {
        self.acknowledged.saturating_sub(self.sealed)
    }
}

impl Phase {
    /// Numbers of acknowledged and sealed events in the phase.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let (first, last) = (self.moments.first().copied(), self.moments.last().copied());
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        (last.acknowledged - first.acknowledged, last.sealed - first.sealed)
    }

    /// The maximum of a value in the phase.
    pub(crate) fn most(&self, of: impl Fn(&Moment) -> u64) -> u64 {
        self.moments.iter().map(of).max().unwrap_or_default()
    }
}

/// The measurements of a run.
pub(crate) struct Record {
    begun: Instant,
    /// Numbers of sealed and unsealed events, by the ingest-consumer's last answer.
    shown: Mutex<(u64, u64)>,
    phases: Mutex<Vec<Phase>>,
}

impl Record {
    /// A record without measurements.
    pub(crate) fn new(phase: &'static str) -> Self {
        let record = Self { begun: Instant::now(), shown: Mutex::default(), phases: Mutex::default() };
        record.begin(phase);
        record
    }

    /// Begins a phase.
    pub(crate) fn begin(&self, name: &'static str) {
        eprintln!("{:>7.1} s: {name}", self.begun.elapsed().as_secs_f64());
        self.lock().push(Phase { name, ..Phase::default() });
    }

    /// All phases.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.lock().clone()
    }

    /// The measurements of the present phase.
    pub(crate) fn in_phase<T>(&self, look: impl Fn(&Phase) -> T) -> T {
        look(self.lock().last().expect("a phase has begun"))
    }

    /// Asks the ingest-consumer until `ended`, on its own thread, because it may be slow to answer.
    pub(crate) fn ask(&self, line: &Line, ended: &AtomicBool) {
        while !ended.load(Ordering::SeqCst) {
            if let Some((sealed, lag)) = line.sealed_and_lag() {
                let mut shown = self.shown.lock().unwrap();
                // After its start, it does not know all streams yet.
                *shown = (sealed.max(shown.0), lag);
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// Measures every second until `ended`, and writes files in `folder`.
    pub(crate) fn sample(&self, line: &Line, load: &Load, folder: &Path, ended: &AtomicBool) {
        let head = "second,phase,service,resident_kib,anonymous_kib,descriptors,threads,cpu_ms";
        let mut services = create(folder, "services.csv", head);
        let mut of_line = create(folder, "line.csv", "second,phase,acknowledged,refused,sealed,lag_shown");
        let mut due = Instant::now();
        while !ended.load(Ordering::SeqCst) {
            let usage = line.usage();
            let (sealed, lag_shown) = *self.shown.lock().unwrap();
            let moment = Moment { acknowledged: load.acknowledged(), sealed, lag_shown };
            let second = self.begun.elapsed().as_secs();
            let name = self.add(usage, moment);
            writeln!(of_line, "{second},{name},{},{},{sealed},{lag_shown}", moment.acknowledged, load.refused())
                .unwrap();
            for (service, usage) in SERVICES.into_iter().zip(usage) {
                let Some(Usage { resident_bytes, anonymous_bytes, descriptors, threads, cpu }) = usage else {
                    continue;
                };
                let (resident, anonymous, cpu) = (resident_bytes / 1024, anonymous_bytes / 1024, cpu.as_millis());
                writeln!(services, "{second},{name},{service},{resident},{anonymous},{descriptors},{threads},{cpu}")
                    .unwrap();
            }
            due += EVERY;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Returns the name of the phase.
    fn add(&self, usage: [Option<Usage>; 3], moment: Moment) -> &'static str {
        let mut phases = self.lock();
        let phase = phases.last_mut().expect("a phase has begun");
        phase.moments.push(moment);
        for (held, usage) in phase.held.iter_mut().zip(usage) {
            held.extend(usage);
        }
        phase.name
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Phase>> {
        self.phases.lock().unwrap()
    }
}

fn create(folder: &Path, name: &str, head: &str) -> File {
    let mut file = File::create(folder.join(name)).unwrap();
    writeln!(file, "{head}").unwrap();
    file
}
