use std::fmt;

use super::{LedgerId, StatementKind, decode_prev, decode_range, decode_stream, encode_prev, encode_stream};
use crate::text::Lines;
use crate::{Error, Hash, StreamId};

const FIRST_LINE: &str = StatementKind::Gap.first_line();

/// States that an offset range of a stream is not sealed, and why (SPEC.md, "Gap").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The ledger.
    pub ledger: LedgerId,
    /// The stream.
    pub stream: StreamId,
    /// The topic id as Kafka prints it, where the cluster has them.
    pub topic_id: Option<String>,
    /// The first offset not sealed.
    pub first: u64,
    /// The offset after the gap: the stream's new cursor.
    pub next: u64,
    /// The reason.
    pub reason: Reason,
    /// The low watermark seen: the first offset that could be read.
    pub low: u64,
    /// The high watermark seen: the offset after the last that could be read.
    pub high: u64,
    /// SHA-256 of the text of the stream's previous statement, `None` in its first.
    pub prev: Option<Hash>,
}

/// Why offsets are not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// They were already deleted when sealing of the stream began.
    Start,
    /// They were removed before they were sealed.
    Retention,
    /// The broker lost them.
    Truncated,
    /// The operator decided so.
    Operator,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Start, Self::Retention, Self::Truncated, Self::Operator];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Retention => "retention",
            Self::Truncated => "truncated",
            Self::Operator => "operator",
        })
    }
}

impl std::str::FromStr for Reason {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.to_string() == s)
            .ok_or_else(|| Error::malformed("gap", format!("{s:?} is not start, retention, truncated or operator")))
    }
}

impl Gap {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let ledger = LedgerId::decode(&mut lines)?;
        let (stream, topic_id) = decode_stream(&mut lines)?;
        let (first, next) = decode_range(&mut lines)?;
        let reason = lines.field("reason")?.parse()?;
        let mut fields = lines.fields("watermarks")?;
        let (low, high) = (fields.next()?.u63()?, fields.next()?.u63()?);
        fields.end()?;
        if low > high {
            return Err(lines.error("the low watermark is above the high one"));
        }
        let prev = decode_prev(&mut lines)?;
        lines.end()?;
        Ok(Self { ledger, stream, topic_id, first, next, reason, low, high, prev })
    }

    pub(super) fn encode(&self) -> String {
        let mut out = format!("{FIRST_LINE}\nledger {}\n", self.ledger);
        encode_stream(&mut out, &self.stream, self.topic_id.as_deref());
        out.push_str(&format!(
            "range {} {}\nreason {}\nwatermarks {} {}\n",
            self.first, self.next, self.reason, self.low, self.high
        ));
        encode_prev(&mut out, self.prev);
        out
    }
}
