//! A committer in this process, without HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use committer::store::Store;
use committer::{Committer, CommitterParts, Compute, Ledger, LogKey, Opened, system_clock};
use service::{Backoff, Health, Shutdown};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use testbed::statements::TestLedger;

/// Interval between checks whether all entries are signed.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// A committer that signs, and its tasks.
pub(crate) struct Embedded {
    pub(crate) opened: Opened,
    store: Arc<dyn Store>,
    stops: [Shutdown; 3],
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Embedded {
    /// Starts a committer on an SQLite file in a folder, with its log key there. Returns when it serves.
    pub(crate) async fn start(ledger: &TestLedger, folder: &Path) -> anyhow::Result<Self> {
        let url = format!("sqlite:{}", folder.join("chain.db").display());
        let store = committer::store::open(&url, &ledger.id()).await?;
        Self::start_on(ledger, folder, store, Duration::from_secs(1)).await
    }

    /// Starts a committer on a database, with this interval between checkpoints.
    pub(crate) async fn start_on(
        ledger: &TestLedger,
        folder: &Path,
        store: Arc<dyn Store>,
        checkpoint_every: Duration,
    ) -> anyhow::Result<Self> {
        let kept = Ledger::new(ledger.genesis.clone(), ledger.grants.clone())?;
        let log_key = Some(LogKey::open(ledger.log.clone(), &folder.join("log.key"), &kept)?);
        let (committer, tasks) = Committer::new(CommitterParts {
            store: Arc::clone(&store),
            ledger: kept,
            log_key,
            topic: None,
            clock: system_clock(),
            compute: Compute::Threads,
            checkpoint_every,
            heads_every: Duration::from_secs(60),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            health: Health::new(),
        });
        let lead_stop = Shutdown::new();
        let (serves, served) = oneshot::channel();
        let mut spawned: JoinSet<_> = tasks.chain.into_iter().chain(tasks.readers).collect();
        spawned.spawn(committer.lead(
            move || {
                let _ = serves.send(());
            },
            lead_stop.clone(),
        ));
        served.await.context("the committer ended")?;
        let stops = [lead_stop, committer.stop_chain.clone(), committer.stop_readers.clone()];
        Ok(Self { opened: committer.opened, store, stops, tasks: spawned })
    }

    /// Waits for a checkpoint of this size.
    pub(crate) async fn until_signed(&self, size: u64) -> anyhow::Result<()> {
        while self.store.checkpoint().await?.is_none_or(|checkpoint| checkpoint.head.size < size) {
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Stops it.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.stops.iter().for_each(Shutdown::cancel);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the committer")??;
        }
        Ok(())
    }
}
