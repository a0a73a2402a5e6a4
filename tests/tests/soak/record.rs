//! What is measured every second, and the files that it goes to at once.

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

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// How long the ingest-consumer is left alone after an answer.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What was seen of the line in one phase, second by second.
#[derive(Debug, Default, Clone)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// What the services held, in the order of [`SERVICES`]; nothing of a second in which one did not run.
    pub(crate) held: [Vec<Usage>; 3],
    pub(crate) moments: Vec<Moment>,
}

/// Where the line stood.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Moment {
    /// How many events were acknowledged to producers.
    pub(crate) acknowledged: u64,
    /// How many were sealed, as the ingest-consumer last said.
    pub(crate) sealed: u64,
    /// How many were not, as it last said.
    pub(crate) lag_shown: u64,
}

impl Moment {
    /// How many were acknowledged and not sealed.
    pub(crate) fn behind(&self) -> u64 {
        self.acknowledged.saturating_sub(self.sealed)
    }
}

impl Phase {
    /// How many events were acknowledged and how many sealed in it.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let (first, last) = (self.moments.first().copied(), self.moments.last().copied());
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        (last.acknowledged - first.acknowledged, last.sealed - first.sealed)
    }

    /// The largest of something in it.
    pub(crate) fn most(&self, of: impl Fn(&Moment) -> u64) -> u64 {
        self.moments.iter().map(of).max().unwrap_or_default()
    }
}

/// The measurements of a run.
pub(crate) struct Record {
    begun: Instant,
    /// How many events are sealed and how many are not, as the ingest-consumer last said.
    shown: Mutex<(u64, u64)>,
    phases: Mutex<Vec<Phase>>,
}

impl Record {
    /// Nothing measured yet.
    pub(crate) fn new(phase: &'static str) -> Self {
        let record = Self { begun: Instant::now(), shown: Mutex::default(), phases: Mutex::default() };
        record.begin(phase);
        record
    }

    /// What is measured from now on belongs to this phase.
    pub(crate) fn begin(&self, name: &'static str) {
        eprintln!("{:>7.1} s: {name}", self.begun.elapsed().as_secs_f64());
        self.lock().push(Phase { name, ..Phase::default() });
    }

    /// What was measured.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.lock().clone()
    }

    /// What was measured in the phase that runs.
    pub(crate) fn in_phase<T>(&self, look: impl Fn(&Phase) -> T) -> T {
        look(self.lock().last().expect("a phase has begun"))
    }

    /// Asks the ingest-consumer until `ended`. It is asked beside the measuring, as it may be slow to answer.
    pub(crate) fn ask(&self, line: &Line, ended: &AtomicBool) {
        while !ended.load(Ordering::SeqCst) {
            if let Some((sealed, lag)) = line.sealed_and_lag() {
                let mut shown = self.shown.lock().unwrap();
                // One that has just started does not know of all streams yet.
                *shown = (sealed.max(shown.0), lag);
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// Measures every second until `ended`, into files in `folder` too.
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
