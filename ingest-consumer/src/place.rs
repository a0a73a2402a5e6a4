use evidence::statement::{Advance, Gap, LedgerId, Reason, Statement};
use evidence::{Hash, Partition, sha256};

/// Where the next statement of a stream goes: what it names of its stream and of the statement before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ledger: LedgerId,
    pub(crate) partition: Partition,
    pub(crate) epoch: u64,
    /// The topic id that the stream's statements name.
    pub(crate) topic_id: Option<String>,
    /// The first offset not stated yet.
    pub(crate) next: u64,
    /// The hash of the newest statement of this or the previous epoch; `None` before the first.
    pub(crate) prev: Option<Hash>,
}

/// A statement that was not acknowledged yet.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) statement: Statement,
    /// Its identity, SHA-256 of its text.
    pub(crate) hash: Hash,
}

impl Place {
    /// Moves past a summary or gap that begins here, and hands it back with its identity.
    pub(crate) fn pass(&mut self, statement: Statement) -> Made {
        let Advance { first, next, prev, .. } = statement.advance().expect("only summaries and gaps are made here");
        debug_assert_eq!((first, prev), (self.next, self.prev), "a statement that does not begin here");
        let hash = sha256(statement.encode().as_bytes());
        self.next = next;
        self.prev = Some(hash);
        Made { statement, hash }
    }

    /// The statement that the offsets up to the low watermark are gone.
    pub(crate) fn gap(&self, reason: Reason, low: u64, high: u64) -> Statement {
        Statement::Gap(Gap {
            ledger: self.ledger.clone(),
            stream: self.partition.stream(self.epoch),
            topic_id: self.topic_id.clone(),
            first: self.next,
            next: low,
            reason,
            low,
            high,
            prev: self.prev,
        })
    }
}
