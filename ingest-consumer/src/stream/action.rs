//! What a stream wants done.

use evidence::Statement;
use evidence::statement::Gap;

use crate::halt::Halt;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the committer for the cursor and the keys, then Kafka about the partition; answer with
    /// [`Input::Inspected`].
    Inspect,
    /// Read from this offset; what was read before and is still on its way must never arrive.
    Read(u64),
    /// Sign these statements and submit them in this order in one request, if the topic still has this id; answer with
    /// [`Input::Answered`]. Signing the same statement again gives the same bytes, so they can be submitted again.
    Submit {
        /// The id that Kafka showed before anything in these statements was read.
        topic_id: Option<String>,
        /// The statements.
        statements: Vec<Statement>,
    },
    /// The committer has these in the chain.
    Sealed(Sealed),
    /// The topic is another one of the same name, which librdkafka does not read rightly: make a new client, and a new
    /// [`Stream`](super::Stream) for each partition.
    NewClient,
    /// Offsets are gone before they were sealed; a gap is being signed.
    Gap(Box<Gap>),
    /// The newest event that was sealed is gone from Kafka, though its log reaches the cursor: compacted away.
    LastGone(u64),
    /// The stream halted.
    Halted(Halt),
    /// What was in the way is over: the committer or Kafka answers again, or the halt was resolved.
    Cleared,
    /// Something stands in the way and is tried again; what.
    Trouble(String),
}

/// What an answer of the committer added to the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The cursor.
    pub next: u64,
    /// Summaries.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}
