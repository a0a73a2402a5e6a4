//! The whole line on real servers, each service in its own process.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use testbed::{BareRepository, GitHttp, Kafka, Postgres, Scratch, Usage, unique, until};

use crate::load::{Load, Place};
use testbed::anchors::AnchorClone;
use testbed::ledger::{Ledger, Neighbours, PROVEN, number, verify};

const ORIGIN: &str = "example.com/soak";

/// Time until the last events are sealed and the metrics show no lag.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// The services, in the order of [`Line::usage`].
pub(crate) const SERVICES: [&str; 3] = ["committer", "ingest", "anchor"];

/// The servers and the ledger.
pub(crate) struct Line {
    pub(crate) ledger: Ledger,
    kafka: &'static Kafka,
    git: GitHttp,
    remote: BareRepository,
    places: Vec<Place>,
    /// Declared last, because fields drop in this order.
    folder: Scratch,
}

/// The verifier's result.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) events: u64,
    pub(crate) entries: u64,
    pub(crate) took: Duration,
}

impl Line {
    /// Starts a line that seals `topics` topics with `partitions` partitions each.
    pub(crate) fn start(topics: u32, partitions: u32, batch_events: u64) -> Self {
        let (kafka, folder, name) = (Kafka::shared(), Scratch::new("line"), unique("line"));
        let topics: Vec<String> = (0..topics).map(|_| kafka.topic(&name, partitions.cast_signed())).collect();
        let commitments = kafka.topic("streamseal.commitments.soak", 1);
        let remote = BareRepository::new(folder.join("git/anchors.git"));
        let git = GitHttp::start(folder.join("git"));
        let neighbours = Neighbours {
            bootstrap: kafka.bootstrap(),
            database: &Postgres::shared().database(),
            remote: &git.url("anchors.git"),
            topics: &topics.iter().map(String::as_str).collect::<Vec<_>>(),
            commitments: &commitments,
            batch_events,
        };
        let ledger = Ledger::start(&name, folder.join("ledger"), ORIGIN, &neighbours);
        let places = topics.iter().flat_map(|topic| (0..partitions).map(|partition| (topic.clone(), partition)));
        Self { ledger, kafka, git, remote, places: places.collect(), folder }
    }

    /// Limits the bytes per second that the services fetch from Kafka; `None` removes the limit.
    pub(crate) fn limit_fetching(&self, bytes_s: Option<u64>) {
        self.kafka.limit_fetching(&self.ledger.name, bytes_s);
    }

    /// All partitions of all topics.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.places.clone()
    }

    /// Produces a load until `ended`.
    pub(crate) fn produce(&self, load: &Load, ended: &AtomicBool) {
        load.produce(self.kafka.bootstrap(), ended);
    }

    /// The resource usage of each service; `None` for a service that does not run.
    pub(crate) fn usage(&self) -> [Option<Usage>; 3] {
        self.ledger.services().map(|service| service.usage())
    }

    /// Numbers of sealed and unsealed events in the ingest-consumer's metrics; `None` while it does not answer.
    pub(crate) fn sealed_and_lag(&self) -> Option<(u64, u64)> {
        let names = ["streamseal_ingest_sealed_offset", "streamseal_ingest_lag_offsets"];
        let [sealed, lag] = self.ledger.ingest.metrics(names)?;
        Some((sealed as u64, lag as u64))
    }

    /// Waits until all acknowledged events are sealed and the metrics show no lag.
    pub(crate) fn until_caught_up(&self, load: &Load) {
        until("everything is sealed and no lag is shown", CAUGHT_UP_WITHIN, || {
            self.ledger.assert_running();
            self.sealed_and_lag() == Some((load.acknowledged(), 0))
        });
    }

    /// Takes full evidence, and requires that the verifier proves exactly the acknowledged events of each partition.
    pub(crate) fn prove(&self, load: &Load) -> Proven {
        let produced: Vec<_> = load.acknowledged_by_place().filter(|(_, events)| *events > 0).collect();
        let places: Vec<Place> = produced.iter().map(|(place, _)| (*place).clone()).collect();
        self.ledger.until_anchored(self.remote.path(), ORIGIN, self.kafka.cluster_id(), &places);
        self.ledger.fsck();
        let bundle = self.folder.join("bundle");
        self.ledger.export(&bundle);
        let clone = AnchorClone::of(&self.git.url("anchors.git"), self.folder.join("clone"));
        let begun = Instant::now();
        let verdict = verify(&self.ledger.trust(), &bundle, clone.path(), None);
        let took = begun.elapsed();
        assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
        let streams = verdict.report["streams"].as_array().unwrap();
        for ((topic, partition), events) in produced {
            let mut streams = streams.iter();
            let stream = streams.find(|s| s["topic"] == topic.as_str() && s["partition"] == *partition).unwrap();
            let [range] = &stream["proven"].as_array().unwrap()[..] else { panic!("{stream:#}") };
            assert_eq!(number(&range["from"]), Some(0), "{stream:#}");
            // Nobody else produces, so the number of events is also the next offset.
            assert!(number(&range["to"]).is_none_or(|to| to == events), "{stream:#}");
            assert_eq!(number(&stream["events"]), Some(events), "{stream:#}");
        }
        let events = streams.iter().filter_map(|stream| number(&stream["events"])).sum();
        Proven { events, entries: self.ledger.size().unwrap(), took }
    }
}
