//! A committer that runs in this process.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use committer::{Clock, Config, DatabaseUrl, Ledger, ServiceParts, run, system_clock};
use committer_client::{Client, Cursor, CursorQuery, Error, Status, SubmitResponse};
use evidence::{Partition, SignedStatement, SigningKey};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Database;
use testbed::statements::{TestLedger, text};

/// Longer than anything here takes, including a database call that times out.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A committer's files across its restarts: its keys, and what they signed.
pub(crate) struct Place {
    pub(crate) ledger: TestLedger,
    keys: tempfile::TempDir,
}

pub(crate) struct Options {
    pub(crate) signs: bool,
    pub(crate) clock: Clock,
    pub(crate) kafka: Option<kafka::Properties>,
    pub(crate) heads_s: u32,
    pub(crate) commitments_topic: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signs: true,
            clock: system_clock(),
            kafka: None,
            heads_s: 3600,
            commitments_topic: "commitments".to_owned(),
        }
    }
}

pub(crate) struct Running {
    pub(crate) client: Client,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(TestLedger::new("service"))
    }

    pub(crate) fn of(ledger: TestLedger) -> Self {
        let keys = tempfile::tempdir().expect("a folder");
        keystore::write_signing_key(&keys.path().join("log.key"), &ledger.log).expect("written");
        Self { ledger, keys }
    }

    pub(crate) fn keys(&self) -> &Path {
        self.keys.path()
    }

    /// The log key's high-water file.
    pub(crate) fn high_water(&self) -> PathBuf {
        self.keys().join("log.key.high-water")
    }

    /// Replaces the log key. The high-water file stays.
    pub(crate) fn replace_log_key(&self, key: &SigningKey) {
        let path = self.keys().join("log.key");
        std::fs::remove_file(&path).expect("was there");
        keystore::write_signing_key(&path, key).expect("written");
    }

    /// The configuration of a committer that signs.
    pub(crate) fn config(&self, database: &Database) -> Config {
        Config {
            database: DatabaseUrl(database.url.clone()),
            log_key: Some(self.keys().join("log.key")),
            checkpoint_ms: NonZeroU32::new(10).expect("not zero"),
            heads_s: NonZeroU32::new(3600).expect("not zero"),
            commitments_topic: "commitments".to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
        }
    }

    /// Starts a committer and waits until it serves.
    pub(crate) async fn start(&self, database: &Database) -> Running {
        self.start_with(database, Options::default()).await
    }

    pub(crate) async fn start_with(&self, database: &Database, options: Options) -> Running {
        let running = self.spawn(database, options).await;
        until("the committer serves", async || running.client.status().await.is_ok()).await;
        running
    }

    /// Starts a committer.
    pub(crate) async fn spawn(&self, database: &Database, options: Options) -> Running {
        let Options { signs, clock, kafka, heads_s, commitments_topic } = options;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut config = self.config(database);
        config.log_key.take_if(|_| !signs);
        config.commitments_topic = commitments_topic;
        config.heads_s = NonZeroU32::new(heads_s).expect("not zero");
        let ledger = Ledger::new(self.ledger.genesis.clone(), self.ledger.grants.clone()).expect("a valid beginning");
        let shutdown = CancellationToken::new();
        let parts = ServiceParts { ledger, kafka, clock, listener, shutdown: shutdown.clone() };
        let task = tokio::spawn(run(config, parts));
        Running { client: Client::new(&format!("http://{address}")).expect("an address"), shutdown, task }
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.ended().await.expect("ends well");
    }

    /// Waits until the committer ends by itself.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(DEADLINE, self.task).await.expect("ends in time").expect("no panic")
    }

    pub(crate) async fn submit(&self, statements: &[SignedStatement]) -> SubmitResponse {
        self.try_submit(statements).await.expect("answered")
    }

    pub(crate) async fn try_submit(&self, statements: &[SignedStatement]) -> Result<SubmitResponse, Error> {
        self.client.submit(statements.iter().map(text).collect()).await
    }

    /// Submits statements that must be accepted. Returns their seqs.
    pub(crate) async fn append(&self, statements: &[SignedStatement]) -> Vec<u64> {
        let mut seqs = Vec::new();
        for statements in statements.chunks(committer_client::caps::STATEMENTS) {
            let answer = self.submit(statements).await;
            assert_eq!(answer.refused, None);
            seqs.extend(answer.accepted.iter().map(|accepted| accepted.seq));
        }
        seqs
    }

    /// Submits one statement that must be refused. Returns the code.
    pub(crate) async fn refused(&self, statement: &SignedStatement) -> String {
        let answer = self.submit(std::slice::from_ref(statement)).await;
        answer.refused.expect("refused").code
    }

    /// A partition's cursor; asks again while the committer is unavailable.
    pub(crate) async fn cursor(&self, partition: &Partition) -> Cursor {
        let Partition { cluster, topic, number } = partition.clone();
        let query = CursorQuery { cluster, topic, partition: number };
        loop {
            match self.client.cursor(&query).await {
                Err(Error::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => return answer.expect("answered"),
            }
        }
    }

    /// Waits until the checkpoint covers all entries.
    pub(crate) async fn signed(&self) -> Status {
        let mut last = None;
        until("the checkpoint covers all entries", async || {
            last = self.client.status().await.ok();
            last.as_ref().is_some_and(|status| status.checkpoint_size == status.size)
        })
        .await;
        last.expect("there was one")
    }

    /// The status and body of a GET.
    pub(crate) async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let response = reqwest::get(format!("{}{path}", self.client.base())).await.expect("answered");
        (response.status().as_u16(), response.bytes().await.expect("read").to_vec())
    }

    /// What is not ready, one line each; empty when everything is.
    pub(crate) async fn not_ready(&self) -> String {
        match self.get("readyz").await {
            (200, _) => String::new(),
            (_, body) => String::from_utf8(body).expect("text"),
        }
    }

    /// Waits until something is not ready, with all of `parts` in the reason.
    pub(crate) async fn until_not_ready(&self, parts: &[&str]) -> String {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let reasons = self.not_ready().await;
            if parts.iter().all(|part| reasons.contains(part)) {
                return reasons;
            }
            assert!(tokio::time::Instant::now() < deadline, "/readyz should say {parts:?}, it says {reasons:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `condition` holds, then until everything is ready.
    pub(crate) async fn until_ready_after(&self, condition: impl AsyncFnMut() -> bool) {
        until("it continues", condition).await;
        self.until_ready().await;
    }

    pub(crate) async fn until_ready(&self) {
        until("everything is ready", async || self.not_ready().await.is_empty()).await;
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A clock that differs from the system's.
pub(crate) fn clock_off_by(milliseconds: i64) -> Clock {
    let system = system_clock();
    Arc::new(move || system() + milliseconds)
}
