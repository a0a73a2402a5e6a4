use super::{LedgerId, StatementKind, decode_prev, decode_range, decode_stream, encode_prev, encode_stream};
use crate::text::Lines;
use crate::{Error, Hash, StreamId};

const FIRST_LINE: &str = StatementKind::Summary.first_line();

/// The leaf format of this version; `blind@v1` is reserved.
const LEAF_FORMAT: &str = "plain@v1";

/// States what one batch of a stream holds. An ingest key signs it (SPEC.md, "Summary").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The ledger.
    pub ledger: LedgerId,
    /// The stream.
    pub stream: StreamId,
    /// The topic id as Kafka prints it, where the cluster has them.
    pub topic_id: Option<String>,
    /// The first offset covered.
    pub first: u64,
    /// The offset after the last one covered: the stream's new cursor.
    pub next: u64,
    /// The number of events in the range. Offsets without an event are transaction markers, or records that were
    /// aborted or compacted.
    pub events: u64,
    /// The sum of the events' content lengths in bytes, before padding.
    pub bytes: u64,
    /// The smallest and largest event timestamp in milliseconds since 1970; `None` when there is no event.
    pub time: Option<(i64, i64)>,
    /// The root of the batch's leaves.
    pub root: Hash,
    /// The last event; `None` when there is none.
    pub last: Option<LastEvent>,
    /// SHA-256 of the text of the stream's previous statement, `None` in its first.
    pub prev: Option<Hash>,
}

/// The last event of a batch. Kafka must still have it before sealing resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEvent {
    /// Its offset.
    pub offset: u64,
    /// Its leaf.
    pub leaf: Hash,
}

impl Summary {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let ledger = LedgerId::decode(&mut lines)?;
        let (stream, topic_id) = decode_stream(&mut lines)?;
        let (first, next) = decode_range(&mut lines)?;
        let events = lines.field("events")?.u63()?;
        if events > next - first {
            return Err(lines.error("more events than offsets"));
        }
        let bytes = lines.field("bytes")?.u63()?;
        let time = decode_time(&mut lines)?;
        let leaf = lines.field("leaf")?;
        if leaf.as_str() != LEAF_FORMAT {
            return Err(Error::unsupported("summary", format!("leaf format {:?}", leaf.as_str())));
        }
        let root = lines.field("root")?.hash()?;
        let last = decode_last(&mut lines, first, next)?;
        let prev = decode_prev(&mut lines)?;
        if (events == 0) != time.is_none() || (events == 0) != last.is_none() {
            return Err(lines.error("`time` and `last` are `-` exactly when there are no events"));
        }
        if events == 0 && (bytes != 0 || root != crate::batch::empty_root()) {
            return Err(lines.error("a batch without events has 0 bytes and the empty root"));
        }
        lines.end()?;
        Ok(Self { ledger, stream, topic_id, first, next, events, bytes, time, root, last, prev })
    }

    pub(super) fn encode(&self) -> String {
        let mut out = format!("{FIRST_LINE}\nledger {}\n", self.ledger);
        encode_stream(&mut out, &self.stream, self.topic_id.as_deref());
        let time = self.time.map_or_else(|| "- -".to_owned(), |(min, max)| format!("{min} {max}"));
        let last = self.last.map_or_else(|| "-".to_owned(), |last| format!("{} {}", last.offset, last.leaf));
        out.push_str(&format!(
            "range {} {}\nevents {}\nbytes {}\ntime {time}\nleaf {LEAF_FORMAT}\nroot {}\nlast {last}\n",
            self.first, self.next, self.events, self.bytes, self.root
        ));
        encode_prev(&mut out, self.prev);
        out
    }
}

fn decode_time(lines: &mut Lines<'_>) -> Result<Option<(i64, i64)>, Error> {
    let mut fields = lines.fields("time")?;
    let (min, max) = (fields.next()?, fields.next()?);
    fields.end()?;
    if min.optional().is_none() && max.optional().is_none() {
        return Ok(None);
    }
    let (min, max) = (min.i64()?, max.i64()?);
    if min > max {
        return Err(lines.error("`time` ends before it begins"));
    }
    Ok(Some((min, max)))
}

fn decode_last(lines: &mut Lines<'_>, first: u64, next: u64) -> Result<Option<LastEvent>, Error> {
    let mut fields = lines.fields("last")?;
    let last = match fields.next()?.optional() {
        None => None,
        Some(offset) => Some(LastEvent { offset: offset.u63()?, leaf: fields.next()?.hash()? }),
    };
    fields.end()?;
    if last.is_some_and(|last| !(first..next).contains(&last.offset)) {
        return Err(lines.error("`last` lies outside of `range`"));
    }
    Ok(last)
}
