//! Committers over HTTP, on PostgreSQL.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use committer::{Config, DatabaseUrl, Ledger, ServiceParts, system_clock};
use service::Shutdown;
use tokio::net::TcpListener;

use crate::submissions::Submissions;
use crate::{Better, Case, Context, Goal, Measurement};
use testbed::statements::TestLedger;

pub(super) const CASE: Case = Case {
    name: "committer",
    about: "Statements of some 560 bytes, signed beforehand, posted to one committer or to two that share a database, \
            until they are committed: parsed, signatures verified, applied, hashed, and in PostgreSQL with fsync. One of \
            the committers reads all of it back meanwhile and signs a checkpoint each second. Client, committers and \
            PostgreSQL share the machine.",
    run,
};

const STATEMENTS: usize = 200_000;

/// Goal, in entries per second.
const GOAL: f64 = 25_000.0;

/// Time until committers are ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ledger = TestLedger::new("bench");
    for (requests, streams, per_request) in [("64", 64, 64), ("8", 256, 8), ("1", 512, 1)] {
        let names = [1, 2].map(|committers| {
            let committers = if committers == 1 { "1 committer" } else { "2 committers" };
            format!("{committers}, {requests} to a request")
        });
        if !names.iter().any(|name| context.wants(name)) {
            continue;
        }
        let submissions = Submissions::make(&ledger, context.size(STATEMENTS, 2_000), streams, per_request);
        for (name, committers) in names.into_iter().zip(1..).filter(|(name, _)| context.wants(name)) {
            let samples = context.repeat(|| {
                let folder = context.scratch("committer");
                let running = Committers::start(&ledger, folder.path(), &context.servers.database()?, committers)?;
                let rate = runtime.block_on(async {
                    let client = reqwest::Client::new();
                    running.until_ready(&client).await?;
                    let begun = Instant::now();
                    submissions.post(&client, &running.addresses).await?;
                    anyhow::Ok(submissions.statements as f64 / begun.elapsed().as_secs_f64())
                })?;
                running.end()?;
                Ok(rate)
            })?;
            let measured = Measurement::new(name, "entries/s", Better::Higher, samples)
                .goal(Goal::AtLeast(GOAL))
                .setting("entries", submissions.statements)
                .setting("streams", streams);
            context.record(measured)?;
        }
    }
    Ok(())
}

/// Committers on one database. The first one signs.
struct Committers {
    addresses: Vec<String>,
    stop: Shutdown,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Committers {
    fn start(ledger: &TestLedger, folder: &Path, database: &str, count: usize) -> anyhow::Result<Self> {
        let log_key = folder.join("log.key");
        keystore::write_signing_key(&log_key, &ledger.log)?;
        let mut this = Self { addresses: Vec::new(), stop: Shutdown::new(), threads: Vec::new() };
        for number in 0..count {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            this.addresses.push(format!("http://{}", listener.local_addr()?));
            let config = Config {
                database: DatabaseUrl(database.to_owned()),
                log_key: (number == 0).then(|| log_key.clone()),
                checkpoint_ms: 1_000.try_into()?,
                heads_s: 60.try_into()?,
                commitments_topic: "commitments".to_owned(),
                listen: listener.local_addr()?,
            };
            let ledger = Ledger::new(ledger.genesis.clone(), ledger.grants.clone())?;
            let shutdown = this.stop.clone();
            // A runtime for each, because users run each in its own process.
            this.threads.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener)?;
                    let clock = system_clock();
                    let parts = ServiceParts { ledger, kafka: None, clock, listener, shutdown };
                    committer::run(config, parts).await
                })
            }));
        }
        Ok(this)
    }

    async fn until_ready(&self, client: &reqwest::Client) -> anyhow::Result<()> {
        let ready = async {
            for address in &self.addresses {
                let url = format!("{address}/readyz");
                while client.get(&url).send().await.is_ok_and(|answer| !answer.status().is_success()) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        tokio::time::timeout(READY_WITHIN, ready).await.context("the committers are not ready")
    }

    fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.threads.into_iter().try_for_each(|thread| thread.join().expect("a committer does not panic"))
    }
}
