//! What the cases of one worker share: a broker with events, and template folders of a ledger.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evidence::statement::{LastEvent, LedgerId, Summary};
use evidence::{EventRef, LeafHasher, Partition, SignedStatement, SigningKey, Statement, batch};
use kafka::{Cluster, EmbeddedBroker, Producer, Properties, Reader, Record, TopicPartition};
use testbed::{Scratch, free_port, run, streamseal};

use crate::place::Place;
use testbed::anchors::AnchorClone;
use testbed::ledger::PROVEN;

pub(crate) const TOPIC: &str = "orders";
const ORIGIN: &str = "example.com/faults";
const WITHIN: Duration = Duration::from_secs(60);

/// Events per batch, and number of batches to seal.
pub(crate) const BATCH_EVENTS: u64 = 5;
const BATCHES: u64 = 16;

/// Batches that are sealed already in templates with a chain.
const BEFORE: usize = 3;

/// The state at the start of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Keys, genesis and configuration.
    New,
    /// A chain without anchors.
    Sealed,
    /// A chain that continues after its anchor.
    Anchored,
    /// An anchored chain with an older and a newer bundle, a clone, and a pin file of the older head.
    Evidence,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Sealed => "sealed",
            Self::Anchored => "anchored",
            Self::Evidence => "evidence",
        }
    }
}

