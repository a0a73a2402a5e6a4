use kafka::TopicPartition;
use service::{Condition, Health};

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
    condition: Condition,
    span: tracing::Span,
}

/// The span of all log lines about a partition.
pub(crate) fn span(partition: &TopicPartition) -> tracing::Span {
    tracing::error_span!("stream", topic = %partition.topic, partition = partition.partition)
}

impl Assignment {
    pub(crate) fn new(id: u64, partition: &TopicPartition, stream: Stream, health: &Health) -> Self {
        let metrics = StreamMetrics::new(partition);
        let condition = Condition::new(health.component(partition.to_string()));
        let mut assignment = Self { id, reads: 0, stream, metrics, held: false, condition, span: span(partition) };
        assignment.show();
        assignment
    }

    /// Logs and counts an action.
    pub(crate) fn note(&self, action: &Action) {
        let _in_span = self.span.enter();
        match action {
            Action::Halted(halt) => {
                let remedy = halt.remedy(self.stream.partition());
                tracing::error!("HALTED, other partitions continue: {halt}. To do: {remedy}");
                self.metrics.halted(true);
            }
            Action::Resumed => {
                tracing::info!("resumed");
                self.metrics.halted(false);
            }
            Action::Blocked(problem) => tracing::warn!("waiting, nothing is lost: {problem}"),
            Action::Gap(gap) => {
                tracing::warn!(
                    first = gap.first,
                    last = gap.next - 1,
                    reason = %gap.reason,
                    low = gap.low,
                    high = gap.high,
                    "GAP: Kafka deleted offsets that were never sealed; a gap is signed"
                );
                self.metrics.gap();
            }
            Action::LastEventCompacted(offset) => tracing::warn!(
                offset,
                "the newest sealed event is missing in Kafka although it is the same topic: it was probably compacted away"
            ),
            Action::Sealed(sealed) => {
                tracing::debug!(next = sealed.next, "sealed");
                self.metrics.sealed(sealed);
            }
            Action::Read(offset) => tracing::info!(offset, "reading"),
            Action::NewClient => tracing::info!("the topic was recreated; making a new Kafka client"),
            Action::Inspect | Action::Submit { .. } => {}
        }
    }

    /// Updates metrics and health. Returns the stream's status if its cursor is known.
    pub(crate) fn show(&mut self) -> Option<StreamStatus> {
        let obstacle = self.stream.obstacle();
        if self.condition.problem() != obstacle.as_deref() {
            // `note` logs the stream's actions, which say more.
            match obstacle {
                None => self.condition.works(|| {}),
                Some(reason) => self.condition.fails(reason, |_| {}),
            }
        }
        let unacknowledged = self.stream.unacknowledged();
        self.metrics.unacknowledged(unacknowledged);
        let next = self.stream.sealed_next();
        if let Some(next) = next {
            self.metrics.cursor(next);
        }
        next.map(|next| {
            let position = self.stream.position();
            StreamStatus { next, position, is_running: self.condition.problem().is_none(), unacknowledged }
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
        self.condition.remove();
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;
    use crate::stream::Limits;
    use testbed::memory_ledger::MemoryLedger;

    fn assignment(id: u64) -> Assignment {
        let limits =
            Limits { batch_events: 1, batch_bytes: 1, batch_age_ms: 1, request_statements: 1, unacknowledged: 1 };
        let partition = TopicPartition { topic: "orders".into(), partition: 3 };
        let named = Partition { cluster: "C".into(), topic: "orders".into(), number: 3 };
        let stream = Stream::new(MemoryLedger::new().id(), named, limits);
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
