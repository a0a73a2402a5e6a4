//! Tells topics of commitments by their names.
//!
//! Ledgers that seal all topics of one Kafka must not seal each other's commitments: each commitment would cause the next,
//! without end. A record's contents must not decide what is sealed, so the name does.

/// The default topic of commitments.
pub const COMMITMENTS_TOPIC: &str = "commitments";

/// The prefix of all other topics of commitments.
pub const COMMITMENTS_TOPIC_PREFIX: &str = "streamseal.commitments.";

/// Whether a topic of this name holds the commitments of any ledger. No ingest-consumer seals it.
pub fn is_commitments_topic(name: &str) -> bool {
    name == COMMITMENTS_TOPIC || name.starts_with(COMMITMENTS_TOPIC_PREFIX)
}
