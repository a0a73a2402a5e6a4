//! A ledger on its neighbours, and what is done with it in every scenario: produce, wait, take evidence, compare.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{Acknowledged, BareRepository, GitHttp, Kafka, Postgres, Producer, ToProduce, eventually, unique, until};

use crate::account::{Account, Place};
use crate::run::{Recovery, Run, Tally};
use testbed::anchors::AnchorClone;
use testbed::commitments::all_are_published;
use testbed::ledger::{Ledger, Neighbours, PROVEN, Verification, verify_alone, verify_with};

const ORIGIN: &str = "example.com/chaos";

/// Time until all produced events are sealed.
const SEALED_WITHIN: Duration = Duration::from_secs(120);

/// Time for something that a server does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Small, so that there are many batches.
const BATCH_EVENTS: u64 = 50;

/// Events that the continuous producer sends to each partition at once, and its pause after that.
const BURST: u64 = 10;
const REST: Duration = Duration::from_millis(20);

/// The servers and the ledger of a scenario.
pub(crate) struct Site<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) ledger: Ledger,
    pub(crate) git: GitHttp,
    /// The remote to which anchors are pushed.
    pub(crate) remote: BareRepository,
    /// The sealed topic.
    pub(crate) topic: String,
    /// The topic of commitments.
    commitments: String,
    pub(crate) partitions: u32,
    pub(crate) account: Account,
    folder: PathBuf,
    /// The number of the next event. No two events are equal.
    next: AtomicU64,
}

/// The settings of a site.
pub(crate) struct Plan<'a> {
    pub(crate) kafka: &'a Kafka,
    /// The URL of the database.
    pub(crate) database: String,
    pub(crate) partitions: u32,
    /// Settings of the topic.
    pub(crate) topic: &'a [(&'a str, &'a str)],
    /// The folder of the Git remote, if not in the scenario's folder.
    pub(crate) git: Option<PathBuf>,
    /// The ledger's folder with keys and the anchor's repository, if not in the scenario's folder.
    pub(crate) ledger: Option<PathBuf>,
}

impl<'a> Plan<'a> {
    /// A site on the scenario's own broker, with its database on the shared server.
    pub(crate) fn on(kafka: &'a Kafka) -> Self {
        Self { kafka, database: Postgres::shared().database(), partitions: 2, topic: &[], git: None, ledger: None }
    }
}

impl Default for Plan<'static> {
    /// A site on the shared broker and database server, for scenarios that do not harm them.
    fn default() -> Self {
        Self::on(Kafka::shared())
    }
}

/// The files that an auditor has.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub(crate) trust: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) clone: PathBuf,
}

impl Evidence {
    /// Runs the verifier.
    pub(crate) fn verify(&self, arguments: &[&str]) -> Verification {
        verify_with(&self.trust, &self.bundle, &self.clone, arguments)
    }
}

impl<'a> Site<'a> {
    /// Starts a ledger.
    pub(crate) fn start(run: &Run, plan: Plan<'a>) -> Self {
        let Plan { kafka, database, partitions, topic: settings, git, ledger } = plan;
        let name = unique(run.scenario);
        let topic = format!("{name}-events");
        let commitments = format!("streamseal.commitments.{name}");
        kafka.create_topic(&topic, partitions.cast_signed(), settings);
        kafka.create_topic(&commitments, 1, &[]);
        let folder = run.folder.join(&name);
        std::fs::create_dir(&folder).unwrap();
        let repositories = git.unwrap_or_else(|| folder.join("git"));
        let remote = BareRepository::new(repositories.join("anchors.git"));
        let git = GitHttp::start(repositories);
        let neighbours = Neighbours {
            bootstrap: kafka.bootstrap(),
            database: &database,
            remote: &git.url("anchors.git"),
            topics: &[&topic],
            commitments: &commitments,
            batch_events: BATCH_EVENTS,
        };
        let ledger = ledger.unwrap_or_else(|| folder.join("ledger"));
        let ledger = Ledger::start(&name, ledger, ORIGIN, &neighbours);
        Self {
            kafka,
            ledger,
            git,
            remote,
            topic,
            commitments,
            partitions,
            account: Account::default(),
            folder,
            next: AtomicU64::new(0),
        }
    }

    /// The scenario's topic, with a partition.
    pub(crate) fn place(&self, partition: u32) -> Place {
        (self.topic.clone(), partition)
    }

    /// A producer for the site's broker.
    pub(crate) fn producer(&self, properties: &[(&str, &str)]) -> Producer {
        Producer::new(self.kafka.bootstrap(), properties)
    }

    /// Produces `events` events to each partition and records them.
    pub(crate) fn produce(&mut self, events: u64) {
        let producer = self.producer(&[]);
        for partition in 0..self.partitions {
            self.send(&producer, partition, events);
        }
        self.account.add(producer.acknowledged());
    }

