//! The service: opens the database, begins the chain, and runs everything until told to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use evidence::SigningKey;
use keystore::HighWater;
use service::{Backoff, Component, Health, Shutdown, admin};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::appender::{self, Appender, Outcome};
use crate::changes::Changes;
use crate::config::{Config, Ledger};
use crate::http::{Api, Opened};
use crate::publisher::Publisher;
use crate::signer::{self, Signer, Verdict, high_water_path};
use crate::store::{self, Store};
use crate::{Clock, watcher};

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

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
    service::metrics::install()?;
    let log_key = config.log_key.as_deref().map(|path| LogKey::open(path, &ledger)).transpose()?;
    let health = Health::new();
    let api = Api::new();
    // Ends the parts when one of them fails, without ending what else the process runs.
    let stop = shutdown.child_token();
    let server = admin::serve(listener, api.router().merge(admin::router(health.clone())), stop.clone());
    let mut server = tokio::spawn(server);

    let parts = async {
        let Some(store) = open_store(&config, &ledger, &health, &stop).await? else { return Ok(None) };
        Ok::<_, anyhow::Error>(Some(Parts::start(store, &config, &ledger, kafka, clock, log_key, &health)))
    };
    let parts = tokio::select! {
        parts = parts => parts,
        served = &mut server => return served.context("the server's task")?,
    };
    let result = match parts {
        Ok(Some(mut parts)) => {
            let result = tokio::select! {
                result = parts.serve(&api, &ledger, &stop) => result,
                served = &mut server => served.context("the server's task").flatten(),
            };
            stop.cancel();
            // First the requests under way, then what they might still need.
            if !server.is_finished() {
                server.await.context("the server's task")??;
            }
            result.and(parts.end().await)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    stop.cancel();
    result
}

/// The log key with the memory of what it signed.
struct LogKey {
    key: Arc<SigningKey>,
    high_water: HighWater,
}

impl LogKey {
    fn open(path: &std::path::Path, ledger: &Ledger) -> anyhow::Result<Self> {
        let key = keystore::read_signing_key(path).context("`committer.log_key`")?;
        ensure!(
            key.verifier_key() == ledger.log_key(),
            "`committer.log_key` {}: {} is not the log key of this ledger, which is {}",
            path.display(),
            key.verifier_key(),
            ledger.log_key()
        );
        let origin = &ledger.id().origin;
        let high_water = HighWater::open(&high_water_path(path), origin)?;
        Ok(Self { key: Arc::new(key), high_water })
    }
}

/// Opens the database, however long it is away; `None` at `stop`.
async fn open_store(
    config: &Config,
    ledger: &Ledger,
    health: &Health,
    stop: &Shutdown,
) -> anyhow::Result<Option<Arc<dyn Store>>> {
    let health = health.component("database");
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    loop {
        let opened = tokio::select! {
            opened = store::open(&config.database.0, ledger.id()) => opened,
            () = stop.cancelled() => return Ok(None),
        };
        match opened {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.is_transient() => {
                tracing::error!("{error}; trying again");
                health.not_ready(error.to_string());
                if !backoff.wait(stop).await {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

type Tasks = JoinSet<anyhow::Result<()>>;

/// The running parts.
struct Parts {
    store: Arc<dyn Store>,
    appender: Appender,
    /// Ready when the chain has its genesis, so that there is something to serve.
    chain_begun: Component,
    signs: bool,
    heads_every: Duration,
    /// The appender's worker and the signer.
    chain: Tasks,
    stop_chain: Shutdown,
    /// What reads the chain until the last entry is there.
    readers: Tasks,
    stop_readers: Shutdown,
}

impl Parts {
    fn start(
        store: Arc<dyn Store>,
        config: &Config,
        ledger: &Ledger,
        kafka: Option<kafka::Properties>,
        clock: Clock,
        log_key: Option<LogKey>,
        health: &Health,
    ) -> Self {
        let (stop_chain, stop_readers) = (Shutdown::new(), Shutdown::new());
        let (mut chain, mut readers) = (Tasks::new(), Tasks::new());
        let changes = Changes::new();
        let key = log_key.as_ref().map(|log_key| Arc::clone(&log_key.key));
        let signs = key.is_some();
        let (verdict, verdict_seen) = watch::channel(if signs { Verdict::Checking } else { Verdict::Sound });
        let (appender, worker) = Appender::new(appender::Parts {
            store: Arc::clone(&store),
            ledger: ledger.id().clone(),
            clock,
            log_key: key,
            changes: changes.clone(),
            verdict: verdict_seen,
            health: health.component("appending"),
            stop: stop_chain.clone(),
        });
        chain.spawn(async { worker.await.map_err(Into::into) });
        if let Some(LogKey { key, high_water }) = log_key {
            let interval = Duration::from_millis(config.checkpoint_ms.get().into());
            let (store, ledger, health) = (Arc::clone(&store), ledger.id().clone(), health.component("signing"));
            let signer = Signer::new(signer::Parts { store, ledger, key, high_water, interval, verdict, health });
            let run = signer.run(changes.subscribe(), stop_chain.clone());
            chain.spawn(async { run.await.map_err(Into::into) });
        }
        if let Some(properties) = kafka {
            let (store, topic) = (Arc::clone(&store), config.commitments_topic.as_str().into());
            let publisher = Publisher { store, properties, topic, health: health.component("publishing") };
            readers.spawn(publisher.run(changes.subscribe(), stop_readers.clone()));
        }
        let watch = watcher::watch(Arc::clone(&store), changes, health.component("database"), stop_readers.clone());
        readers.spawn(async { watch.await.map_err(Into::into) });
        let heads_every = Duration::from_secs(config.heads_s.get().into());
        let chain_begun = health.component("chain");
        Self { store, appender, chain_begun, signs, heads_every, chain, stop_chain, readers, stop_readers }
    }

    /// Begins the chain if it is empty, then serves until `stop` or until a part fails.
    async fn serve(&mut self, api: &Api, ledger: &Ledger, stop: &Shutdown) -> anyhow::Result<()> {
        let work = async {
            begin_chain(&*self.store, &self.appender, ledger, stop).await?;
            let (store, appender) = (Arc::clone(&self.store), self.appender.clone());
            api.open(Opened { store, appender, ledger: ledger.id().clone() });
            self.chain_begun.ready();
            if self.signs {
                state_heads(&self.appender, self.heads_every, stop).await;
            }
            stop.cancelled().await;
            Ok(())
        };
        tokio::select! {
            result = work => result,
            Some(ended) = self.chain.join_next() => ended.context("a task of the committer").flatten(),
            Some(ended) = self.readers.join_next() => ended.context("a task of the committer").flatten(),
        }
    }

    /// States and signs where everything stands, then ends all parts.
    async fn end(self) -> anyhow::Result<()> {
        if self.signs && !self.chain.is_empty() {
            let heads = tokio::time::timeout(STEP_MAX, self.appender.append_heads()).await;
            if !matches!(heads, Ok(Ok(_))) {
                tracing::warn!("ending without a last statement of where all streams stand");
            }
        }
        self.stop_chain.cancel();
        let chain = end_all(self.chain).await;
        self.stop_readers.cancel();
        chain.and(end_all(self.readers).await)
    }
}

/// Waits for tasks that were told to end.
async fn end_all(mut tasks: Tasks) -> anyhow::Result<()> {
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

/// Appends the genesis and the first key statements to an empty chain, however long the database is away.
async fn begin_chain(store: &dyn Store, appender: &Appender, ledger: &Ledger, stop: &Shutdown) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    while !stop.is_cancelled() {
        match store.position().await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {
                let beginning = ledger.beginning().iter().map(|statement| appender.prepare(statement.clone()));
                if let Ok(outcome) = appender.append(beginning.collect()).await {
                    // Unless another committer was quicker, with other grants, there is nothing to refuse.
                    if let Some(refusal) = outcome.refused {
                        tracing::warn!("of the configured first key statements, not all were appended: {refusal}");
                    }
                    continue;
                }
            }
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
        backoff.wait(stop).await;
    }
    Ok(())
}

/// Has a heads statement appended now and then, until `stop`.
async fn state_heads(appender: &Appender, every: Duration, stop: &Shutdown) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match appender.append_heads().await {
            Ok(Outcome { refused: Some(refusal), .. }) => {
                tracing::error!("no statement of where all streams stand: {refusal}");
            }
            Ok(_) => {}
            Err(undecided) => tracing::warn!("no statement of where all streams stand: {undecided}"),
        }
    }
}
