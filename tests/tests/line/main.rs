//! The whole line on a real Kafka, PostgreSQL and a Git remote over HTTP. Services are killed with `kill -9` while
//! lines are produced. An auditor without network then proves exactly these lines, or finds how they were tampered
//! with.
//!
//! `STREAMSEAL_LINE_INPUT=FILE[:FILE...] cargo test -p tests --test line` seals the lines of these files instead.

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

/// The default topic of commitments.
const COMMITMENTS: &str = "commitments";
/// The forged ledger's topic of commitments: ledgers cannot share one.
const FORGED_COMMITMENTS: &str = "streamseal.commitments.forged";

/// Time to seal all lines of a slice, at full size and in an unoptimised build.
const SEALED_WITHIN: Duration = Duration::from_secs(900);

/// Maximum share of a core for all idle services together. It is twice the promise (2 %), because the build is not
/// optimised and the anchor asks for the head sixty times as often as by default.
const IDLE_SHARE_MAX: f64 = 0.04;

/// Minimum time of that measurement.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// Maximum memory of the ingest-consumer at full speed.
const INGEST_BYTES_MAX: u64 = 200 << 20;

/// The service to kill while a slice of the lines is produced.
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

/// Number of slices before the evidence is taken that later is old.
const EARLY: usize = 3;

/// The servers around the ledgers, and their input.
struct Site {
    folder: Scratch,
    input: Input,
    kafka: &'static Kafka,
    git: GitHttp,
}

/// The files that an auditor has.
pub(crate) struct Evidence {
    /// The trust file.
    pub(crate) trust: PathBuf,
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The clone of the anchors.
    pub(crate) clone: AnchorClone,
}

#[test]
fn lines_are_proven_and_tampering_is_found() {
    let site = Site::new();
    let ledger = site.ledger("ledger", COMMITMENTS);
    let early = site.produce_and_kill(&ledger);
    let evidence = site.take_evidence(&ledger, "ledger", site.input.len());
    audit::every_entry_was_published(&site, &ledger, &evidence);
    ledger.fsck();

    let idle = Idle::begin(&ledger);
    audit::all_lines_are_proven(&site, &evidence);
    audit::tampering_with_a_bundle_is_found(&site, &evidence);
    audit::a_rewritten_history_is_found(&site, &evidence);
    audit::old_evidence_is_found_by_the_pin(&site, &evidence, &early);

    idle.end(&ledger);
    ledger.ingest.stop();

    // Another ledger is consistent in itself. Only the auditor's trust file tells it apart.
    let forged = site.ledger("forged", FORGED_COMMITMENTS);
    let forged = site.take_evidence(&forged, "forged", site.input.len());
    audit::another_ledger_is_found(&site, &evidence, &forged);
}

impl Site {
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

    /// Starts a ledger on the same topics, which publishes to `commitments`.
    fn ledger(&self, name: &str, commitments: &str) -> Ledger {
        BareRepository::new(self.repository(name));
        let neighbours = Neighbours {
            bootstrap: self.kafka.bootstrap(),
            database: &Postgres::shared().database(),
            remote: &self.git.url(&format!("{name}.git")),
            topics: &TOPICS,
            commitments,
            // Some hundreds of batches for any size of the input.
            batch_events: (self.input.len() / 200).clamp(100, 4096),
        };
        Ledger::start(name, self.folder.join(name), ORIGIN, &neighbours)
    }

    /// The remote to which a ledger's anchors are pushed.
    fn repository(&self, ledger: &str) -> PathBuf {
        self.folder.join("git").join(format!("{ledger}.git"))
    }

    /// Produces all lines slice by slice, kills a service in the middle of each, and waits until all lines are sealed.
    /// Returns evidence taken on the way.
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
        early.expect("there are more slices than EARLY")
    }

    /// Produces a slice to all partitions, one after the other. Returns when Kafka has acknowledged it.
    fn produce(&self, slice: usize) {
        for (topic, partition, _) in self.input.places() {
            self.kafka.kcat().produce(topic, partition as i32, &self.input.file(slice, topic, partition));
        }
    }

    /// Waits until this number of lines is sealed. Each offset here is a line.
    fn wait_until_sealed(&self, ledger: &Ledger, lines: u64) {
        let cluster = self.kafka.cluster_id();
        until(&format!("{lines} lines are sealed"), SEALED_WITHIN, || {
            ledger.assert_running();
            let sealed = self.input.places().map(|(topic, partition, _)| ledger.sealed(cluster, topic, partition));
            sealed.sum::<Option<u64>>().is_some_and(|sealed| sealed >= lines)
        });
    }

    /// Waits until this number of lines is sealed and anchored, then exports them and clones the anchors.
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

/// Measures what idle services use.
struct Idle {
    start: Instant,
    cpu: Duration,
}

impl Idle {
    fn begin(ledger: &Ledger) -> Self {
        Self { start: Instant::now(), cpu: Self::cpu(ledger) }
    }

    fn end(self, ledger: &Ledger) {
        // A shorter time would measure work from before it began.
        until("the services were idle long enough", 2 * IDLE_FOR, || self.start.elapsed() >= IDLE_FOR);
        let share = (Self::cpu(ledger) - self.cpu).as_secs_f64() / self.start.elapsed().as_secs_f64();
        let memory = ledger.services().map(|service| service.memory_peak_bytes() >> 20);
        eprintln!("idle for {:?} at {:.2} % of a core; peaks of {memory:?} MiB", self.start.elapsed(), share * 100.0);
        assert!(share < IDLE_SHARE_MAX, "{share} of a core while idle");
        let ingest = ledger.ingest.memory_peak_bytes();
        assert!(ingest < INGEST_BYTES_MAX, "ingest used {ingest} bytes");
    }

    fn cpu(ledger: &Ledger) -> Duration {
        ledger.services().map(|service| service.cpu_time()).iter().sum()
    }
}
