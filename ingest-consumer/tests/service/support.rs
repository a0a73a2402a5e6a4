//! An ingest-consumer between a broker and a committer with a ledger in memory.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use committer_client::{CursorQuery, ErrorView, SubmitRequest};
use evidence::statement::Summary;
use evidence::{LeafHasher, Partition, Statement, batch};
use ingest_consumer::Config;
use kafka::{EmbeddedBroker, Producer, Properties, Reader, Record, TopicPartition};
use service::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use testbed::memory_ledger::{MemoryLedger, ingest_key};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a committer behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitterMode {
    Healthy,
    /// It answers 503, and appends nothing.
    Unavailable,
    /// It appends statements, but answers 503.
    LosesAnswers,
    /// It does not answer submissions before the mode changes.
    Hangs,
}

/// Submissions in flight.
#[derive(Default)]
struct InFlight {
    now: usize,
    max: usize,
}

pub(crate) struct Committer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Mutex<MemoryLedger>,
    mode: watch::Sender<CommitterMode>,
    in_flight: Mutex<InFlight>,
}

impl Committer {
    pub(crate) async fn start(ledger: MemoryLedger) -> Self {
        let mode = watch::Sender::new(CommitterMode::Healthy);
        let shared = Arc::new(Shared { ledger: Mutex::new(ledger), mode, in_flight: Mutex::default() });
        let routes = Router::new()
            .route("/v1/statements", post(submit))
            .route("/v1/cursors", get(cursor))
            .route("/v1/keys", get(keys))
            .route("/v1/status", get(status))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, shared }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, MemoryLedger> {
        self.shared.ledger()
    }

    pub(crate) fn set_mode(&self, mode: CommitterMode) {
        self.shared.mode.send_replace(mode);
    }

    /// The most submissions that were in flight at once.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.shared.in_flight().max
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, MemoryLedger> {
        self.ledger.lock().expect("no thread panicked")
    }

    fn mode(&self) -> CommitterMode {
        *self.mode.borrow()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().expect("no thread panicked")
    }
}

/// Counts a submission until it is answered or dropped.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut in_flight = shared.in_flight();
        in_flight.now += 1;
        in_flight.max = in_flight.max.max(in_flight.now);
        Self(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.in_flight().now -= 1;
    }
}

fn unavailable() -> Response {
    let view = ErrorView { code: "unavailable".into(), message: "the database is away".into() };
    (StatusCode::SERVICE_UNAVAILABLE, Json(view)).into_response()
}

async fn submit(State(shared): State<Arc<Shared>>, Json(request): Json<SubmitRequest>) -> Response {
    let _counted = Counted::begin(&shared);
    let mut mode = shared.mode.subscribe();
    mode.wait_for(|mode| *mode != CommitterMode::Hangs).await.expect("it is never closed");
    let mode = shared.mode();
    if mode == CommitterMode::Unavailable {
        return unavailable();
    }
    let answer = shared.ledger().submit(&request.statements);
    if mode == CommitterMode::LosesAnswers { unavailable() } else { Json(answer).into_response() }
}

async fn cursor(State(shared): State<Arc<Shared>>, Query(query): Query<CursorQuery>) -> Response {
    if shared.mode() == CommitterMode::Unavailable {
        return unavailable();
    }
    let partition = Partition { cluster: query.cluster, topic: query.topic, number: query.partition };
    Json(shared.ledger().cursor(&partition)).into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.ledger().keys()).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let ledger = shared.ledger();
    let streams = ledger.entries().iter().filter_map(|entry| entry.statement.statement().stream());
    let clusters: BTreeSet<_> = streams.map(|stream| stream.partition.cluster.clone()).collect();
    let (id, size) = (ledger.id(), ledger.entries().len() as u64);
    let status = committer_client::Status {
        origin: id.origin,
        genesis: id.genesis.to_string(),
        size,
        checkpoint_size: size,
        published_size: None,
        clusters: clusters.into_iter().collect(),
    };
    Json(status).into_response()
}

/// A broker, a committer and a folder with the ingest key.
pub(crate) struct Line {
    bootstrap: String,
    embedded: Option<EmbeddedBroker>,
    pub(crate) committer: Committer,
    folder: tempfile::TempDir,
}

