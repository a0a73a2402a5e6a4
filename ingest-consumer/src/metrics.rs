//! What is counted and shown of each stream. The names are part of the interface: dashboards are made of them.

use kafka::TopicPartition;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::stream::Sealed;

/// The metrics of one partition.
pub(crate) struct StreamMetrics {
    sealed_offset: Gauge,
    halted: Gauge,
    assigned: Gauge,
    unacknowledged: Gauge,
    batches: Counter,
    events: Counter,
    bytes: Counter,
    gaps: Counter,
    pub(crate) submit_seconds: Histogram,
    lag: LagGauges,
}

/// How far the end of a partition is.
pub(crate) struct LagGauges {
    /// Offsets up to the last stable offset that are not sealed.
    lag: Gauge,
    /// Offsets behind the last stable offset: those of open transactions, which cannot be read yet.
    open_transaction_lag: Gauge,
    /// 1 while the cursor stands still although Kafka has more.
    stalled: Gauge,
}

impl LagGauges {
    pub(crate) fn new(partition: &TopicPartition) -> Self {
        let labels = labels(partition);
        Self {
            lag: gauge!("streamseal_ingest_lag_offsets", &labels),
            open_transaction_lag: gauge!("streamseal_ingest_open_transaction_lag_offsets", &labels),
            stalled: gauge!("streamseal_ingest_stalled", &labels),
        }
    }

    pub(crate) fn set(&self, lag: u64, open_transaction_lag: u64) {
        self.lag.set(lag as f64);
        self.open_transaction_lag.set(open_transaction_lag as f64);
    }

    pub(crate) fn stalled(&self, stalled: bool) {
        self.stalled.set(f64::from(u8::from(stalled)));
    }
}

fn labels(partition: &TopicPartition) -> [(&'static str, String); 2] {
    [("topic", partition.topic.to_string()), ("partition", partition.partition.to_string())]
}

impl StreamMetrics {
    pub(crate) fn new(partition: &TopicPartition) -> Self {
        let labels = labels(partition);
        let metrics = Self {
            sealed_offset: gauge!("streamseal_ingest_sealed_offset", &labels),
            halted: gauge!("streamseal_ingest_halted", &labels),
            assigned: gauge!("streamseal_ingest_assigned", &labels),
            unacknowledged: gauge!("streamseal_ingest_unacknowledged_statements", &labels),
            batches: counter!("streamseal_ingest_batches_total", &labels),
            events: counter!("streamseal_ingest_events_total", &labels),
            bytes: counter!("streamseal_ingest_bytes_total", &labels),
            gaps: counter!("streamseal_ingest_gaps_total", &labels),
            submit_seconds: histogram!("streamseal_ingest_submit_seconds", &labels),
            lag: LagGauges::new(partition),
        };
        metrics.assigned.set(1.0);
        metrics.halted.set(0.0);
        metrics.lag.stalled(false);
        // Counters are shown from the start, so that an alarm on their increase sees the first one.
        metrics.gaps.increment(0);
        metrics
    }

    pub(crate) fn sealed(&self, sealed: &Sealed) {
        self.batches.increment(sealed.batches);
        self.events.increment(sealed.events);
        self.bytes.increment(sealed.bytes);
    }

    pub(crate) fn cursor(&self, next: u64) {
        self.sealed_offset.set(next as f64);
    }

    /// Statements that wait for the committer.
    pub(crate) fn unacknowledged(&self, statements: usize) {
        self.unacknowledged.set(statements as f64);
    }

    pub(crate) fn gap(&self) {
        self.gaps.increment(1);
    }

    pub(crate) fn halted(&self, halted: bool) {
        self.halted.set(f64::from(u8::from(halted)));
    }

    /// The partition is somebody else's now, who shows it.
    pub(crate) fn leave(&self) {
        self.assigned.set(0.0);
        self.halted(false);
        self.unacknowledged(0);
        self.lag.set(0, 0);
        self.lag.stalled(false);
    }
}
