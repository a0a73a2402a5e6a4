//! Rebalances: answered in the callback, and passed to the consumer's owner as values.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::{ClientEvent, Rebalance};
use crate::{TopicPartition, client};

/// What the callbacks of a consumer keep for its owner. They run on the owner's thread, while it polls.
///
/// Every rebalance is answered at once, with nothing to fetch. librdkafka takes part in no further rebalance before its
/// answer, so an owner that first asks elsewhere where to start would block the whole group. In the cooperative
/// protocols it would also block its own other partitions. Partitions are added later, one by one, when their owner
/// knows where to start.
#[derive(Debug)]
pub(crate) struct Group {
    exclude: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The partitions that the group assigned to us, and whether they are started.
    pub(super) partitions: BTreeMap<TopicPartition, bool>,
    pub(super) events: VecDeque<ClientEvent>,
    /// Whether a rebalance paused partitions that stay ours. See `Consumer::after_rebalance`.
    pub(super) interrupted: bool,
}

impl Group {
    pub(super) fn new(exclude: Vec<String>) -> Self {
        Self { exclude, state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment or insertion, so a panic elsewhere left nothing half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn excluded(&self, topic: &str) -> bool {
        let matches = |excluded: &String| match excluded.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => excluded == topic,
        };
        topic.starts_with("__") || self.exclude.iter().any(matches)
    }

    fn named(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let elements = list.elements();
        let partitions = elements.iter().filter_map(|element| {
            let number = u32::try_from(element.partition()).ok()?;
            Some(TopicPartition::new(element.topic(), number))
        });
        partitions.filter(|partition| !self.excluded(&partition.topic)).collect()
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let nothing = TopicPartitionList::new();
        let answer = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&nothing),
            _ => consumer.assign(&nothing),
        };
        let given = self.named(list);
        let mut state = self.state();
        state.interrupted = true;
        for partition in &given {
            state.partitions.insert(partition.clone(), false);
        }
        state.push_rebalance(Rebalance::Assigned, given);
        state.warn_if_failed("taking part in a rebalance", answer);
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        // Read before the answer, which resets it.
        let lost = consumer.assignment_lost();
        let taken = self.named(list);
        let mut started = TopicPartitionList::new();
        {
            let mut state = self.state();
            state.interrupted = true;
            for partition in &taken {
                if state.partitions.remove(partition) == Some(true) {
                    started.add_partition(&partition.topic, partition.number());
                }
            }
        }
        let answer = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(&started),
            _ => consumer.unassign(),
        };
        let mut state = self.state();
        let kind = if lost { Rebalance::Lost } else { Rebalance::Revoked };
        state.push_rebalance(kind, taken);
        state.warn_if_failed("taking part in a rebalance", answer);
    }
}

impl State {
    /// Queues a rebalance. The cooperative protocols also announce empty changes, which are dropped.
    fn push_rebalance(&mut self, kind: fn(Vec<TopicPartition>) -> Rebalance, partitions: Vec<TopicPartition>) {
        if !partitions.is_empty() {
            self.events.push_back(ClientEvent::Rebalance(kind(partitions)));
        }
    }

    /// Queues a warning if `result` is an error.
    pub(super) fn warn_if_failed(&mut self, doing: &str, result: KafkaResult<()>) {
        if let Err(error) = result {
            self.events.push_back(ClientEvent::Warning(format!("{doing}: {error}")));
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, list);
        } else {
            self.revoked(consumer, list);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.state().warn_if_failed("committing group offsets", result);
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        client::log_statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let warning = ClientEvent::Warning(format!("{error}: {reason}"));
        self.state().events.push_back(warning);
    }
}
