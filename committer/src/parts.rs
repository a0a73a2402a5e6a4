//! The parts of a committer put together: what the service spawns as tasks, and a simulation drives step by step.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use evidence::{Algorithm, SigningKey};
use keystore::HighWater;
use service::{Backoff, Component, Condition, Health, Shutdown};
use tokio::sync::watch;

use crate::appender::{self, Appender, Outcome};
use crate::changes::Changes;
use crate::checkpoints::Checkpoints;
use crate::compute::{Compute, Turns};
use crate::config::Ledger;
use crate::http::Opened;
use crate::publisher::{Publisher, Topic};
use crate::recent::{ENTRIES_MAX, Recent};
use crate::signer::{self, Signer, Verdict, high_water_path};
use crate::store::{Store, StoreError};
use crate::{Clock, watcher};

/// What a committer is made of.
pub struct Materials {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The ledger to keep.
    pub ledger: Ledger,
    /// Without it no heads and checkpoints are signed.
    pub log_key: Option<LogKey>,
    /// Without it nothing is published.
    pub topic: Option<Arc<dyn Topic>>,
    /// The clock of this machine.
    pub clock: Clock,
    /// Where long work is done.
    pub compute: Compute,
    /// The shortest time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Time between two statements of where all streams stand, while any of them moves.
    pub heads_every: Duration,
    /// Waiting times between attempts, of each part.
    pub backoff: Backoff,
    /// Where the parts report themselves.
    pub health: Health,
}

/// A log key with the memory of what was signed for the ledger.
pub struct LogKey {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) high_water: HighWater,
    /// Whether it is the key that the genesis names, before which no other can have signed.
    pub(crate) is_first: bool,
}

impl LogKey {
    /// Takes a log key, whose file is at `path`, and opens the high-water file beside it. Whether the ledger granted it,
    /// the signer finds in the chain.
    ///
    /// # Errors
    /// When it can be no log key of this ledger, or the high-water file is not to be used.
    pub fn open(key: SigningKey, path: &std::path::Path, ledger: &Ledger) -> anyhow::Result<Self> {
        let (vkey, origin) = (key.verifier_key(), &ledger.id().origin);
        ensure!(
            vkey.name() == origin && vkey.algorithm() == Algorithm::Ed25519,
            "`committer.log_key` {}: {vkey} can be no log key of this ledger: those are named {origin}",
            path.display(),
        );
        let high_water = HighWater::open(&high_water_path(path), origin)?;
        Ok(Self { is_first: vkey == ledger.log_key(), key: Arc::new(key), high_water })
    }
}

/// A part, to be run until it ends; one that ends with an error ends the service.
pub type Task = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// What is to be run.
pub struct Tasks {
    /// The appender's worker and the signer.
    pub chain: Vec<Task>,
    /// What reads the chain until the last entry is there: the publisher and the watcher.
    pub readers: Vec<Task>,
}

/// The parts.
pub struct Parts {
    /// What requests are served with.
    pub opened: Opened,
    /// Ends the tasks of the chain.
    pub stop_chain: Shutdown,
    /// Ends the readers.
    pub stop_readers: Shutdown,
    store: Arc<dyn Store>,
    ledger: Ledger,
    /// Ready when the chain has its genesis, so that there is something to serve.
    chain_begun: Component,
    signs: bool,
    heads_every: Duration,
    backoff: Backoff,
}

