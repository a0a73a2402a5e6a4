use std::collections::{HashMap, HashSet};

use super::{Group, Log, Member, POLICY_BYTES_MAX, Policy, Witness};
use crate::text::parse_u63;
use crate::{Algorithm, Error, VerifierKey};

const OBJECT: &str = "policy";

/// The name reserved for "no quorum".
const NONE: &str = "none";

impl Policy {
    /// Parses a policy. Comments, empty lines, spaces and tabs follow the specification. An unknown line is refused,
    /// because ignoring it would change the policy.
    ///
    /// It is stricter than the specification in one point: a log and a witness may not share a public key. A log that
    /// cosigns itself would count as its own witness.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(Error::malformed(OBJECT, format!("{} bytes are more than 64 KiB", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::unsupported(OBJECT, "text that is not UTF-8"))?;
        let lines = text.strip_suffix('\n').ok_or_else(|| Error::malformed(OBJECT, "does not end in a newline"))?;
        let mut parser = Parser::default();
        for (i, line) in lines.split('\n').enumerate() {
            parser.line(line).map_err(|problem| problem.at(i + 1))?;
        }
        let quorum = parser.quorum.ok_or_else(|| Error::malformed(OBJECT, "no quorum line"))?;
        Ok(Self { logs: parser.logs, witnesses: parser.witnesses, groups: parser.groups, quorum })
    }
}

#[derive(Default)]
struct Parser {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    names: HashMap<String, Member>,
    keys: HashSet<[u8; 32]>,
    grouped: HashSet<Member>,
}

enum Problem {
    Malformed(String),
    Key(Error),
}

impl Problem {
    fn at(self, line: usize) -> Error {
        match self {
            Self::Malformed(problem) | Self::Key(Error::Malformed { problem, .. }) => {
                Error::malformed(OBJECT, format!("line {line}: {problem}"))
            }
            Self::Key(Error::Unsupported { problem, .. }) => {
                Error::unsupported(OBJECT, format!("line {line}: {problem}"))
            }
        }
    }
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Malformed(problem.into()))
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        if let Some(c) = line.chars().find(|c| c.is_ascii_control() && *c != '\t') {
            return malformed(format!("control character {c:?}"));
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => Ok(()),
            [comment, ..] if comment.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, ref members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            ["log" | "witness" | "group" | "quorum", ..] => malformed(format!("too few or too many words in {line:?}")),
            [other, ..] => malformed(format!("expected log, witness, group or quorum, found {other:?}")),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), Problem> {
        let key = self.key(key, Algorithm::Ed25519)?;
        self.logs.push(Log { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), Problem> {
        let key = self.key(key, Algorithm::Cosignature)?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, names: &[&str]) -> Result<(), Problem> {
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let place = self.named(member)?;
            if !self.grouped.insert(place) {
                return malformed(format!("{member:?} is already a member of a group, and would count twice"));
            }
            members.push(place);
        }
        let threshold = match threshold {
            "any" => Some(1),
            "all" => Some(members.len()),
            number => parse_u63(number).and_then(|n| usize::try_from(n).ok()),
        };
        let Some(threshold) = threshold.filter(|k| (1..=members.len()).contains(k)) else {
            return malformed(format!(
                "group {name:?} needs any, all, or a number from 1 to its {} members",
                members.len()
            ));
        };
        // Added after the members are read: a group is not its own member.
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { name: name.to_owned(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), Problem> {
        if self.quorum.is_some() {
            return malformed("a second quorum line");
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.named(name)?) });
        Ok(())
    }

    fn key(&mut self, text: &str, algorithm: Algorithm) -> Result<VerifierKey, Problem> {
        let key: VerifierKey = text.parse().map_err(Problem::Key)?;
        if key.algorithm() != algorithm {
            let problem = format!(
                "the key of {} does not {}",
                key.name(),
                match algorithm {
                    Algorithm::Ed25519 => "sign as a log (algorithm 0x01)",
                    Algorithm::Cosignature => "cosign as a witness (algorithm 0x04)",
                }
            );
            return Err(Problem::Key(Error::unsupported(OBJECT, problem)));
        }
        if !self.keys.insert(*key.public_key()) {
            return malformed(format!("the public key of {} is already there, and would count twice", key.name()));
        }
        Ok(key)
    }

    fn define(&mut self, name: &str, place: Member) -> Result<(), Problem> {
        if name == NONE || self.names.insert(name.to_owned(), place).is_some() {
            return malformed(format!("the name {name:?} is taken"));
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Member, Problem> {
        match self.names.get(name) {
            Some(place) => Ok(*place),
            None => malformed(format!("{name:?} is not the name of a witness or group on a line before")),
        }
    }
}
