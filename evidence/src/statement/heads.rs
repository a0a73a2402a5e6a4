use std::fmt;
use std::str::FromStr;

use super::{LedgerId, StatementKind};
use crate::text::Lines;
use crate::tree::{self, CompactRange};
use crate::{Error, Hash, Partition, StreamId};

const FIRST_LINE: &str = StatementKind::Heads.first_line();

/// Commits to the state of every stream. A log key signs it (SPEC.md, "Heads").
///
/// It lets a small bundle prove where a stream ends, or that a topic was never sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The ledger.
    pub ledger: LedgerId,
    /// The number of streams that have a statement, including those of closed epochs.
    pub streams: u64,
    /// The RFC 6962 root over the sorted lines.
    pub root: Hash,
}

/// The state of one stream: one line under a heads statement's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadsLine {
    /// The stream.
    pub stream: StreamId,
    /// Its cursor.
    pub next: u64,
    /// SHA-256 of the text of its newest statement.
    pub statement: Hash,
}

impl Heads {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let ledger = LedgerId::decode(&mut lines)?;
        let streams = lines.field("streams")?.u63()?;
        let root = lines.field("root")?.hash()?;
        lines.end()?;
        Ok(Self { ledger, streams, root })
    }

    pub(super) fn encode(&self) -> String {
        format!("{FIRST_LINE}\nledger {}\nstreams {}\nroot {}\n", self.ledger, self.streams, self.root)
    }
}

/// The root over heads lines, sorted bytewise. Each line is a leaf without its newline.
pub fn heads_root(lines: impl IntoIterator<Item = HeadsLine>) -> Hash {
    let mut lines: Vec<String> = lines.into_iter().map(|line| line.to_string()).collect();
    lines.sort_unstable();
    let mut range = CompactRange::starting_at(0);
    for line in &lines {
        range.push_leaf(tree::leaf_hash(line.as_bytes()));
    }
    range.root()
}

impl fmt::Display for HeadsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamId { partition: Partition { cluster, topic, number }, epoch } = &self.stream;
        write!(f, "{cluster} {topic} {number} {epoch} {} {}", self.next, self.statement)
    }
}

impl FromStr for HeadsLine {
    type Err = Error;

    /// Parses one line without its newline, in its only spelling.
    fn from_str(s: &str) -> Result<Self, Error> {
        let line = format!("heads {s}\n");
        let mut lines = Lines::new("heads line", &line)?;
        let mut fields = lines.fields("heads")?;
        let cluster = fields.next()?.name()?;
        let topic = fields.next()?.name()?;
        let number = fields.next()?.partition()?;
        let epoch = fields.next()?.u63()?;
        let next = fields.next()?.u63()?;
        let statement = fields.next()?.hash()?;
        fields.end()?;
        lines.end()?;
        Ok(Self { stream: StreamId { partition: Partition { cluster, topic, number }, epoch }, next, statement })
    }
}
