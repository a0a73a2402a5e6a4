//! The whole line: real Kafka, PostgreSQL and a Git remote over HTTP, services that are killed with -9 while lines are
//! produced, and an auditor without network who finds exactly these lines, or what was done to them.
//!
//! `STREAMSEAL_LINE_INPUT=FILE[:FILE...] cargo test -p tests --test line` runs the same on the lines of files.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod audit;
mod input;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use testbed::{BareRepository, GitHttp, Kafka, Postgres, Scratch, until};

use input::{Input, PARTITIONS, TOPICS};
use testbed::anchors::AnchorClone;
use testbed::ledger::{Ledger, Neighbours};

const ORIGIN: &str = "example.com/audit";

/// Where committers publish by default.
const COMMITMENTS: &str = "commitments";
/// No ledger publishes to another one's topic.
const FORGED_COMMITMENTS: &str = "streamseal.commitments.forged";

/// For all lines of a slice to be sealed, at full size and in an unoptimised build.
const SEALED_WITHIN: Duration = Duration::from_secs(900);

/// Of a core, for all services together, when nothing is produced. Twice what is promised (2 %): the build is not
/// optimised, and the anchor looks at the head sixty times as often as by default.
const IDLE_SHARE_MAX: f64 = 0.04;

/// How long that is measured at least.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// For the ingest-consumer at full speed.
const INGEST_BYTES_MAX: u64 = 200 << 20;

/// What is killed while a slice of the lines is produced.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Ingest,
    Committer,
    Nobody,
}

const VICTIMS: [Victim; 6] = {
    use Victim::{Committer, Ingest, Nobody};
    [Ingest, Committer, Ingest, Committer, Ingest, Nobody]
};

/// After so many slices evidence is taken that is old in the end.
const EARLY: usize = 3;

/// What runs around the ledgers.
struct Surroundings {
    folder: Scratch,
    input: Input,
    kafka: &'static Kafka,
    git: GitHttp,
}

/// What an auditor holds.
pub(crate) struct Evidence {
    /// The trust file.
    pub(crate) trust: PathBuf,
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The clone of the anchors.
    pub(crate) clone: AnchorClone,
}

#[test]
fn what_was_produced_is_proven_and_what_was_done_to_it_is_found() {
    let around = Surroundings::new();
    let ledger = around.ledger("ledger", COMMITMENTS);
    let early = around.produce_and_kill(&ledger);
    let evidence = around.take_evidence(&ledger, "ledger", around.input.len());
    audit::every_entry_was_published(&around, &ledger, &evidence);
    ledger.fsck();

    let idle = Idle::begin(&ledger);
    audit::all_lines_are_proven(&around, &evidence);
    audit::what_is_done_to_a_bundle_is_found(&around, &evidence);
    audit::a_rewritten_history_is_found(&around, &evidence);
    audit::old_evidence_is_found_by_the_pin(&around, &evidence, &early);

    idle.end(&ledger);
    ledger.ingest.stop();

    // Everything of another ledger fits together; only the auditor's trust file tells that it is another.
    let forged = around.ledger("forged", FORGED_COMMITMENTS);
    let forged = around.take_evidence(&forged, "forged", around.input.len());
    audit::another_ledger_is_found(&around, &evidence, &forged);
}

impl Surroundings {
    fn new() -> Self {
        let folder = Scratch::new("line");
        fs::create_dir(folder.join("input")).unwrap();
        let input = Input::prepare(folder.join("input"), VICTIMS.len());
        fs::create_dir(folder.join("git")).unwrap();
        let kafka = Kafka::shared();
        for topic in TOPICS {
            kafka.create_topic(topic, PARTITIONS as i32, &[]);
        }
        for topic in [COMMITMENTS, FORGED_COMMITMENTS] {
            kafka.create_topic(topic, 1, &[]);
        }
        let git = GitHttp::start(folder.join("git"));
        Self { folder, input, kafka, git }
    }

    /// A ledger of its own on the same topics, which publishes to this topic.
    fn ledger(&self, name: &str, commitments: &str) -> Ledger {
        BareRepository::new(self.repository(name));
        let neighbours = Neighbours {
            bootstrap: self.kafka.bootstrap(),
            database: &Postgres::shared().database(),
            remote: &self.git.url(&format!("{name}.git")),
            topics: &TOPICS,
            commitments,
            // Some hundreds of batches whatever the size of the input.
            batch_events: (self.input.len() / 200).clamp(100, 4096),
        };
        Ledger::start(name, self.folder.join(name), ORIGIN, &neighbours)
    }

