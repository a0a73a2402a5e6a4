/// When a batch is closed, and how many statements may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum events per batch.
    pub batch_events: u64,
    /// Maximum bytes of event content per batch; the event that reaches it is the last.
    pub batch_bytes: u64,
    /// Maximum age of a batch, counted from its first event. It closes on the last flush before that.
    pub batch_age_ms: u64,
    /// Maximum statements per request.
    pub request_statements: usize,
    /// The stream is not read while this many statements are unacknowledged.
    pub unacknowledged: usize,
}

const FLUSHES_PER_BATCH_AGE: u64 = 20;

/// The shortest flush interval, unless the maximum age of a batch is shorter.
const FLUSH_INTERVAL_MIN_MS: u64 = 5;

impl Limits {
    /// The interval at which streams close old batches and send requests that are not full.
    ///
    /// Flushes are aligned to the clock, so all streams of an ingest-consumer flush at the same times, and one
    /// transaction of the committer takes all their statements. Each transaction costs an fsync, a checkpoint and a
    /// publication. When every stream sent each statement at once, they cost more processor time than the hashing.
    pub(super) fn flush_interval_ms(&self) -> u64 {
        (self.batch_age_ms / FLUSHES_PER_BATCH_AGE).max(self.batch_age_ms.min(FLUSH_INTERVAL_MIN_MS))
    }
}