/// A running ingest-consumer.
pub(crate) struct Ingest {
    address: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Line {
    /// With the embedded broker.
    pub(crate) async fn embedded(ledger: MemoryLedger) -> Self {
        let broker = EmbeddedBroker::start().expect("a broker");
        let line = Self::at(broker.bootstrap_servers(), ledger).await;
        Self { embedded: Some(broker), ..line }
    }

    /// With the broker at this address.
    pub(crate) async fn at(bootstrap: &str, ledger: MemoryLedger) -> Self {
        service::logging::init(service::logging::LevelFilter::OFF);
        let folder = tempfile::tempdir().expect("a folder");
        keystore::write_signing_key(&folder.path().join("ingest.key"), &ingest_key()).expect("written");
        Self { bootstrap: bootstrap.to_owned(), embedded: None, committer: Committer::start(ledger).await, folder }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic in the embedded broker.
    pub(crate) fn create_topic(&self, name: &str, partitions: u32) {
        self.embedded.as_ref().expect("an embedded broker").create_topic(name, partitions).expect("created");
    }

    pub(crate) fn properties(&self) -> Properties {
        self.properties_with(&[])
    }

    pub(crate) fn properties_with(&self, more: &[(&str, &str)]) -> Properties {
        let servers = ("bootstrap.servers", self.bootstrap());
        Properties::new(more.iter().copied().chain([servers])).expect("good properties")
    }

    /// Starts an ingest-consumer. `fields` is TOML for `[ingest]`, without the committer and the key.
    pub(crate) async fn ingest(&self, fields: &str) -> Ingest {
        self.ingest_at(self.properties(), fields).await
    }

    pub(crate) async fn ingest_at(&self, properties: Properties, fields: &str) -> Ingest {
        let key = self.folder.path().join("ingest.key");
        let text = format!(
            "committer = 'http://{}'\nkey = '{}'\nbatch_age_ms = 200\n{fields}",
            self.committer.address,
            key.display()
        );
        let config: Config = service::config::parse(&text, "test.toml".as_ref()).expect("a good configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let ledger = self.committer.ledger().id();
        let run = ingest_consumer::run(config, ledger, properties, listener, shutdown.clone());
        Ingest { address, shutdown, running: tokio::spawn(run) }
    }

    /// Produces events with these values to a partition.
    pub(crate) fn produce(&self, topic: &str, partition: u32, values: impl IntoIterator<Item = String>) {
        let producer = Producer::new(&self.properties()).expect("a producer");
        for value in values {
            let record = Record {
                topic,
                partition: Some(partition),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[("name", Some(b"value")), ("null", None)],
            };
            assert!(producer.send(&record, PATIENCE).expect("taken"));
        }
        assert!(producer.flush(PATIENCE).expect("produced"));
    }

    /// The partition as statements name it.
    pub(crate) fn named(&self, topic: &str, number: u32) -> Partition {
        let cluster = kafka::Cluster::new(&self.properties(), PATIENCE).expect("a client").id().expect("an id");
        Partition { cluster, topic: topic.to_owned(), number }
    }

    /// Waits until a partition is sealed up to an offset.
    pub(crate) async fn sealed(&self, partition: &Partition, next: u64) {
        eventually(&format!("{partition} sealed to {next}"), async || {
            let cursor = self.committer.ledger().cursor(partition);
            (cursor.next == next).then_some(()).ok_or_else(|| format!("it is sealed to {}", cursor.next))
        })
        .await;
    }

    /// All summaries of a partition.
    pub(crate) fn summaries(&self, partition: &Partition) -> Vec<Summary> {
        let ledger = self.committer.ledger();
        let statements = ledger.entries().iter().map(|entry| entry.statement.statement());
        let summaries = statements.filter_map(|statement| match statement {
            Statement::Summary(summary) if summary.stream.partition == *partition => Some(summary.clone()),
            _ => None,
        });
        summaries.collect()
    }

    /// Compares the summaries of a partition with the events in Kafka.
    pub(crate) fn assert_true(&self, partition: &Partition) {
        let summaries = self.summaries(partition);
        let place = TopicPartition::new(partition.topic.as_str(), partition.number);
        let (mut hasher, mut offsets) = (LeafHasher::new(), Vec::new());
        let mut reader = Reader::new(&self.properties(), PATIENCE).expect("a reader");
        let read = reader.read(&place, 0..i64::MAX, |event| {
            hasher.push(event);
            offsets.push(event.offset as u64);
            Ok::<(), kafka::Error>(())
        });
        read.expect("read");
        let leaves = hasher.drain().leaves;
        for summary in summaries {
            let from = offsets.partition_point(|offset| *offset < summary.first);
            let to = offsets.partition_point(|offset| *offset < summary.next);
            assert_eq!(summary.events, (to - from) as u64, "{summary:?}");
            assert_eq!(summary.root, batch::root(&leaves[from..to]), "{summary:?}");
        }
    }
}

impl Ingest {
    /// Whether it is ready, and the reasons if not.
    pub(crate) async fn readiness(&self) -> (bool, String) {
        let answer = reqwest::get(format!("http://{}/readyz", self.address)).await.expect("an answer");
        (answer.status().is_success(), answer.text().await.expect("text"))
    }

    /// The metrics of this process. Services of other tests share them, so each test uses its own topic.
    pub(crate) async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.address)).await.expect("an answer");
        answer.text().await.expect("text")
    }

    /// Waits until it is not ready for a reason that contains `text`; returns all reasons.
    pub(crate) async fn waits_for(&self, text: &str) -> String {
        eventually(&format!("not ready: {text}"), async || {
            let (_, reasons) = self.readiness().await;
            if reasons.contains(text) { Ok(reasons) } else { Err(reasons) }
        })
        .await
    }

    /// Waits until its metrics contain `text`. They follow the ledger a little later.
    pub(crate) async fn shows(&self, text: &str) {
        eventually(text, async || {
            let metrics = self.metrics().await;
            if metrics.contains(text) { Ok(()) } else { Err(metrics) }
        })
        .await;
    }

    pub(crate) async fn ready(&self) {
        eventually("ready", async || match self.readiness().await {
            (true, _) => Ok(()),
            (false, reasons) => Err(reasons),
        })
        .await;
    }

    /// Waits until it ends with an error.
    pub(crate) async fn failed(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.running).await.expect("ends in time");
        format!("{:#}", ended.expect("no panic").expect_err("cannot run"))
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await.expect("ends in time");
        ended.expect("no panic").expect("ends well");
    }
}

pub(crate) fn values(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|n| format!("value {n}"))
}

/// Retries a condition until it holds.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(state) if begun.elapsed() > PATIENCE => panic!("not {what} within {PATIENCE:?}: {state}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
