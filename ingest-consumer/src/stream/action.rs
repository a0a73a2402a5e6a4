//! What a stream wants done.

use evidence::Statement;
use evidence::statement::Gap;

use crate::halt::Halt;

/// What to do, or what happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the committer for the cursor and the keys, then Kafka for the log. Answer with
    /// [`Input::Inspected`](super::Input::Inspected).
    Inspect,
    /// Read from this offset. Events of earlier reads that are still in flight must never arrive.
    Read(u64),
    /// Sign these statements and submit them in this order in one request, if the topic still has this id. Answer with
    /// [`Input::Submitted`](super::Input::Submitted).
    ///
    /// Signatures are deterministic, so a statement can be submitted again.
    Submit {
        /// The id that Kafka showed before any event of these statements was read.
        topic_id: Option<String>,
        /// The statements.
        statements: Vec<Statement>,
    },
    /// The chain holds these batches.
    Sealed(Sealed),
    /// The topic was recreated, and librdkafka misreads recreated topics. Make a new client, and a new
    /// [`Stream`](super::Stream) for each partition.
    NewClient,
    /// Kafka deleted offsets before they were sealed; this gap will be signed.
    Gap(Box<Gap>),
    /// The newest sealed event, at this offset, is missing in Kafka, although the log reaches the cursor: it was
    /// compacted away.
    LastEventCompacted(u64),
    /// The stream halted.
    Halted(Halt),
    /// Sealing resumes: the committer or Kafka answers again, or the halt is over.
    Resumed,
    /// This problem blocks sealing; the stream retries.
    Blocked(String),
}

/// What one answer of the committer added to the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The cursor.
    pub next: u64,
    /// Summaries.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of event content.
    pub bytes: u64,
}
