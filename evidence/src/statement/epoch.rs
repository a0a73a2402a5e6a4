use super::{LedgerId, StatementKind, decode_stream, encode_stream};
use crate::text::{Lines, or_dash};
use crate::{Error, Hash, StreamId};

const FIRST_LINE: &str = StatementKind::Epoch.first_line();

/// Ends a stream and begins the next of the same partition, after the topic was recreated or truncated. An operator
/// signs it (SPEC.md, "Epoch").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The ledger.
    pub ledger: LedgerId,
    /// The new stream; its epoch is the old one plus 1.
    pub stream: StreamId,
    /// The topic id from now on, where the cluster has them.
    pub topic_id: Option<String>,
    /// The topic id of the old stream.
    pub old_topic_id: Option<String>,
    /// The old stream's cursor, where it ends.
    pub old_next: u64,
    /// The first offset of the new stream. In the same topic it is at most the old cursor. In a recreated one it is 0.
    pub start: u64,
    /// SHA-256 of the text of the old stream's last statement.
    pub prev: Hash,
}

impl Epoch {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let ledger = LedgerId::decode(&mut lines)?;
        let (stream, topic_id) = decode_stream(&mut lines)?;
        if stream.epoch == 0 {
            return Err(lines.error("epoch 0 needs no statement"));
        }
        let old_topic_id = lines.field("from")?.optional().map(|f| f.name()).transpose()?;
        let old_next = lines.field("head")?.u63()?;
        let start = lines.field("start")?.u63()?;
        let prev = lines.field("prev")?.hash()?;
        lines.end()?;
        Ok(Self { ledger, stream, topic_id, old_topic_id, old_next, start, prev })
    }

    pub(super) fn encode(&self) -> String {
        let mut out = format!("{FIRST_LINE}\nledger {}\n", self.ledger);
        encode_stream(&mut out, &self.stream, self.topic_id.as_deref());
        out.push_str(&format!(
            "from {}\nhead {}\nstart {}\nprev {}\n",
            or_dash(self.old_topic_id.as_deref()),
            self.old_next,
            self.start,
            self.prev
        ));
        out
    }
}