    /// The remote that a ledger's anchors are pushed to.
    fn repository(&self, ledger: &str) -> PathBuf {
        self.folder.join("git").join(format!("{ledger}.git"))
    }

    /// Produces all lines slice by slice, kills a service in the middle of each, and waits until all is sealed.
    /// Returns evidence from the way.
    fn produce_and_kill(&self, ledger: &Ledger) -> Evidence {
        let start = Instant::now();
        let mut early = None;
        for (slice, victim) in VICTIMS.into_iter().enumerate() {
            let (before, after) = (self.input.before(slice), self.input.before(slice + 1));
            thread::scope(|scope| {
                scope.spawn(|| self.produce(slice));
                self.wait_until_sealed(ledger, before + (after - before) / 2);
                let process = match victim {
                    Victim::Ingest => &ledger.ingest,
                    Victim::Committer => &ledger.committer,
                    Victim::Nobody => return,
                };
                process.kill9();
                eprintln!("{:?}: killed {victim:?} in lines {before} to {after}", start.elapsed());
                process.start_again();
            });
            if slice + 1 == EARLY {
                early = Some(self.take_evidence(ledger, "early", after));
            }
        }
        self.wait_until_sealed(ledger, self.input.len());
        eprintln!("{:?}: {} lines sealed", start.elapsed(), self.input.len());
        early.expect("there are more slices than that")
    }

    /// Produces a slice to all partitions, one after the other; returns when Kafka has acknowledged it.
    fn produce(&self, slice: usize) {
        for (topic, partition, _) in self.input.places() {
            self.kafka.kcat().produce(topic, partition as i32, &self.input.file(slice, topic, partition));
        }
    }

    /// Waits until so many lines are sealed. Kafka has no other offsets here than those of lines.
    fn wait_until_sealed(&self, ledger: &Ledger, lines: u64) {
        let cluster = self.kafka.cluster_id();
        until(&format!("{lines} lines are sealed"), SEALED_WITHIN, || {
            ledger.assert_running();
            let sealed = self.input.places().map(|(topic, partition, _)| ledger.sealed(cluster, topic, partition));
            sealed.sum::<Option<u64>>().is_some_and(|sealed| sealed >= lines)
        });
    }

    /// Waits until so many lines are sealed and anchored, then exports them and clones the anchors.
    fn take_evidence(&self, ledger: &Ledger, name: &str, lines: u64) -> Evidence {
        self.wait_until_sealed(ledger, lines);
        let places: Vec<_> = self.input.places().map(|(topic, partition, _)| (topic.to_owned(), partition)).collect();
        ledger.until_anchored(&self.repository(&ledger.name), ORIGIN, self.kafka.cluster_id(), &places);
        let bundle = self.folder.join(format!("{name}.bundle"));
        let start = Instant::now();
        ledger.export(&bundle);
        eprintln!("{name} exported in {:?}", start.elapsed());
        let clone =
            AnchorClone::of(&self.git.url(&format!("{}.git", ledger.name)), self.folder.join(format!("{name}.clone")));
        Evidence { trust: ledger.trust(), bundle, clone }
    }
}

/// What services use while nothing is produced.
struct Idle {
    start: Instant,
    cpu: Duration,
}

impl Idle {
    fn begin(ledger: &Ledger) -> Self {
        Self { start: Instant::now(), cpu: Self::cpu(ledger) }
    }

    fn end(self, ledger: &Ledger) {
        // Shorter would measure what was left to do when it began.
        until("enough of idleness to measure", 2 * IDLE_FOR, || self.start.elapsed() >= IDLE_FOR);
        let share = (Self::cpu(ledger) - self.cpu).as_secs_f64() / self.start.elapsed().as_secs_f64();
        let memory = ledger.services().map(|service| service.memory_peak_bytes() >> 20);
        eprintln!("idle for {:?} at {:.2} % of a core; peaks of {memory:?} MiB", self.start.elapsed(), share * 100.0);
        assert!(share < IDLE_SHARE_MAX, "{share} of a core while idle");
        let ingest = ledger.ingest.memory_peak_bytes();
        assert!(ingest < INGEST_BYTES_MAX, "ingest had {ingest} bytes");
    }

    fn cpu(ledger: &Ledger) -> Duration {
        ledger.services().map(|service| service.cpu_time()).iter().sum()
    }
}
