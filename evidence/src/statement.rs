//! Statements: the signed notes that the chain holds (SPEC.md, "Statements").

mod epoch;
mod gap;
mod genesis;
mod heads;
mod key;
mod kind;
mod signed;
mod summary;
#[cfg(test)]
mod tests;

pub use epoch::Epoch;
pub use gap::{Gap, Reason};
pub use genesis::{Continues, Genesis};
pub use heads::{Heads, HeadsLine, heads_root};
pub use key::{Action, KeyStatement, Role, TopicPattern};
pub use kind::{Effect, StatementKind};
pub use signed::{SIGNATURES_PER_STATEMENT_MAX, STATEMENT_BYTES_MAX, SignedStatement};
pub use summary::{LastEvent, Summary};

use std::fmt::Write as _;

use crate::text::{Lines, or_dash};
use crate::{Error, Hash, Partition, StreamId};

const OBJECT: &str = "statement";

/// Any statement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all statements are summaries, which are among the large ones")]
pub enum Statement {
    /// Begins the chain.
    Genesis(Genesis),
    /// Grants or revokes a key.
    Key(KeyStatement),
    /// States what one batch holds.
    Summary(Summary),
    /// States that an offset range is not sealed, and why.
    Gap(Gap),
    /// Begins a new stream where a topic was recreated or truncated.
    Epoch(Epoch),
    /// Commits to the state of every stream.
    Heads(Heads),
}

/// The ledger that a statement belongs to: the `ledger` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerId {
    /// The log's origin.
    pub origin: String,
    /// SHA-256 of the genesis text.
    pub genesis: Hash,
}

/// How a summary or gap moves its stream.
#[derive(Debug, Clone, Copy)]
pub struct Advance<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// The topic id as Kafka prints it, where the cluster has them.
    pub topic_id: Option<&'a str>,
    /// The first offset of the range.
    pub first: u64,
    /// The offset after the range.
    pub next: u64,
    /// The hash of the stream's previous statement, `None` in its first.
    pub prev: Option<Hash>,
}

/// The offsets that a statement covers, and where it leaves its stream.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// Its topic id as Kafka prints it, where the cluster has them.
    pub topic_id: Option<&'a str>,
    /// The first offset covered.
    pub first: u64,
    /// The stream's cursor afterwards. An epoch statement covers nothing: both fields are its `start`.
    pub next: u64,
}

impl Statement {
    /// Reads the text of a statement, in its only spelling.
    ///
    /// # Errors
    /// `Unsupported` for a kind or version that is not known, `Malformed` for everything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::new(OBJECT, text)?;
        let first_line = lines.line()?;
        let statement = match StatementKind::from_first_line(first_line).ok_or_else(|| unknown(first_line))? {
            StatementKind::Genesis => Self::Genesis(Genesis::decode(lines)?),
            StatementKind::Key => Self::Key(KeyStatement::decode(lines)?),
            StatementKind::Summary => Self::Summary(Summary::decode(lines)?),
            StatementKind::Gap => Self::Gap(Gap::decode(lines)?),
            StatementKind::Epoch => Self::Epoch(Epoch::decode(lines)?),
            StatementKind::Heads => Self::Heads(Heads::decode(lines)?),
        };
        if statement.encode() != text {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(statement)
    }

