use kafka::TopicPartition;
use service::{Component, Health};

use crate::metrics::StreamMetrics;
use crate::status::StreamStatus;
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
    health: Component,
    obstacle: Option<String>,
}

impl Seat {
    pub(crate) fn new(id: u64, partition: &TopicPartition, stream: Stream, health: &Health) -> Self {
        let metrics = StreamMetrics::new(partition);
        let health = health.component(partition.to_string());
        let obstacle = stream.obstacle();
        if let Some(reason) = &obstacle {
            health.not_ready(reason);
        }
        Self { id, readings: 0, stream, metrics, held: false, health, obstacle }
    }

    /// Logs and counts what happened.
    pub(crate) fn note(&self, partition: &TopicPartition, action: &Action) {
        match action {
            Action::Halted(halt) => {
                let remedy = halt.remedy(self.stream.partition());
                tracing::error!("{partition}: HALTED, other partitions go on: {halt}. To do: {remedy}");
                self.metrics.halted(true);
            }
            Action::Cleared => {
                tracing::info!("{partition}: goes on");
                self.metrics.halted(false);
            }
            Action::Trouble(problem) => tracing::warn!("{partition}: waiting, nothing is lost: {problem}"),
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
            Action::LastGone(offset) => tracing::warn!(
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

    /// Shows where the stream stands; returns it, when its cursor is known.
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
        self.health.remove();
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
