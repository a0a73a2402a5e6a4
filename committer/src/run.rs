//! The service: opens the database, begins the chain, and runs all parts until shutdown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use service::{Backoff, Condition, Health, Shutdown, admin};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Clock;
use crate::committer::{Committer, CommitterParts, Tasks};
use crate::compute::Compute;
use crate::config::{Config, Ledger};
use crate::http::Api;
use crate::log_key::LogKey;
use crate::publisher::{KafkaTopic, Topic};
use crate::store::{self, Store, StoreErrorKind};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Maximum time of each step of an orderly shutdown.
const STEP_MAX: Duration = Duration::from_secs(10);

/// What the service is made of, besides its configuration.
pub struct ServiceParts {
    /// The ledger to keep.
    pub ledger: Ledger,
    /// Where `commitments` goes; without it nothing is published.
    pub kafka: Option<kafka::Properties>,
    /// The clock of this machine.
    pub clock: Clock,
    /// Where to serve.
    pub listener: TcpListener,
    /// Ends the service.
    pub shutdown: Shutdown,
}

/// Runs a committer until shutdown. Waits for a database or broker that is unreachable.
///
/// # Errors
/// If the configuration, the log key or the database is unusable, or a disk failed.
pub async fn run(config: Config, parts: ServiceParts) -> anyhow::Result<()> {
    let ServiceParts { ledger, kafka, clock, listener, shutdown } = parts;
    service::metrics::install(crate::metrics::METRICS)?;
    let log_key = config.log_key.as_deref().map(|path| LogKey::read(path, &ledger)).transpose()?;
    let health = Health::new();
    // Nothing says ready before the database is known.
    health.component("database");
    let listen = listener.local_addr().context("`committer.listen`")?;
    let api = Api::new();
    // Ends all parts when one of them fails, but no other service of the process.
    let stop = shutdown.child_token();
    let server = admin::serve(listener, api.router().merge(admin::router(health.clone())), stop.clone());
    let mut server = tokio::spawn(server);

    let running = async {
        let Some(store) = open_store(&config, &ledger, &health, &stop).await? else { return Ok(None) };
        // A database that is away again is reported by the watcher.
        let position = store.position().await.ok();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            ledger = ledger.id().origin,
            size = position.map(|position| position.map_or(0, |position| position.next_seq)),
            database = config.database.place(),
            log_key = log_key.as_ref().map(|log_key| log_key.key().verifier_key().name().to_owned()),
            brokers = kafka.as_ref().and_then(kafka::Properties::brokers),
            topic = kafka.as_ref().map(|_| config.commitments_topic.as_str()),
            %listen,
            "committer started"
        );
        let topic = kafka.map(|properties| {
            Arc::new(KafkaTopic { properties, name: config.commitments_topic.as_str().into() }) as Arc<dyn Topic>
        });
        let (committer, tasks) = Committer::new(CommitterParts {
            store,
            ledger,
            log_key,
            topic,
            clock,
            compute: Compute::Threads,
            checkpoint_every: Duration::from_millis(config.checkpoint_ms.get().into()),
            heads_every: Duration::from_secs(config.heads_s.get().into()),
            backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_MAX),
            health: health.clone(),
        });
        Ok::<_, anyhow::Error>(Some(Running::start(committer, tasks, api.clone(), &stop)))
    };
    let running = tokio::select! {
        running = running => running,
        served = &mut server => return served.context("the server's task")?,
    };
    let result = match running {
        Ok(Some(mut running)) => {
            let result = tokio::select! {
                result = running.first_end() => result,
                served = &mut server => served.context("the server's task").flatten(),
            };
            stop.cancel();
            // Requests in progress end first: they may still need the parts.
            if !server.is_finished() {
                server.await.context("the server's task")??;
            }
            running.end(result).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    stop.cancel();
    result
}

/// Opens the database, and waits as long as it is unreachable; `None` at `stop`.
async fn open_store(
    config: &Config,
    ledger: &Ledger,
    health: &Health,
    stop: &Shutdown,
) -> anyhow::Result<Option<Arc<dyn Store>>> {
    let mut condition = Condition::new(health.component("database"));
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    loop {
        let opened = tokio::select! {
            opened = store::open(&config.database.0, ledger.id()) => opened,
            () = stop.cancelled() => return Ok(None),
        };
        match opened {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.is_transient() => {
                condition.fails(error.to_string(), |error| tracing::error!("{error}; trying again"));
                if !backoff.wait(stop).await {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

type Spawned = JoinSet<anyhow::Result<()>>;

/// A committer whose parts run as tasks.
struct Running {
    committer: Committer,
    lead: Spawned,
    chain: Spawned,
    readers: Spawned,
}

impl Running {
    fn start(committer: Committer, tasks: Tasks, api: Api, stop: &Shutdown) -> Self {
        let opened = committer.opened.clone();
        let lead = committer.lead(move || api.open(opened), stop.clone());
        let Tasks { chain, readers } = tasks;
        Self {
            committer,
            lead: Spawned::from_iter([lead]),
            chain: chain.into_iter().collect(),
            readers: readers.into_iter().collect(),
        }
    }

    /// Returns when the first part ends, at shutdown or because it failed.
    async fn first_end(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            Some(ended) = self.lead.join_next() => ended.context("a task of the committer").flatten(),
            Some(ended) = self.chain.join_next() => ended.context("a task of the committer").flatten(),
            Some(ended) = self.readers.join_next() => ended.context("a task of the committer").flatten(),
        }
    }

    /// Appends and signs a last heads statement, then ends all parts. `result` is that of the first part that ended.
    async fn end(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if !self.chain.is_empty() {
            let stated = tokio::time::timeout(STEP_MAX, self.committer.state_end()).await;
            if !matches!(stated, Ok(true)) {
                tracing::warn!("stopping without a last heads statement");
            }
        }
        let lead = end_all(self.lead).await;
        self.committer.stop_chain.cancel();
        let chain = end_all(self.chain).await;
        self.committer.stop_readers.cancel();
        let result = result.and(lead).and(chain).and(end_all(self.readers).await);
        // After an error, such as a disk's, SQLite must not move data from one file to another.
        result?;
        match tokio::time::timeout(STEP_MAX, self.committer.close()).await {
            Ok(Err(error)) if error.kind == StoreErrorKind::DiskFailed => Err(error.into()),
            Ok(Err(error)) => {
                tracing::warn!("closing the database failed, so keep its -wal file, if it has one: {error}");
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
            Err(_) => {
                tracing::warn!("the database is still in use, so keep its -wal file, if it has one");
                Ok(())
            }
        }
    }
}

/// Waits for tasks that were told to stop.
async fn end_all(mut tasks: Spawned) -> anyhow::Result<()> {
    let ends = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a task of the committer")??;
        }
        Ok(())
    };
    tokio::time::timeout(STEP_MAX, ends).await.unwrap_or_else(|_| {
        tracing::warn!("stopping although a task is still running");
        Ok(())
    })
}
