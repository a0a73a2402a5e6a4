use evidence::statement::{Advance, Gap, LedgerId, Reason, Statement};
use evidence::{Hash, Partition, sha256};

/// The end of a stream: what its next statement must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) ledger: LedgerId,
    pub(super) partition: Partition,
    pub(super) epoch: u64,
    /// The topic id that the stream's statements name.
    pub(super) topic_id: Option<String>,
    /// The first offset that no statement covers.
    pub(super) next: u64,
    /// The hash of the newest statement of this or the previous epoch; `None` before the first.
    pub(super) prev: Option<Hash>,
}

/// A statement that is not acknowledged yet.
#[derive(Debug, Clone)]
pub(super) struct PendingStatement {
    pub(super) statement: Statement,
    /// Its identity, SHA-256 of its text.
    pub(super) hash: Hash,
}

impl Tip {
    /// Moves the tip past a summary or gap that begins here.
    pub(super) fn append(&mut self, statement: Statement) -> PendingStatement {
        let Advance { first, next, prev, .. } =
            statement.advance().expect("a stream makes only summaries and gaps, which advance it");
        debug_assert_eq!((first, prev), (self.next, self.prev), "the statement does not begin at the tip");
        let hash = sha256(statement.encode().as_bytes());
        self.next = next;
        self.prev = Some(hash);
        PendingStatement { statement, hash }
    }

    /// A gap from the tip to the low watermark.
    pub(super) fn gap(&self, reason: Reason, low: u64, high: u64) -> Statement {
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
