//! Queries to a cluster: ids, topics and offsets.

mod admin;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka_sys::rd_kafka_OffsetSpec_t as offset_spec;

use crate::client::Logging;
use crate::partition::positions;
use crate::queue::ClientQueue;
use crate::{Error, Properties, TopicPartition};
pub use admin::Topic;
use admin::{Admin, Isolation};

/// Where the events of a partition begin and end. Each end is the offset of the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that can still be read. Everything below was deleted.
    pub low: i64,
    /// The end.
    pub high: i64,
    /// The end for readers of committed events (last stable offset). It is below `high` while a transaction is open.
    pub stable: i64,
}

impl Watermarks {
    /// The number of offsets left to read from `next`; 0 at the end or past it.
    pub fn lag(&self, next: i64) -> u64 {
        u64::try_from(self.stable.saturating_sub(next)).unwrap_or(0)
    }
}

/// Queries a cluster. Every query blocks until its answer or the timeout.
pub struct Cluster {
    /// Declared before its client, so that it is dropped first.
    queue: ClientQueue,
    client: BaseConsumer<Logging>,
    timeout: Duration,
}

impl Cluster {
    /// Makes a client. The first query connects to the brokers.
    ///
    /// # Errors
    /// [`Error::Property`] if librdkafka refuses a property.
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
    /// [`Error::Client`] if no broker answers in time.
    pub fn id(&self) -> Result<String, Error> {
        self.serve();
        let id = self.client.client().fetch_cluster_id(self.timeout);
        id.ok_or_else(|| {
            let reason = format!("no broker answered within {:?}", self.timeout);
            Error::client("asking for the cluster id", reason)
        })
    }

    /// Describes a topic; `None` if it does not exist. The query does not create it.
    ///
    /// # Errors
    /// [`Error::Client`] if the cluster does not answer or denies access.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>, Error> {
        Ok(self.topics([name])?.remove(name))
    }

    /// The topics that exist, by name. One query for all.
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

    /// Where partitions begin and end.
    ///
    /// The three marks come from three queries, `low` first. Each is at least as high as when the call began.
    ///
    /// # Errors
    /// [`Error::Partition`] for the first partition without an answer, such as one that does not exist.
    /// [`Error::Client`] if the cluster does not answer.
    pub fn watermarks(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Watermarks>, Error> {
        let earliest = offset_spec::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64;
        let latest = offset_spec::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
        let low = self.offsets(partitions, earliest, Isolation::ReadUncommitted)?;
        let stable = self.offsets(partitions, latest, Isolation::ReadCommitted)?;
        let high = self.offsets(partitions, latest, Isolation::ReadUncommitted)?;
        let marks = partitions.iter().map(|partition| {
            let watermarks = Watermarks { low: low[partition], high: high[partition], stable: stable[partition] };
            (partition.clone(), watermarks)
        });
        Ok(marks.collect())
    }

    /// The offset of each partition's first event with this timestamp (milliseconds since 1970) or a later one. `None`
    /// if it has none.
    ///
    /// # Errors
    /// As for [`watermarks`](Self::watermarks).
    pub fn offsets_for_time(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>, Error> {
        // Negative numbers have other meanings.
        let offsets = self.offsets(partitions, timestamp.max(0), Isolation::ReadCommitted)?;
        let found = |offset| (offset >= 0).then_some(offset);
        Ok(offsets.into_iter().map(|(partition, offset)| (partition, found(offset))).collect())
    }

    /// One answer per partition, or an error.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: i64,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.serve();
        let client_error = |reason: String| Error::client("asking for offsets", reason);
        let distinct: BTreeSet<_> = partitions.iter().collect();
        let list = positions(distinct.iter().map(|&partition| (partition, spec)));
        let list = list.map_err(|error| client_error(error.to_string()))?;
        let answers = Admin::new(&self.client, self.timeout).list_offsets(&list, isolation);
        let mut answers: BTreeMap<_, _> = answers
            .map_err(client_error)?
            .into_iter()
            .map(|answer| ((answer.topic, answer.partition), answer.offset))
            .collect();
        let offsets = distinct.into_iter().map(|partition| {
            let answer = answers.remove(&(partition.topic.to_string(), partition.number()));
            let offset = answer.unwrap_or_else(|| Err("no answer".to_owned()));
            let offset = offset.map_err(|reason| Error::Partition {
                partition: partition.clone(),
                reason: format!("its offsets are unknown: {reason}"),
            });
            offset.map(|offset| (partition.clone(), offset))
        });
        offsets.collect()
    }

    /// Lets rust-rdkafka log what happened since the last query.
    fn serve(&self) {
        while !self.queue.is_empty() {
            // This client reads no events, so poll returns only errors, which were logged.
            drop(self.client.poll(Duration::ZERO));
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
