//! Publishes every entry to the topic of commitments, in seq order. Entries may repeat: a publisher that was frozen while
//! another took over may still send what it had in hand.

mod ours;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use committer_client::Commitment;
use evidence::statement::LedgerId;
use evidence::{Entry, Statement};
use service::{Backoff, Condition, Shutdown};
use tokio::sync::watch;

use crate::metrics;
use crate::parse::parse;
use crate::store::{Lease, Store, StoreError, StoreErrorKind};
pub(crate) use topic::KafkaTopic;
pub use topic::{Deliver, Message, Newest, Topic};

/// Entries published between two updates of the published size. After a crash, at most this many are repeated.
const CHUNK: u64 = 500;

/// How often a committer tries to become the publisher.
const LEASE_EVERY: Duration = Duration::from_secs(5);

/// Publishes the entries of one ledger.
pub(crate) struct Publisher {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: LedgerId,
    pub(crate) topic: Arc<dyn Topic>,
    pub(crate) backoff: Backoff,
    pub(crate) condition: Condition,
}

/// What a topic that may be published to holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Ours,
}

/// Why publishing was interrupted. It is tried again.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    #[error("another committer publishes now")]
    LeaseLost,
    /// The topic may belong to another ledger.
    #[error(
        "the topic {topic} cannot be read, so nothing is published: {error}. The committer must reach the brokers, and be \
         allowed to describe, read and write the topic"
    )]
    TopicUnreadable { topic: String, error: kafka::Error },
    /// The topic is not this ledger's.
    #[error("{0}")]
    NotOurs(String),
}

impl Publisher {
    /// Publishes until `stop`, and retries whatever fails.
    ///
    /// # Errors
    /// When librdkafka rejects the properties, or the database's disk failed.
    pub(crate) async fn run(mut self, mut changes: watch::Receiver<u64>, stop: Shutdown) -> anyhow::Result<()> {
        self.topic.producer().context("publishing to Kafka")?;
        let mut backoff = self.backoff.clone();
        while !stop.is_cancelled() {
            let lease = match self.store.publisher_lease().await {
                Ok(Some(lease)) => lease,
                Ok(None) => {
                    self.condition.component().ready();
                    sleep(LEASE_EVERY, &stop).await;
                    continue;
                }
                Err(error) => {
                    self.report(error.into());
                    backoff.wait(&stop).await;
                    continue;
                }
            };
            if let Err(error) = self.publish(lease, &mut changes, &stop, &mut backoff).await {
                if matches!(&error, PublishError::Store(error) if error.kind == StoreErrorKind::DiskFailed) {
                    return Err(error.into());
                }
                self.report(error);
                backoff.wait(&stop).await;
            }
        }
        Ok(())
    }

    /// Publishes as the one publisher, with a producer of its own. Returns at `stop`.
    async fn publish(
        &mut self,
        mut lease: Box<dyn Lease>,
        changes: &mut watch::Receiver<u64>,
        stop: &Shutdown,
        backoff: &mut Backoff,
    ) -> Result<(), PublishError> {
        let producer = self.topic.producer()?;
        let mut published = self.store.published().await?.unwrap_or(0);
        let shown = metrics::PUBLISHED_SIZE.with([]);
        shown.set(published as f64);
        let (mut must_look, mut is_there, mut is_first) = (true, false, false);
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            if must_look {
                let found = tokio::select! {
                    found = self.look(published) => found?,
                    () = stop.cancelled() => return Ok(()),
                };
                (is_there, is_first) = (found.is_some(), found != Some(Holds::Ours));
                must_look = !is_there;
            }
            if !lease.is_held().await {
                return Err(PublishError::LeaseLost);
            }
            let entries = self.store.entries(published..published + CHUNK).await?;
            if entries.is_empty() {
                // Everything is published, maybe since before this start.
                if is_there {
                    self.works();
                }
                wait_for_more(changes, stop).await;
                continue;
            }
            let end = published + entries.len() as u64;
            let messages = entries.iter().map(|stored| parse(stored).map(|entry| message(&entry)));
            let messages = messages.collect::<Result<Vec<_>, _>>()?;
            if !producer.deliver(messages, self.condition.component(), stop).await? {
                return Ok(());
            }
            // Another ledger may have begun in the same empty topic. From now on its records show.
            must_look = std::mem::take(&mut is_first);
            self.store.set_published(end).await?;
            published = end;
            shown.set(published as f64);
            backoff.reset();
            self.works();
        }
        Ok(())
    }

    /// Makes sure before publishing that the topic holds nobody else's records. `None` if there is no topic yet: a broker
    /// may create it at the first record.
    async fn look(&mut self, published: u64) -> Result<Option<Holds>, PublishError> {
        let topic = self.topic.name();
        let newest = self.topic.newest().await;
        let newest = newest.map_err(|error| PublishError::TopicUnreadable { topic: topic.to_owned(), error })?;
        let Some(newest) = newest else {
            self.condition.fails(topic::absent(topic), log);
            return Ok(None);
        };
        match ours::refusal(topic, &self.ledger, &newest, published) {
            Some(refusal) => Err(PublishError::NotOurs(refusal)),
            None => Ok(Some(if newest.is_empty() { Holds::Nothing } else { Holds::Ours })),
        }
    }

    fn works(&mut self) {
        self.condition.works(|| tracing::info!("publishing again"));
    }

    fn report(&mut self, error: PublishError) {
        self.condition.fails(error.to_string(), log);
    }
}

fn log(problem: &str) {
    tracing::warn!("not publishing: {problem}");
}

/// The view of an entry that the topic carries.
fn message(entry: &Entry) -> Message {
    let statement = entry.statement.statement();
    let stream = statement.stream();
    let advance = statement.advance();
    let commitment = Commitment {
        seq: entry.seq,
        ledger: entry.statement.ledger().origin,
        kind: statement.kind().name().to_owned(),
        cluster: stream.map(|s| s.partition.cluster.clone()),
        topic: stream.map(|s| s.partition.topic.clone()),
        partition: stream.map(|s| s.partition.number),
        epoch: stream.map(|s| s.epoch),
        first: advance.map(|a| a.first),
        next: advance.map(|a| a.next),
        events: match statement {
            Statement::Summary(summary) => Some(summary.events),
            _ => None,
        },
        leaf_hash: entry.leaf_hash().to_string(),
        time: entry.time.to_string(),
        entry: String::from_utf8(entry.to_bytes()).expect("an entry is text"),
    };
    let key = match stream {
        Some(stream) => format!("{}/{}", stream.partition.topic, stream.partition.number),
        None => statement.kind().name().to_owned(),
    };
    Message { key, value: serde_json::to_vec(&commitment).expect("strings and numbers are JSON") }
}

async fn sleep(duration: Duration, stop: &Shutdown) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

/// Resolves when something changed, at `stop`, or when it is time to check the lease.
async fn wait_for_more(changes: &mut watch::Receiver<u64>, stop: &Shutdown) {
    tokio::select! {
        _ = changes.changed() => {}
        () = sleep(LEASE_EVERY, stop) => {}
    }
}
