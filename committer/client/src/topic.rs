//! Which topics hold commitments, told by their names alone.
//!
//! Ledgers that seal all topics of one Kafka must not seal each other's commitments: each would be the reason for the next,
//! without end. Nothing in a record may decide what is sealed, so the name does.

/// The topic of commitments of a ledger that has a Kafka for itself.
pub const COMMITMENTS_TOPIC: &str = "commitments";

/// How the names of all other topics of commitments begin.
pub const COMMITMENTS_TOPIC_PREFIX: &str = "streamseal.commitments.";

/// Whether a topic with this name holds commitments of any ledger. No ingest-consumer seals it.
pub fn is_commitments_topic(name: &str) -> bool {
    name == COMMITMENTS_TOPIC || name.starts_with(COMMITMENTS_TOPIC_PREFIX)
}