/// A broker with events, their summaries, and the folder of each case's ledger. All cases use the same folder, so that
/// the paths of their files identify the calls.
pub(crate) struct Site {
    scratch: Scratch,
    broker: EmbeddedBroker,
    /// Of committer and anchor.
    addresses: [SocketAddr; 2],
    /// Summaries of the batches, in order.
    pub(crate) summaries: Vec<String>,
    /// Values of the events, by offset.
    pub(crate) values: Vec<Vec<u8>>,
    /// Number of published entries in templates with a chain.
    published: [u64; 2],
    topics: Cell<u32>,
    cases: Cell<u32>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic(TOPIC, 1).unwrap();
        let scratch = Scratch::new("faults");
        let mut site = Self {
            broker,
            addresses: [(); 2].map(|()| ([127, 0, 0, 1], free_port()).into()),
            summaries: Vec::new(),
            values: (0..BATCHES * BATCH_EVENTS).map(|i| format!("event {i}").into_bytes()).collect(),
            published: [0; 2],
            topics: Cell::new(0),
            cases: Cell::new(0),
            scratch,
        };
        site.produce();
        site.make_templates();
        site
    }

    pub(crate) fn properties(&self) -> Properties {
        Properties::new([("bootstrap.servers", self.broker.bootstrap_servers())]).unwrap()
    }

    fn produce(&self) {
        let producer = Producer::new(&self.properties()).unwrap();
        for value in &self.values {
            let record = Record { topic: TOPIC, partition: Some(0), value: Some(value), ..Record::default() };
            assert!(producer.send(&record, WITHIN).unwrap());
        }
        assert!(producer.flush(WITHIN).unwrap());
    }

    fn make_templates(&mut self) {
        let folder = self.folder();
        let mut init = Command::new(streamseal());
        init.arg("init").arg(&folder).args(["--origin", ORIGIN, "--topic", TOPIC]);
        init.args(["--bootstrap-servers", self.broker.bootstrap_servers()]);
        run(&mut init);
        self.configure(&folder);
        self.summarise(&folder);
        self.keep(Start::New);

        let mut place = self.place(Start::New);
        let committer = place.committer();
        place.seal(0..BEFORE, &committer);
        place.until_signed(&committer);
        place.stop(&committer);
        let published = place.published_size();
        self.keep(Start::Sealed);
        self.published[0] = published;

        let mut place = self.place(Start::Sealed);
        let committer = place.committer();
        place.anchor_all();
        place.export_to("old.bundle");
        place.seal(BEFORE..2 * BEFORE, &committer);
        place.until_signed(&committer);
        place.stop(&committer);
        let published = place.published_size();
        self.keep(Start::Anchored);
        self.published[1] = published;

        let place = self.place(Start::Anchored);
        let committer = place.committer();
        AnchorClone::of(place.remote().to_str().unwrap(), place.join("clone"));
        assert_eq!(place.verify("old.bundle").code, PROVEN);
        place.anchor_all();
        place.export_to("new.bundle");
        fs::remove_dir_all(place.join("clone")).unwrap();
        AnchorClone::of(place.remote().to_str().unwrap(), place.join("clone"));
        place.stop(&committer);
        self.keep(Start::Evidence);
    }

    fn configure(&self, folder: &Path) {
        let path = folder.join("streamseal.toml");
        let mut text = fs::read_to_string(&path).unwrap();
        let [committer, anchor] = self.addresses;
        text = text.replace("127.0.0.1:7380", &committer.to_string()).replace("127.0.0.1:7382", &anchor.to_string());
        text = text.replace("[committer]", "[committer]\nheads_s = 3600\ncheckpoint_ms = 20");
        text = text.replace("[anchor]", "[anchor]\ninterval_s = 1");
        fs::write(&path, text).unwrap();
    }

    /// Reads the events back and signs their summaries, as an ingest-consumer does.
    fn summarise(&mut self, folder: &Path) {
        let genesis = SignedStatement::parse(&fs::read(folder.join("genesis.note")).unwrap()).unwrap();
        let ledger = LedgerId { origin: ORIGIN.to_owned(), genesis: genesis.hash() };
        let key: SigningKey = fs::read_to_string(folder.join("keys/ingest.key")).unwrap().trim_end().parse().unwrap();
        let cluster = Cluster::new(&self.properties(), WITHIN).unwrap();
        let topic_id = cluster.topic(TOPIC).unwrap().expect("it was created").id;
        let partition = Partition { cluster: cluster.id().unwrap(), topic: TOPIC.to_owned(), number: 0 };
        let mut reader = Reader::new(&self.properties(), WITHIN).unwrap();
        let mut prev = None;
        for first in (0..BATCHES * BATCH_EVENTS).step_by(BATCH_EVENTS as usize) {
            let next = first + BATCH_EVENTS;
            let mut hasher = LeafHasher::new();
            let mut times = Vec::new();
            let visit = |event: &EventRef<'_>| {
                hasher.push(event);
                times.push(event.timestamp);
                Ok::<_, kafka::Error>(())
            };
            reader.read(&TopicPartition::new(TOPIC, 0), first as i64..next as i64, visit).unwrap();
            let leaves = hasher.drain();
            let summary = Summary {
                ledger: ledger.clone(),
                stream: partition.stream(0),
                topic_id: topic_id.clone(),
                first,
                next,
                events: leaves.leaves.len() as u64,
                bytes: leaves.content_bytes,
                time: times.iter().min().copied().zip(times.iter().max().copied()),
                root: batch::root(leaves.leaves),
                last: leaves.leaves.last().map(|leaf| LastEvent { offset: next - 1, leaf: *leaf }),
                prev,
            };
            let signed = SignedStatement::sign(Statement::Summary(summary), &[&key]);
            prev = Some(signed.hash());
            self.summaries.push(String::from_utf8(signed.to_bytes()).unwrap());
        }
    }

    /// Resets the folder to the state at a start.
    pub(crate) fn place(&self, start: Start) -> Place<'_> {
        let folder = self.folder();
        let _ = fs::remove_dir_all(&folder);
        self.traces_and_logs().into_iter().for_each(|file| fs::remove_file(file).unwrap());
        run(Command::new("cp").arg("-a").arg(self.template(start)).arg(&folder));
        let topic = format!("streamseal.commitments.{}", self.topics.replace(self.topics.get() + 1));
        self.broker.create_topic(&topic, 1).unwrap();
        // The publisher continues at the template's progress. Entries of other cases do not count.
        let config = folder.join("streamseal.toml");
        let text = fs::read_to_string(&config).unwrap();
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("commitments_topic")).collect();
        let text = text.join("\n").replace("[committer]", &format!("[committer]\ncommitments_topic = \"{topic}\""));
        fs::write(&config, text).unwrap();
        let (sealed, published) = match start {
            Start::New => (0, 0),
            Start::Sealed => (BEFORE, self.published[0]),
            Start::Anchored | Start::Evidence => (2 * BEFORE, self.published[1]),
        };
        Place::new(self, folder, self.addresses, topic, (sealed, published))
    }

    /// The folder of a case's ledger.
    pub(crate) fn folder(&self) -> PathBuf {
        self.scratch.join("ledger")
    }

    /// An unused path for files of the present case.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        self.cases.set(self.cases.get() + 1);
        self.scratch.join(format!("{name}-{}", self.cases.get()))
    }

    /// Keeps the folder of a failed case.
    pub(crate) fn keep_failed(&mut self) {
        let kept = self.fresh("failed");
        let files = self.traces_and_logs();
        if fs::rename(self.folder(), &kept).is_ok() {
            for file in files {
                fs::rename(&file, kept.join(file.file_name().expect("it is a file"))).unwrap();
            }
        }
        self.scratch.keep();
    }

    /// The files beside the folder of a case.
    fn traces_and_logs(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.scratch.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.is_file()).collect()
    }

    fn keep(&self, start: Start) {
        fs::rename(self.folder(), self.template(start)).unwrap();
    }

    /// The template folder of a start.
    pub(crate) fn template(&self, start: Start) -> PathBuf {
        self.scratch.join(start.name())
    }

    pub(crate) fn origin(&self) -> &'static str {
        ORIGIN
    }
}