impl Parts {
    /// Puts them together; nothing runs yet.
    pub fn new(materials: Materials) -> (Self, Tasks) {
        let Materials { store, ledger, log_key, topic, clock, compute, .. } = materials;
        let Materials { checkpoint_every, heads_every, backoff, health, .. } = materials;
        let (stop_chain, stop_readers) = (Shutdown::new(), Shutdown::new());
        let changes = Changes::new();
        let key = log_key.as_ref().map(|log_key| Arc::clone(&log_key.key));
        let signs = key.is_some();
        let (verdict, verdict_seen) = watch::channel(if signs { Verdict::Checking } else { Verdict::Sound });
        let (seen, largest_seen) = watch::channel(None);
        let recent = signs.then(|| Recent::new(ENTRIES_MAX));
        let (appender, worker) = Appender::new(appender::Parts {
            store: Arc::clone(&store),
            ledger: ledger.id().clone(),
            clock,
            compute,
            log_key: key,
            recent: recent.clone(),
            changes: changes.clone(),
            verdict: verdict_seen,
            seen: largest_seen,
            health: health.component("appending"),
            stop: stop_chain.clone(),
        });
        let mut chain: Vec<Task> = vec![Box::pin(async { worker.await.map_err(Into::into) })];
        if let Some(log_key) = log_key {
            let (store, id, health) = (Arc::clone(&store), ledger.id().clone(), health.component("signing"));
            let (interval, backoff) = (checkpoint_every, backoff.clone());
            let parts =
                signer::Parts { store, ledger: id, log_key, interval, backoff, compute, recent, verdict, health };
            let run = Signer::new(parts).run(changes.subscribe(), stop_chain.clone());
            chain.push(Box::pin(async { run.await.map_err(Into::into) }));
        }
        let mut readers: Vec<Task> = Vec::new();
        if let Some(topic) = topic {
            let (store, condition) = (Arc::clone(&store), Condition::new(health.component("publishing")));
            let publisher =
                Publisher { store, ledger: ledger.id().clone(), topic, backoff: backoff.clone(), condition };
            readers.push(Box::pin(publisher.run(changes.subscribe(), stop_readers.clone())));
        }
        let checkpoints = Checkpoints::new(Arc::clone(&store), ledger.id().clone());
        let watched = watcher::Parts {
            store: Arc::clone(&store),
            checkpoints: checkpoints.clone(),
            changes,
            seen,
            health: health.component("database"),
        };
        let watch = watcher::watch(watched, stop_readers.clone());
        readers.push(Box::pin(async { watch.await.map_err(Into::into) }));
        let turns = Turns::new();
        let (opened_store, id) = (Arc::clone(&store), ledger.id().clone());
        let opened = Opened { store: opened_store, checkpoints, appender, ledger: id, compute, turns };
        let chain_begun = health.component("chain");
        let parts = Self { opened, stop_chain, stop_readers, store, ledger, chain_begun, signs, heads_every, backoff };
        (parts, Tasks { chain, readers })
    }

    /// Begins the chain if it is empty, calls `serve`, and states now and then where all streams stand, until `stop`.
    pub fn lead(&self, serve: impl FnOnce() + Send + 'static, stop: Shutdown) -> Task {
        let (store, ledger, appender) = (Arc::clone(&self.store), self.ledger.clone(), self.opened.appender.clone());
        let (chain_begun, signs, every) = (self.chain_begun.clone(), self.signs, self.heads_every);
        let mut backoff = self.backoff.clone();
        Box::pin(async move {
            begin_chain(&*store, &appender, &ledger, &mut backoff, &stop).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
            serve();
            chain_begun.ready();
            if signs {
                state_heads(&appender, every, &stop).await;
            }
            stop.cancelled().await;
            Ok(())
        })
    }

    /// Ends all connections to the database, after all tasks have ended and no request is served any more.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }

    /// Has it stated where all streams stand in the end, if this committer signs; `false` when that could not be done.
    pub async fn state_end(&self) -> bool {
        !self.signs || self.opened.appender.append_heads().await.is_ok()
    }
}

/// Appends the genesis and the first key statements to an empty chain, however long the database is away.
async fn begin_chain(
    store: &dyn Store,
    appender: &Appender,
    ledger: &Ledger,
    backoff: &mut Backoff,
    stop: &Shutdown,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        match store.position().await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {
                let beginning = appender.prepare(ledger.beginning().to_vec());
                if let Ok(outcome) = appender.append(beginning).await {
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

#[cfg(test)]
mod tests;