    /// Sends events for a partition.
    pub(crate) fn send(&self, producer: &Producer, partition: u32, events: u64) {
        for _ in 0..events {
            let value = self.value();
            // Each event has its own key, so that compaction keeps all.
            let (topic, key, value) = (self.topic.as_str(), value.split(',').next(), Some(value.as_str()));
            producer.send(ToProduce { topic, partition, key, value, timestamp: None });
        }
    }

    /// The value of the next event. No two are equal.
    pub(crate) fn value(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("event {number} of {}, {}", self.topic, "~".repeat(number as usize % 97))
    }

    /// Produces and records events while `fault` runs.
    pub(crate) fn while_producing<T>(&mut self, fault: impl FnOnce(&Self) -> T) -> T {
        let ended = AtomicBool::new(false);
        let site = &*self;
        let (value, acknowledged) = thread::scope(|scope| {
            let _end = SetOnDrop(&ended);
            let producing = scope.spawn(|| site.produce_until(&ended));
            let value = fault(site);
            ended.store(true, Ordering::SeqCst);
            (value, producing.join().expect("the producer does not fail"))
        });
        self.account.add(acknowledged);
        value
    }

    fn produce_until(&self, ended: &AtomicBool) -> Vec<Acknowledged> {
        let producer = self.producer(&[]);
        while !ended.load(Ordering::SeqCst) {
            (0..self.partitions).for_each(|partition| self.send(&producer, partition, BURST));
            // A pace, not a wait: producing at full speed would measure the machine.
            thread::sleep(REST);
        }
        producer.acknowledged()
    }

    /// Number of sealed offsets; `None` while the committer is away.
    pub(crate) fn sealed(&self) -> Option<u64> {
        (0..self.partitions).map(|partition| self.sealed_of(partition)).sum()
    }

    /// The cursor of a partition; `None` while the committer is away.
    pub(crate) fn sealed_of(&self, partition: u32) -> Option<u64> {
        self.ledger.sealed(self.kafka.cluster_id(), &self.topic, partition)
    }

    /// Waits until more offsets are sealed.
    pub(crate) fn until_progress(&self) {
        let before = eventually("the committer answers", SEALED_WITHIN, || self.sealed());
        until("sealing continues", SEALED_WITHIN, || self.sealed().is_some_and(|sealed| sealed > before));
    }

    /// Waits until all produced events are sealed.
    pub(crate) fn until_sealed(&self) {
        for place in self.account.places() {
            let end = self.account.end(&place);
            until(&format!("{place:?} is sealed up to {end}"), SEALED_WITHIN, || {
                self.ledger.assert_running();
                self.ledger.sealed(self.kafka.cluster_id(), &place.0, place.1).is_some_and(|sealed| sealed >= end)
            });
        }
    }

    /// Waits until more offsets of every partition are sealed.
    pub(crate) fn until_all_progress(&self) {
        for partition in 0..self.partitions {
            let before = eventually("the committer answers", SEALED_WITHIN, || self.sealed_of(partition));
            until("sealing of every partition continues", SEALED_WITHIN, || {
                self.sealed_of(partition).is_some_and(|sealed| sealed > before)
            });
        }
    }

    /// Waits until all produced events are sealed and anchored.
    pub(crate) fn until_anchored(&self) {
        self.until_sealed();
        self.until_what_is_sealed_is_anchored();
    }

    fn until_what_is_sealed_is_anchored(&self) {
        let places: Vec<_> = self.account.places().into_iter().collect();
        self.ledger.until_anchored(self.remote.path(), ORIGIN, self.kafka.cluster_id(), &places);
    }

    /// Measures the recovery since the end of a fault. It produces an event to each partition, then waits for the first
    /// of them and for all events to be sealed.
    pub(crate) fn recover(&mut self, run: &mut Run, ended: Instant) {
        self.produce(1);
        let ends: Vec<u64> = (0..self.partitions).map(|p| self.account.end(&self.place(p))).collect();
        until("an event produced after the fault is sealed", SEALED_WITHIN, || {
            let mut partitions = (0..self.partitions).zip(&ends);
            partitions.any(|(partition, end)| self.sealed_of(partition).is_some_and(|sealed| sealed >= *end))
        });
        let first = ended.elapsed();
        self.until_sealed();
        run.recovered(Recovery { first, all: ended.elapsed() });
    }

    /// The operator ends a halt by epoch 1 of partition 0. All events of this epoch are then sealed and proven.
    pub(crate) fn begin_epoch(&mut self, run: &mut Run) {
        let ended = Instant::now();
        self.ledger.operate(&["epoch"], &["--topic", &self.topic, "--partition", "0", "--start", "0"]);
        self.recover(run, ended);
        self.ledger.ingest.until_ready();
        let new = format!("{}/0#1", self.topic);
        let evidence = self.evidence(&["--stream", &new]);
        let verdict = self.check(run, "the new epoch", &evidence, &["--stream", &new], |epoch| epoch == 1);
        assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    }

