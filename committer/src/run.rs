//! The service: opens the database, begins the chain, and runs everything until told to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use service::{Backoff, Condition, Health, Shutdown, admin};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Clock;
use crate::compute::Compute;
use crate::config::{Config, Ledger};
use crate::http::Api;
use crate::parts::{LogKey, Materials, Parts, Tasks};
use crate::publisher::{KafkaTopic, Topic};
use crate::store::{self, Store, StoreErrorKind};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long each step of an orderly end may take.
const STEP_MAX: Duration = Duration::from_secs(10);

/// What a committer is given besides its configuration.
pub struct Surroundings {
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

/// Runs a committer until shutdown. A database or broker that is away is waited for.
///
/// # Errors
/// When the configuration, the log key or the database must not be used as they are, or a disk failed.
pub async fn run(config: Config, surroundings: Surroundings) -> anyhow::Result<()> {
    let Surroundings { ledger, kafka, clock, listener, shutdown } = surroundings;
    service::metrics::install(crate::metrics::METRICS)?;
    let log_key = config.log_key.as_deref().map(|path| open_log_key(path, &ledger)).transpose()?;
    let health = Health::new();
    let api = Api::new();
    // Ends the parts when one of them fails, without ending what else the process runs.
    let stop = shutdown.child_token();
    let server = admin::serve(listener, api.router().merge(admin::router(health.clone())), stop.clone());
    let mut server = tokio::spawn(server);

    let running = async {
        let Some(store) = open_store(&config, &ledger, &health, &stop).await? else { return Ok(None) };
        let topic = kafka.map(|properties| {
            Arc::new(KafkaTopic { properties, name: config.commitments_topic.as_str().into() }) as Arc<dyn Topic>
        });
        let (parts, tasks) = Parts::new(Materials {
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
        Ok::<_, anyhow::Error>(Some(Running::start(parts, tasks, api.clone(), &stop)))
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
            // First the requests under way, then what they might still need.
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

/// The log key and what stands beside it.
pub(crate) fn open_log_key(path: &std::path::Path, ledger: &Ledger) -> anyhow::Result<LogKey> {
    let key = keystore::read_signing_key(path).context("`committer.log_key`")?;
    LogKey::open(key, path, ledger)
}

/// Opens the database, however long it is away; `None` at `stop`.
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

/// The parts as tasks.
struct Running {
    parts: Parts,
    lead: Spawned,
    chain: Spawned,
    readers: Spawned,
}

impl Running {
    fn start(parts: Parts, tasks: Tasks, api: Api, stop: &Shutdown) -> Self {
        let opened = parts.opened.clone();
        let lead = parts.lead(move || api.open(opened), stop.clone());
        let Tasks { chain, readers } = tasks;
        Self {
            parts,
            lead: Spawned::from_iter([lead]),
            chain: chain.into_iter().collect(),
            readers: readers.into_iter().collect(),
        }
    }

    /// Returns at the end of the first part that ends: at shutdown, or because it failed.
    async fn first_end(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            Some(ended) = self.lead.join_next() => ended.context("a task of the committer").flatten(),
            Some(ended) = self.chain.join_next() => ended.context("a task of the committer").flatten(),
            Some(ended) = self.readers.join_next() => ended.context("a task of the committer").flatten(),
        }
    }

    /// States and signs where everything stands, then ends all parts. `result` is that of the first part that ended.
    async fn end(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if !self.chain.is_empty() {
            let stated = tokio::time::timeout(STEP_MAX, self.parts.state_end()).await;
            if !matches!(stated, Ok(true)) {
                tracing::warn!("ending without a last statement of where all streams stand");
            }
        }
        let lead = end_all(self.lead).await;
        self.parts.stop_chain.cancel();
        let chain = end_all(self.chain).await;
        self.parts.stop_readers.cancel();
        let result = result.and(lead).and(chain).and(end_all(self.readers).await);
        // After a failure, a disk's say, SQLite must not move what it holds from one file to another.
        result?;
        match tokio::time::timeout(STEP_MAX, self.parts.close()).await {
            Ok(Err(error)) if error.kind == StoreErrorKind::Broken => Err(error.into()),
            Ok(Err(error)) => {
                tracing::warn!("the database's -wal file, if it has one, still belongs to it: {error}");
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
            Err(_) => {
                tracing::warn!("the database is still in use: its -wal file, if it has one, belongs to it");
                Ok(())
            }
        }
    }
}

/// Waits for tasks that were told to end.
async fn end_all(mut tasks: Spawned) -> anyhow::Result<()> {
    let ends = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a task of the committer")??;
        }
        Ok(())
    };
    tokio::time::timeout(STEP_MAX, ends).await.unwrap_or_else(|_| {
        tracing::warn!("ending although a task has not come to its end");
        Ok(())
    })
}