    /// The text, its final newline included.
    pub fn encode(&self) -> String {
        match self {
            Self::Genesis(s) => s.encode(),
            Self::Key(s) => s.encode(),
            Self::Summary(s) => s.encode(),
            Self::Gap(s) => s.encode(),
            Self::Epoch(s) => s.encode(),
            Self::Heads(s) => s.encode(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> StatementKind {
        match self {
            Self::Genesis(_) => StatementKind::Genesis,
            Self::Key(_) => StatementKind::Key,
            Self::Summary(_) => StatementKind::Summary,
            Self::Gap(_) => StatementKind::Gap,
            Self::Epoch(_) => StatementKind::Epoch,
            Self::Heads(_) => StatementKind::Heads,
        }
    }

    /// The ledger that it names. The genesis names none.
    pub fn ledger(&self) -> Option<&LedgerId> {
        match self {
            Self::Genesis(_) => None,
            Self::Key(s) => Some(&s.ledger),
            Self::Summary(s) => Some(&s.ledger),
            Self::Gap(s) => Some(&s.ledger),
            Self::Epoch(s) => Some(&s.ledger),
            Self::Heads(s) => Some(&s.ledger),
        }
    }

    /// The stream whose state it changes, if its kind has one. For an epoch statement it is the new stream.
    pub fn stream(&self) -> Option<&StreamId> {
        self.place().map(|place| place.stream)
    }

    /// Its place in its stream, if its kind has one.
    pub fn place(&self) -> Option<Place<'_>> {
        let (stream, topic_id, first, next) = match self {
            Self::Summary(s) => (&s.stream, &s.topic_id, s.first, s.next),
            Self::Gap(s) => (&s.stream, &s.topic_id, s.first, s.next),
            Self::Epoch(s) => (&s.stream, &s.topic_id, s.start, s.start),
            Self::Genesis(_) | Self::Key(_) | Self::Heads(_) => return None,
        };
        Some(Place { stream, topic_id: topic_id.as_deref(), first, next })
    }

    /// The offsets it covers, for a summary or a gap.
    pub fn advance(&self) -> Option<Advance<'_>> {
        let (stream, topic_id, first, next, prev) = match self {
            Self::Summary(s) => (&s.stream, &s.topic_id, s.first, s.next, s.prev),
            Self::Gap(s) => (&s.stream, &s.topic_id, s.first, s.next, s.prev),
            Self::Genesis(_) | Self::Key(_) | Self::Epoch(_) | Self::Heads(_) => return None,
        };
        Some(Advance { stream, topic_id: topic_id.as_deref(), first, next, prev })
    }
}

/// Another `streamseal/<kind>@v<n>` is unsupported. Anything else is malformed.
fn unknown(first_line: &str) -> Error {
    if first_line.starts_with("streamseal/") && first_line.contains("@v") {
        Error::unsupported(OBJECT, format!("kind or version {first_line:?}"))
    } else {
        Error::malformed(OBJECT, format!("line 1: {first_line:?} is not the first line of a statement"))
    }
}

impl LedgerId {
    fn decode(lines: &mut Lines<'_>) -> Result<Self, Error> {
        let mut fields = lines.fields("ledger")?;
        let ledger = Self { origin: fields.next()?.name()?, genesis: fields.next()?.hash()? };
        fields.end()?;
        Ok(ledger)
    }
}

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.origin, self.genesis)
    }
}

/// The four lines `cluster`, `topic`, `partition`, `epoch` that summaries, gaps and epochs share.
fn decode_stream(lines: &mut Lines<'_>) -> Result<(StreamId, Option<String>), Error> {
    let cluster = lines.field("cluster")?.name()?;
    let mut fields = lines.fields("topic")?;
    let topic = fields.next()?.name()?;
    let topic_id = fields.next()?.optional().map(|f| f.name()).transpose()?;
    fields.end()?;
    let number = lines.field("partition")?.partition()?;
    let epoch = lines.field("epoch")?.u63()?;
    Ok((StreamId { partition: Partition { cluster, topic, number }, epoch }, topic_id))
}

fn encode_stream(out: &mut String, stream: &StreamId, topic_id: Option<&str>) {
    let StreamId { partition: Partition { cluster, topic, number }, epoch } = stream;
    let topic_id = topic_id.unwrap_or("-");
    let _ = write!(out, "cluster {cluster}\ntopic {topic} {topic_id}\npartition {number}\nepoch {epoch}\n");
}

/// The line `range <first> <next>`: at least one offset.
fn decode_range(lines: &mut Lines<'_>) -> Result<(u64, u64), Error> {
    let mut fields = lines.fields("range")?;
    let (first, next) = (fields.next()?.u63()?, fields.next()?.u63()?);
    fields.end()?;
    if first >= next {
        return Err(lines.error(format!("`range` {first} {next} holds no offset")));
    }
    Ok((first, next))
}

fn decode_prev(lines: &mut Lines<'_>) -> Result<Option<Hash>, Error> {
    lines.field("prev")?.optional().map(|f| f.hash()).transpose()
}

fn encode_prev(out: &mut String, prev: Option<Hash>) {
    let _ = writeln!(out, "prev {}", or_dash(prev));
}
