use std::fmt;
use std::str::FromStr;

use super::{LedgerId, StatementKind};
use crate::text::{self, Lines, or_dash};
use crate::{Algorithm, Error, Hash, VerifierKey};

const FIRST_LINE: &str = StatementKind::Key.first_line();

/// The most topic patterns in one grant.
const TOPICS_MAX: usize = 64;

/// Grants or revokes a key. An operator signs it (SPEC.md, "Key").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatement {
    /// The ledger.
    pub ledger: LedgerId,
    /// Grant or revoke.
    pub action: Action,
    /// What the key may do.
    pub role: Role,
    /// The key.
    pub key: VerifierKey,
    /// For an ingest key, the topics that it may seal, at least one. Empty for other roles.
    pub topics: Vec<TopicPattern>,
    /// For a revocation, the seq from which the key's statements are distrusted, if somebody else is known to have had
    /// the key.
    pub distrust_from: Option<u64>,
    /// SHA-256 of the text of the previous key statement, or of the genesis.
    pub prev: Hash,
}

/// What a key statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The key counts from the next seq on.
    Grant,
    /// The key no longer counts, from the next seq on.
    Revoke,
}

/// What a key may do. A key has one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Signs summaries, and gaps over offsets that cannot be read.
    Ingest,
    /// Signs keys, epochs and any gap.
    Operator,
    /// Signs heads and checkpoints.
    Log,
    /// Cosigns checkpoints.
    Anchor,
}

/// A topic name, or a prefix of topic names followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Whether the pattern matches the topic.
    pub fn matches(&self, topic: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => topic == self.0,
        }
    }
}

impl FromStr for TopicPattern {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let prefix = s.strip_suffix('*').unwrap_or(s);
        if !text::is_name(s) || prefix.contains('*') {
            return Err(Error::malformed("topic pattern", format!("{s:?} is neither a topic nor a prefix with `*`")));
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Role {
    /// The algorithm that keys of the role have.
    pub fn algorithm(self) -> Algorithm {
        match self {
            Self::Ingest | Self::Operator | Self::Log => Algorithm::Ed25519,
            Self::Anchor => Algorithm::Cosignature,
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "ingest" => Ok(Self::Ingest),
            "operator" => Ok(Self::Operator),
            "log" => Ok(Self::Log),
            "anchor" => Ok(Self::Anchor),
            _ => Err(Error::malformed("role", format!("{s:?} is not ingest, operator, log or anchor"))),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Operator => "operator",
            Self::Log => "log",
            Self::Anchor => "anchor",
        })
    }
}

impl KeyStatement {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let ledger = LedgerId::decode(&mut lines)?;
        let action = lines.field("action")?;
        let action = match action.as_str() {
            "grant" => Action::Grant,
            "revoke" => Action::Revoke,
            _ => return Err(action.error("grant or revoke")),
        };
        let role: Role = lines.field("role")?.parse()?;
        let key: VerifierKey = lines.field("key")?.parse()?;
        if key.algorithm() != role.algorithm() {
            return Err(lines.error(format!("a key of role {role} has another algorithm")));
        }
        let topics = decode_topics(&mut lines, role)?;
        let distrust_from = lines.field("distrust-from")?.optional().map(|f| f.u63()).transpose()?;
        if distrust_from.is_some() && action == Action::Grant {
            return Err(lines.error("`distrust-from` belongs to a revocation"));
        }
        let prev = lines.field("prev")?.hash()?;
        lines.end()?;
        Ok(Self { ledger, action, role, key, topics, distrust_from, prev })
    }

    pub(super) fn encode(&self) -> String {
        let Self { ledger, action, role, key, topics, distrust_from, prev } = self;
        let action = match action {
            Action::Grant => "grant",
            Action::Revoke => "revoke",
        };
        let topics = match topics.as_slice() {
            [] => "-".to_owned(),
            topics => topics.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        format!(
            "{FIRST_LINE}\nledger {ledger}\naction {action}\nrole {role}\nkey {key}\ntopics {topics}\n\
             distrust-from {}\nprev {prev}\n",
            or_dash(*distrust_from)
        )
    }
}

/// Ingest keys have at least one topic pattern. Other roles have `-`.
fn decode_topics(lines: &mut Lines<'_>, role: Role) -> Result<Vec<TopicPattern>, Error> {
    let mut fields = lines.fields("topics")?;
    let first = fields.next()?;
    if role != Role::Ingest {
        fields.end()?;
        return match first.optional() {
            None => Ok(Vec::new()),
            Some(_) => Err(first.error("`-`, as only ingest keys have topics")),
        };
    }
    if first.optional().is_none() {
        return Err(first.error("the topics that the ingest key may seal"));
    }
    let mut topics = vec![first.parse()?];
    while !fields.is_empty() {
        let field = fields.next()?;
        if topics.len() == TOPICS_MAX {
            return Err(field.error("64 patterns at most"));
        }
        topics.push(field.parse()?);
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_topic_or_a_prefix() {
        let pattern = |s: &str| s.parse::<TopicPattern>();
        assert!(pattern("orders").is_ok_and(|p| p.matches("orders") && !p.matches("orders2")));
        assert!(pattern("orders.*").is_ok_and(|p| p.matches("orders.eu") && !p.matches("orders")));
        assert!(pattern("*").is_ok_and(|p| p.matches("anything")));
        for bad in ["", "a*b", "**", "a b"] {
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
    }
}
