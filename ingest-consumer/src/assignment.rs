use kafka::TopicPartition;
use service::{Component, Health};

use crate::metrics::StreamMetrics;
use crate::status::StreamStatus;
use crate::stream::{Action, Stream};

/// Identifies one read of a partition, from one [`Action::Read`] to the next.
///
/// Events of an earlier read say nothing about the offsets between events of this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadId {
    assignment: u64,
    number: u64,
}

/// An assigned partition: its stream, metrics and health.
pub(crate) struct Assignment {
    /// Different each time a partition is assigned.
    pub(crate) id: u64,
    /// The number of reads that the stream has begun.
    reads: u64,
    pub(crate) stream: Stream,
    pub(crate) metrics: StreamMetrics,
    /// Whether the Kafka client must not read the partition.
    pub(crate) held: bool,
    health: Component,
    obstacle: Option<String>,
}

impl Assignment {
    pub(crate) fn new(id: u64, partition: &TopicPartition, stream: Stream, health: &Health) -> Self {
        let metrics = StreamMetrics::new(partition);
        let health = health.component(partition.to_string());
        let obstacle = stream.obstacle();
        if let Some(reason) = &obstacle {
            health.not_ready(reason);
        }
        Self { id, reads: 0, stream, metrics, held: false, health, obstacle }
    }

    /// Logs and counts an action.
    pub(crate) fn note(&self, partition: &TopicPartition, action: &Action) {
        match action {
            Action::Halted(halt) => {
                let remedy = halt.remedy(self.stream.partition());
                tracing::error!("{partition}: HALTED, other partitions go on: {halt}. To do: {remedy}");
                self.metrics.halted(true);
            }
            Action::Resumed => {
                tracing::info!("{partition}: goes on");
                self.metrics.halted(false);
            }
            Action::Blocked(problem) => tracing::warn!("{partition}: waiting, nothing is lost: {problem}"),
            Action::Gap(gap) => {
                tracing::warn!(
                    "{partition}: GAP: offsets {} to {} are gone from Kafka and were never sealed ({}; watermarks {} \
                     to {}); signed as such",
                    gap.first,
                    gap.next - 1,
                    gap.reason,
                    gap.low,
                    gap.high
                );
                self.metrics.gap();
            }
            Action::LastEventCompacted(offset) => tracing::warn!(
                "{partition}: the newest sealed event, offset {offset}, is gone from Kafka although it is the same \
                 topic and its log goes on: compacted away, it seems"
            ),
            Action::Sealed(sealed) => {
                tracing::debug!("{partition}: sealed up to offset {}", sealed.next);
                self.metrics.sealed(sealed);
            }
            Action::Read(offset) => tracing::info!("{partition}: reading from offset {offset}"),
            Action::NewClient => tracing::info!("{partition}: the topic is a new one; making a new Kafka client"),
            Action::Inspect | Action::Submit { .. } => {}
        }
    }

    /// Updates metrics and health. Returns the stream's status if its cursor is known.
    pub(crate) fn show(&mut self) -> Option<StreamStatus> {
        let obstacle = self.stream.obstacle();
        if obstacle != self.obstacle {
            match &obstacle {
                None => self.health.ready(),
                Some(reason) => self.health.not_ready(reason),
            }
            self.obstacle = obstacle;
        }
        let unacknowledged = self.stream.unacknowledged();
        self.metrics.unacknowledged(unacknowledged);
        let next = self.stream.sealed_next();
        if let Some(next) = next {
            self.metrics.cursor(next);
        }
        next.map(|next| {
            let position = self.stream.position();
            StreamStatus { next, position, is_running: self.obstacle.is_none(), unacknowledged }
        })
    }

    /// The current read.
    pub(crate) fn read_id(&self) -> ReadId {
        ReadId { assignment: self.id, number: self.reads }
    }

    /// A new read begins. Events of earlier reads are discarded.
    pub(crate) fn begin_read(&mut self) {
        self.reads += 1;
    }

    /// Whether the Kafka client must now hold or release the partition.
    pub(crate) fn hold_changed(&mut self) -> bool {
        let hold = !self.stream.wants_events();
        std::mem::replace(&mut self.held, hold) != hold
    }

    /// The partition is no longer ours.
    pub(crate) fn revoke(self) {
        self.metrics.leave();
        self.health.remove();
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;
    use crate::ledger::Ledger;
    use crate::stream::Limits;

    fn assignment(id: u64) -> Assignment {
        let limits =
            Limits { batch_events: 1, batch_bytes: 1, batch_age_ms: 1, request_statements: 1, unacknowledged: 1 };
        let partition = TopicPartition { topic: "orders".into(), partition: 3 };
        let named = Partition { cluster: "C".into(), topic: "orders".into(), number: 3 };
        let stream = Stream::new(Ledger::new().id(), named, limits);
        Assignment::new(id, &partition, stream, &Health::new())
    }

    #[test]
    fn each_read_has_its_own_id() {
        let mut first = assignment(1);
        let before = first.read_id();
        assert_eq!(first.read_id(), before);
        first.begin_read();
        assert_ne!(first.read_id(), before);
        // The partition was revoked and assigned again.
        assert_ne!(assignment(2).read_id(), before);
    }
}
