//! What a sealer must know of a cluster besides its events.

mod admin;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka_sys::rd_kafka_OffsetSpec_t as spec;

use crate::client::Logging;
use crate::partition::positions;
use crate::queue::ClientQueue;
use crate::{Error, Properties, TopicPartition};
pub use admin::Topic;
use admin::{Admin, Isolation};

/// Where the events of a partition begin and end. All are offsets of the event that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that can still be read: what is below was deleted.
    pub low: i64,
    /// The end.
    pub high: i64,
    /// The end for readers of committed events (last stable offset): below `high` while a transaction is open.
    pub stable: i64,
}

impl Watermarks {
    /// How many offsets a reader that goes on from `next` has still before it; 0 when it is at the end or past it.
    pub fn lag(&self, next: i64) -> u64 {
        u64::try_from(self.stable.saturating_sub(next)).unwrap_or(0)
    }
}

/// Asks a cluster about itself. Every question waits for its answer, at most for the time-out given at first.
pub struct Cluster {
    /// Before the client that it is of.
    queue: ClientQueue,
    client: BaseConsumer<Logging>,
    timeout: Duration,
}

impl Cluster {
    /// Makes a client for questions; brokers are only contacted by the first.
    ///
    /// # Errors
    /// [`Error::Property`] when librdkafka refuses a property.
    pub fn new(properties: &Properties, timeout: Duration) -> Result<Self, Error> {
        let client = properties.consumer(None).create_with_context(Logging);
        let client = client.map_err(|error| Error::creation("making a client", error))?;
        let queue = ClientQueue::of(&client, Arc::default());
        let queue = queue.ok_or_else(|| Error::client("making a client", "it has no queue"))?;
        Ok(Self { queue, client, timeout })
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// [`Error::Client`] when no broker tells it in time.
    pub fn id(&self) -> Result<String, Error> {
        self.serve();
        let id = self.client.client().fetch_cluster_id(self.timeout);
        id.ok_or_else(|| {
            let reason = format!("no broker told it within {:?}", self.timeout);
            Error::client("asking for the cluster id", reason)
        })
    }

    /// What there is to know about a topic, `None` when it does not exist. Asking does not create it.
    ///
    /// # Errors
    /// [`Error::Client`] when the cluster does not answer or does not allow to ask.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>, Error> {
        Ok(self.topics([name])?.remove(name))
    }

    /// Those of the topics that exist, by their names; one question for all of them.
    ///
    /// # Errors
    /// As for [`topic`](Self::topic).
    pub fn topics<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<String, Topic>, Error> {
        self.serve();
        let names: BTreeSet<_> = names.into_iter().collect();
        let names: Vec<_> = names.into_iter().collect();
        let answer = Admin::new(&self.client, self.timeout).describe_topics(&names);
        answer.map_err(|reason| Error::client(format!("asking about topics {}", names.join(", ")), reason))
    }

    /// Where partitions begin and end. The three marks are asked for one after the other, `low` first: each is at
    /// least what it was when the call began.
    ///
    /// # Errors
    /// [`Error::Partition`] for the first partition that the cluster does not tell of, say because it does not exist.
    /// [`Error::Client`] when the cluster does not answer.
    pub fn watermarks(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Watermarks>, Error> {
        let earliest = spec::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64;
        let latest = spec::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
        let low = self.offsets(partitions, earliest, Isolation::ReadUncommitted)?;
        let stable = self.offsets(partitions, latest, Isolation::ReadCommitted)?;
        let high = self.offsets(partitions, latest, Isolation::ReadUncommitted)?;
        let marks = partitions.iter().map(|partition| {
            let watermarks = Watermarks { low: low[partition], high: high[partition], stable: stable[partition] };
            (partition.clone(), watermarks)
        });
        Ok(marks.collect())
    }

    /// For each partition the offset of its first event with this timestamp (milliseconds since 1970) or a later one;
    /// `None` when it has none.
    ///
    /// # Errors
    /// As for [`watermarks`](Self::watermarks).
    pub fn offsets_for_time(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>, Error> {
        // Negative numbers ask for other things.
        let offsets = self.offsets(partitions, timestamp.max(0), Isolation::ReadCommitted)?;
        let known = |offset| (offset >= 0).then_some(offset);
        Ok(offsets.into_iter().map(|(partition, offset)| (partition, known(offset))).collect())
    }

    /// One answer for every partition, or an error.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        question: i64,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.serve();
        let failed = |reason: String| Error::client("asking for offsets", reason);
        let distinct: BTreeSet<_> = partitions.iter().collect();
        let list = positions(distinct.iter().map(|&partition| (partition, question)));
        let list = list.map_err(|error| failed(error.to_string()))?;
        let answers = Admin::new(&self.client, self.timeout).list_offsets(&list, isolation);
        let mut answers: BTreeMap<_, _> = answers
            .map_err(failed)?
            .into_iter()
            .map(|answer| ((answer.topic, answer.partition), answer.offset))
            .collect();
        let offsets = distinct.into_iter().map(|partition| {
            let answer = answers.remove(&(partition.topic.to_string(), partition.number()));
            let offset = answer.unwrap_or_else(|| Err("no answer".to_owned()));
            let offset = offset.map_err(|reason| Error::Partition {
                partition: partition.clone(),
                reason: format!("cannot tell its offsets: {reason}"),
            });
            offset.map(|offset| (partition.clone(), offset))
        });
        offsets.collect()
    }

    /// Lets rust-rdkafka log what has come up since the last question.
    fn serve(&self) {
        while !self.queue.is_empty() {
            // This client reads nothing: whatever is polled is an error, logged on the way.
            drop(self.client.poll(Duration::ZERO));
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
