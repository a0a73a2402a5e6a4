use kafka::TopicPartition;
use service::{Condition, Health};

use crate::lag::Standing;
use crate::metrics::StreamMetrics;
use crate::stream::{Action, Stream};

/// One reading of a partition, from an offset on without a break: an event of another one says nothing of the offsets
/// between those of this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    seat: u64,
    number: u64,
}

/// An assigned partition: its stream, and how that is shown.
pub(crate) struct Seat {
    /// Different for each time that a partition is assigned.
    pub(crate) id: u64,
    /// How often the stream has said from where to read.
    readings: u64,
    pub(crate) stream: Stream,
    pub(crate) metrics: StreamMetrics,
    /// Whether the Kafka client is to leave the partition unread.
    pub(crate) held: bool,
    condition: Condition,
    span: tracing::Span,
}

/// What lines of the log about a partition have in common.
pub(crate) fn span(partition: &TopicPartition) -> tracing::Span {
    tracing::error_span!("stream", topic = %partition.topic, partition = partition.partition)
}

impl Seat {
    pub(crate) fn new(id: u64, partition: &TopicPartition, stream: Stream, health: &Health) -> Self {
        let metrics = StreamMetrics::new(partition);
        let condition = Condition::new(health.component(partition.to_string()));
        let mut seat = Self { id, readings: 0, stream, metrics, held: false, condition, span: span(partition) };
        seat.show();
        seat
    }

    /// Logs and counts what happened.
    pub(crate) fn note(&self, action: &Action) {
        let _in_span = self.span.enter();
        match action {
            Action::Halted(halt) => {
                let remedy = halt.remedy(self.stream.partition());
                tracing::error!("HALTED, other partitions go on: {halt}. To do: {remedy}");
                self.metrics.halted(true);
            }
            Action::Cleared => {
                tracing::info!("goes on");
                self.metrics.halted(false);
            }
            Action::Trouble(problem) => tracing::warn!("waiting, nothing is lost: {problem}"),
            Action::Gap(gap) => {
                tracing::warn!(
                    first = gap.first,
                    last = gap.next - 1,
                    reason = %gap.reason,
                    low = gap.low,
                    high = gap.high,
                    "GAP: offsets are gone from Kafka and were never sealed; signed as such"
                );
                self.metrics.gap();
            }
            Action::LastGone(offset) => tracing::warn!(
                offset,
                "the newest sealed event is gone from Kafka although it is the same topic and its log goes on: \
                 compacted away, it seems"
            ),
            Action::Sealed(sealed) => {
                tracing::debug!(next = sealed.next, "sealed");
                self.metrics.sealed(sealed);
            }
            Action::Read(offset) => tracing::info!(offset, "reading"),
            Action::NewClient => tracing::info!("the topic is a new one; making a new Kafka client"),
            Action::Inspect | Action::Submit { .. } => {}
        }
    }

    /// Shows where the stream stands; returns it, when its cursor is known.
    pub(crate) fn show(&mut self) -> Option<Standing> {
        let obstacle = self.stream.obstacle();
        if self.condition.problem() != obstacle.as_deref() {
            // The stream's actions are what is logged: they say more.
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
            Standing { next, position, is_running: self.condition.problem().is_none(), unacknowledged }
        })
    }

    /// The present reading.
    pub(crate) fn reading(&self) -> Reading {
        Reading { seat: self.id, number: self.readings }
    }

    /// A new reading begins: what was read before is of no more use.
    pub(crate) fn read_anew(&mut self) {
        self.readings += 1;
    }

    /// Whether the Kafka client is to be told to hold or release the partition.
    pub(crate) fn hold_changed(&mut self) -> bool {
        let hold = !self.stream.wants_events();
        std::mem::replace(&mut self.held, hold) != hold
    }

    /// The partition was given to another process.
    pub(crate) fn leave(self) {
        self.metrics.leave();
        self.condition.remove();
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;
    use crate::ledger::Ledger;
    use crate::stream::Limits;

    fn seat(id: u64) -> Seat {
        let limits =
            Limits { batch_events: 1, batch_bytes: 1, batch_age_ms: 1, request_statements: 1, unacknowledged: 1 };
        let partition = TopicPartition { topic: "orders".into(), partition: 3 };
        let named = Partition { cluster: "C".into(), topic: "orders".into(), number: 3 };
        let stream = Stream::new(Ledger::new().id(), named, limits);
        Seat::new(id, &partition, stream, &Health::new())
    }

    #[test]
    fn what_was_read_before_is_of_another_reading() {
        let mut first = seat(1);
        let before = first.reading();
        assert_eq!(first.reading(), before);
        first.read_anew();
        assert_ne!(first.reading(), before);
        // The partition was taken away and given back.
        assert_ne!(seat(2).reading(), before);
    }
}
