//! The metrics of the ingest-consumer, one of each for every partition. The names are part of the interface: dashboards
//! and alarms use them.

use kafka::TopicPartition;
use service::metrics::{Counter, Gauge, Histogram};

use crate::stream::Sealed;

service::catalogue! {
    ASSIGNED: Gauge = "streamseal_ingest_assigned" ("0 or 1") ["topic", "partition"]
        "Whether this process has the partition.";
    SEALED_OFFSET: Gauge = "streamseal_ingest_sealed_offset" ("offset") ["topic", "partition"]
        "The cursor: the next offset to seal.";
    LAG: Gauge = "streamseal_ingest_lag_offsets" ("offsets") ["topic", "partition"]
        "Offsets that are committed in Kafka and not sealed yet, looked up every 10 seconds.";
    OPEN_TRANSACTION_LAG: Gauge = "streamseal_ingest_open_transaction_lag_offsets" ("offsets") ["topic", "partition"]
        "Offsets behind the last stable offset: open transactions hold them back, so nobody can read them yet.";
    HALTED: Gauge = "streamseal_ingest_halted" ("0 or 1") ["topic", "partition"]
        "Whether the stream is halted and waits for a person.";
    STALLED: Gauge = "streamseal_ingest_stalled" ("0 or 1") ["topic", "partition"]
        "Whether the cursor does not move although Kafka has more events.";
    UNACKNOWLEDGED: Gauge = "streamseal_ingest_unacknowledged_statements" ("statements") ["topic", "partition"]
        "Statements that are signed and that the committer has not acknowledged yet.";
    BATCHES: Counter = "streamseal_ingest_batches_total" ("batches") ["topic", "partition"]
        "Batches whose summary the committer acknowledged.";
    EVENTS: Counter = "streamseal_ingest_events_total" ("events") ["topic", "partition"]
        "Events that are sealed.";
    BYTES: Counter = "streamseal_ingest_bytes_total" ("bytes") ["topic", "partition"]
        "Content of the events that are sealed.";
    GAPS: Counter = "streamseal_ingest_gaps_total" ("gaps") ["topic", "partition"]
        "Gaps that this process signed because Kafka had deleted events.";
    SUBMIT_SECONDS: Histogram = "streamseal_ingest_submit_seconds" ("seconds") ["topic", "partition"]
        "Time of one request to the committer.";
}

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

/// How far sealing is behind the end of a partition.
pub(crate) struct LagGauges {
    /// Offsets up to the last stable offset that are not sealed.
    lag: Gauge,
    /// Offsets behind the last stable offset: those of open transactions, which cannot be read yet.
    open_transaction_lag: Gauge,
    /// 1 while the cursor does not move although Kafka has more.
    stalled: Gauge,
}

impl LagGauges {
    pub(crate) fn new(partition: &TopicPartition) -> Self {
        let number = partition.partition.to_string();
        let labels = [&*partition.topic, &*number];
        Self {
            lag: LAG.with(labels),
            open_transaction_lag: OPEN_TRANSACTION_LAG.with(labels),
            stalled: STALLED.with(labels),
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

impl StreamMetrics {
    pub(crate) fn new(partition: &TopicPartition) -> Self {
        let number = partition.partition.to_string();
        let labels = [&*partition.topic, &*number];
        let metrics = Self {
            sealed_offset: SEALED_OFFSET.with(labels),
            halted: HALTED.with(labels),
            assigned: ASSIGNED.with(labels),
            unacknowledged: UNACKNOWLEDGED.with(labels),
            batches: BATCHES.with(labels),
            events: EVENTS.with(labels),
            bytes: BYTES.with(labels),
            gaps: GAPS.with(labels),
            submit_seconds: SUBMIT_SECONDS.with(labels),
            lag: LagGauges::new(partition),
        };
        metrics.assigned.set(1.0);
        metrics.halted.set(0.0);
        metrics.lag.stalled(false);
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