    /// Waits until all produced events are sealed and anchored, exports with `arguments`, and clones the anchors.
    pub(crate) fn evidence(&self, arguments: &[&str]) -> Evidence {
        self.until_sealed();
        self.evidence_of_what_is_sealed(arguments)
    }

    /// As [`evidence`](Self::evidence), without waiting for events that are not sealed.
    pub(crate) fn evidence_of_what_is_sealed(&self, arguments: &[&str]) -> Evidence {
        self.until_what_is_sealed_is_anchored();
        let name = unique("evidence");
        let (bundle, clone) = (self.folder.join(format!("{name}.bundle")), self.folder.join(format!("{name}.clone")));
        // The export fails if Kafka has other events. The verifier must find that.
        let exported = self.ledger.try_export(&bundle, arguments);
        assert!(bundle.is_dir(), "not exported: {}", String::from_utf8_lossy(&exported.stderr));
        let clone = AnchorClone::of(&self.git.url("anchors.git"), clone);
        Evidence { trust: self.ledger.trust(), bundle, clone: clone.path().to_owned() }
    }

    /// Checks the database, takes full evidence, and requires that all produced events are proven.
    pub(crate) fn prove(&self, run: &mut Run) -> Evidence {
        let evidence = self.evidence(&[]);
        self.ledger.fsck();
        let verdict = self.judge(run, "everything", &evidence, &[]);
        assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
        assert_eq!(
            verify_alone(&evidence.trust, &evidence.bundle, &evidence.clone),
            verdict,
            "the auditor's own binary"
        );
        evidence
    }

    /// Number of distinct commitments.
    pub(crate) fn published(&self) -> u64 {
        let commitments = self.kafka.kcat().consume(&self.commitments);
        commitments.lines().collect::<BTreeSet<_>>().len() as u64
    }

    /// Requires that every entry was published. Returns the number of repeated commitments.
    pub(crate) fn repeated_commitments(&self, evidence: &Evidence) -> u64 {
        all_are_published(self.kafka, &self.commitments, &self.ledger, &evidence.bundle)
    }

    /// Ends a scenario: verifies full evidence, compares it with the account, and requires that every entry was
    /// published.
    pub(crate) fn judge(&self, run: &mut Run, what: &str, evidence: &Evidence, arguments: &[&str]) -> Verification {
        let (verdict, tally) = self.compare(run, what, evidence, arguments, |_| true);
        self.repeated_commitments(evidence);
        run.record.tally = tally;
        verdict
    }

    /// Verifies evidence of some epochs during a scenario. None of their events may be lost, doubled or falsely proven.
    pub(crate) fn check(
        &self,
        run: &mut Run,
        what: &str,
        evidence: &Evidence,
        arguments: &[&str],
        is_meant: impl Fn(u64) -> bool,
    ) -> Verification {
        self.compare(run, what, evidence, arguments, is_meant).0
    }

    fn compare(
        &self,
        run: &mut Run,
        what: &str,
        evidence: &Evidence,
        arguments: &[&str],
        is_meant: impl Fn(u64) -> bool,
    ) -> (Verification, Tally) {
        let verdict = evidence.verify(arguments);
        run.verdict(what, &verdict);
        let tally = self.account.compare(&evidence.bundle, &verdict, is_meant);
        if !tally.is_good() {
            run.record.tally = tally;
            panic!("{what}: {tally:?}; {:#}", verdict.report);
        }
        (verdict, tally)
    }
}

/// Sets a flag when dropped, so that a producer stops even if the fault's own checks fail.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets a fault last. Its length is part of the scenario; nothing is waited for.
pub(crate) fn hold(length: Duration) {
    thread::sleep(length);
}

/// The offsets of a partition's events in Kafka, read by another client.
pub(crate) fn offsets_in_kafka(kafka: &Kafka, topic: &str, partition: u32) -> Vec<u64> {
    let listed = kafka.kcat().consume_with_format(topic, r"%p %o\n");
    let prefix = format!("{partition} ");
    let offsets = listed.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok());
    offsets.collect()
}

/// A stream, as a finding states it.
pub(crate) fn stream(topic: &str, partition: u32, epoch: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("/stream/topic", topic.into()),
        ("/stream/partition", partition.into()),
        ("/stream/epoch", epoch.to_string().into()),
    ]
}

/// Offsets of a stream, as a finding states them.
pub(crate) fn at(topic: &str, partition: u32, epoch: u64, offsets: Range<u64>) -> Vec<(&'static str, Value)> {
    let mut place = stream(topic, partition, epoch);
    place.push(("/offsets/from", offsets.start.to_string().into()));
    place.push(("/offsets/to", offsets.end.to_string().into()));
    place
}
