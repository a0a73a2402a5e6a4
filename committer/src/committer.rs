//! A committer put together from its parts. The service spawns them as tasks; a simulation drives them step by step.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use service::{Backoff, Component, Condition, Health, Shutdown};
use tokio::sync::watch;

use crate::Clock;
use crate::appender::{Appender, AppenderParts, Decision};
use crate::changes::Changes;
use crate::checkpoints::Checkpoints;
use crate::compute::{Compute, Turns};
use crate::config::Ledger;
use crate::handoff::{ENTRIES_MAX, Handoff};
use crate::http::Opened;
use crate::log_key::LogKey;
use crate::publisher::{Publisher, Topic};
use crate::signer::{Signer, SignerParts};
use crate::soundness::Soundness;
use crate::store::{Store, StoreError};
use crate::watcher::{WatcherParts, watch as watch_database};

/// What a committer is made of.
pub struct CommitterParts {
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
    /// Where long computations run.
    pub compute: Compute,
    /// The shortest time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Time between two heads statements, while any stream moves.
    pub heads_every: Duration,
    /// Delays between the attempts of each part.
    pub backoff: Backoff,
    /// Where the parts report their health.
    pub health: Health,
}

/// A part to run until it ends. If it fails, the service ends.
pub type Task = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// The parts of a committer to run.
pub struct Tasks {
    /// The appender's worker and the signer.
    pub chain: Vec<Task>,
    /// The publisher and the watcher, which read the chain until its last entry.
    pub readers: Vec<Task>,
}

/// A committer: its parts, and what leads them.
pub struct Committer {
    /// Serves requests.
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

impl Committer {
    /// Puts the parts together; nothing runs yet.
    pub fn new(parts: CommitterParts) -> (Self, Tasks) {
        let CommitterParts { store, ledger, log_key, topic, clock, compute, .. } = parts;
        let CommitterParts { checkpoint_every, heads_every, backoff, health, .. } = parts;
        let (stop_chain, stop_readers) = (Shutdown::new(), Shutdown::new());
        let changes = Changes::new();
        let key = log_key.as_ref().map(|log_key| Arc::clone(log_key.key()));
        let signs = key.is_some();
        let soundness = if signs { Soundness::Unchecked } else { Soundness::Sound };
        let (soundness, soundness_known) = watch::channel(soundness);
        let (seen, largest_seen) = watch::channel(None);
        let handoff = signs.then(|| Handoff::new(ENTRIES_MAX));
        let (appender, worker) = Appender::new(AppenderParts {
            store: Arc::clone(&store),
            ledger: ledger.id().clone(),
            clock,
            compute,
            log_key: key,
            handoff: handoff.clone(),
            changes: changes.clone(),
            soundness: soundness_known,
            seen: largest_seen,
            health: health.component("appending"),
            stop: stop_chain.clone(),
        });
        let mut chain: Vec<Task> = vec![Box::pin(async { worker.await.map_err(Into::into) })];
        if let Some(log_key) = log_key {
            let (store, id, health) = (Arc::clone(&store), ledger.id().clone(), health.component("signing"));
            let (interval, backoff) = (checkpoint_every, backoff.clone());
            let parts =
                SignerParts { store, ledger: id, log_key, interval, backoff, compute, handoff, soundness, health };
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
        let watched = WatcherParts {
            store: Arc::clone(&store),
            checkpoints: checkpoints.clone(),
            changes,
            seen,
            health: health.component("database"),
        };
        let watch = watch_database(watched, stop_readers.clone());
        readers.push(Box::pin(async { watch.await.map_err(Into::into) }));
        let turns = Turns::new();
        let (opened_store, id) = (Arc::clone(&store), ledger.id().clone());
        let opened = Opened { store: opened_store, checkpoints, appender, ledger: id, compute, turns };
        let chain_begun = health.component("chain");
        let committer =
            Self { opened, stop_chain, stop_readers, store, ledger, chain_begun, signs, heads_every, backoff };
        (committer, Tasks { chain, readers })
    }

    /// Begins the chain if it is empty, calls `serve`, and then appends heads statements until `stop`.
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

    /// Ends all connections to the database. Call it when all tasks have ended and no request is served.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }

    /// Appends a last heads statement if this committer signs; `false` if that failed.
    pub async fn state_end(&self) -> bool {
        !self.signs || self.opened.appender.append_heads().await.is_ok()
    }
}

/// Appends the genesis and the first key statements to an empty chain. Waits for a database that is unreachable.
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
                    // A refusal means that another committer began the chain first, with other grants.
                    if let Some(refusal) = outcome.refused {
                        tracing::warn!("not all configured first key statements were appended: {refusal}");
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

/// Appends a heads statement in each interval, until `stop`.
async fn state_heads(appender: &Appender, every: Duration, stop: &Shutdown) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match appender.append_heads().await {
            Ok(Decision { refused: Some(refusal), .. }) => {
                tracing::error!("no heads statement was appended: {refusal}");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("no heads statement was appended: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
