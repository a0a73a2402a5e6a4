//! Decides whose signatures make a checkpoint count (C2SP tlog-policy).

mod parse;

use std::fmt::Write;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::text::U63_MAX;
use crate::{NoteError, SignedCheckpoint, VerifierKey};

/// The largest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// The known logs and witnesses, and the witnesses that suffice. Only [`Policy::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    /// A member of a group is a witness, or a group before it.
    groups: Vec<Group>,
    /// `None` is `quorum none`.
    quorum: Option<Member>,
}

/// A known log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its key, whose name is the origin of its checkpoints.
    pub key: VerifierKey,
    /// Where it is served.
    pub url: Option<String>,
}

/// A known witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy, which may differ from the name of its key.
    pub name: String,
    /// Its key, which cosigns.
    pub key: VerifierKey,
    /// Where it takes submissions.
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// The index in `witnesses` or `groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// The verdict on the signatures of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The log key that signed. If several did, the first in the policy.
    pub log: VerifierKey,
    /// The witnesses that cosigned, in the order of the policy, each with its time in seconds since 1970. For a witness
    /// with several cosignatures it is the earliest time.
    pub witnesses: Vec<(VerifierKey, u64)>,
    /// Whether they are a quorum.
    pub satisfied: bool,
    /// The time by which a quorum had cosigned, in seconds since 1970. The checkpoint existed no later. One witness of
    /// a quorum of two cannot make it earlier alone. `None` if the quorum is not met, or if the policy has none.
    pub existed_by_s: Option<u64>,
    /// The latest time at which a quorum still cosigned, in seconds since 1970. Each of them knew no newer checkpoint
    /// then. One witness of a quorum of two cannot make it later alone. `None` in the same cases as `existed_by_s`.
    pub newest_at_s: Option<u64>,
}

/// Why a policy refuses a checkpoint, no matter what else is on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// No known log of that origin signed it.
    #[error("the checkpoint is not signed by a known key of log {origin}")]
    NotByLog {
        /// The origin on the checkpoint.
        origin: String,
    },
    /// A line of a known key does not verify.
    #[error(transparent)]
    Signature(#[from] NoteError),
}

impl Policy {
    /// Judges the signatures on a checkpoint. Lines of unknown keys are ignored. Every line of a known key must verify.
    /// A key counts once, no matter how many lines it has. No two keys of a policy share a public key.
    ///
    /// Each cosignature states that the checkpoint existed at its time, and was the newest one then. So a witness's
    /// earliest one tells by when it existed. Its latest one tells until when it was the newest.
    ///
    /// # Errors
    /// When no known log of the checkpoint's origin signed it, or a line of a known key breaks these rules. Too few
    /// witnesses are not an error: see [`Verdict::satisfied`].
    pub fn check(&self, signed: &SignedCheckpoint) -> Result<Verdict, PolicyError> {
        let note = signed.note();
        let origin = &signed.checkpoint().origin;
        let mut log = None;
        for known in &self.logs {
            if present(note.verify(&known.key))?.is_some() && known.key.name() == origin {
                log = log.or(Some(&known.key));
            }
        }
        let log = log.cloned().ok_or_else(|| PolicyError::NotByLog { origin: origin.clone() })?;
        let mut times = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            let span = present(note.verify_cosignatures(&witness.key))?;
            // The format's own limit (C2SP tlog-cosignature).
            if span.as_ref().is_some_and(|span| *span.end() > U63_MAX) {
                return Err(NoteError::Invalid(witness.key.name().to_owned()).into());
            }
            times.push(span);
        }
        Ok(self.judge(log, &times))
    }

    /// `times` are the earliest and the newest time of each witness.
    fn judge(&self, log: VerifierKey, times: &[Option<RangeInclusive<u64>>]) -> Verdict {
        let mut moments: Vec<u64> = times.iter().flatten().flat_map(|span| [*span.start(), *span.end()]).collect();
        moments.sort_unstable();
        let with = |keep: &dyn Fn(&RangeInclusive<u64>) -> bool| self.is_met(&|i| times[i].as_ref().is_some_and(keep));
        let by_witnesses = self.quorum.is_some();
        let cosigned = self.witnesses.iter().zip(times);
        Verdict {
            log,
            witnesses: cosigned.filter_map(|(w, span)| Some((w.key.clone(), *span.as_ref()?.start()))).collect(),
            satisfied: with(&|_| true),
            existed_by_s: moments.iter().copied().find(|at| by_witnesses && with(&|span| span.start() <= at)),
            newest_at_s: moments.iter().copied().rev().find(|at| by_witnesses && with(&|span| span.end() >= at)),
        }
    }

    /// Whether the witnesses with these indexes are a quorum.
    fn is_met(&self, cosigned: &dyn Fn(usize) -> bool) -> bool {
        // Groups come after their members, so one pass decides them all.
        let mut met: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let members = group.members.iter().filter(|member| holds(**member, cosigned, &met)).count();
            met.push(members >= group.threshold);
        }
        self.quorum.is_none_or(|quorum| holds(quorum, cosigned, &met))
    }

    /// The logs, in the order of the policy.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the order of the policy.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the quorum counts a witness: it is the quorum, or a member of its group, or of a group in that. A policy
    /// may have other witnesses, which make no difference.
    pub fn counts(&self, witness: &VerifierKey) -> bool {
        let mut counted: Vec<Member> = self.quorum.into_iter().collect();
        let mut at = 0;
        while let Some(member) = counted.get(at).copied() {
            match member {
                Member::Witness(place) if self.witnesses[place].key == *witness => return true,
                Member::Witness(_) => {}
                // Each is a member of at most one group, so this ends.
                Member::Group(place) => counted.extend(&self.groups[place].members),
            }
            at += 1;
        }
        false
    }

    /// The policy as text: logs, witnesses, groups, the quorum. Comments are lost.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        let url = |url: &Option<String>| url.as_ref().map_or_else(String::new, |url| format!(" {url}"));
        for log in &self.logs {
            writeln!(out, "log {}{}", log.key, url(&log.url)).expect("a String takes all");
        }
        for witness in &self.witnesses {
            writeln!(out, "witness {} {}{}", witness.name, witness.key, url(&witness.url)).expect("a String takes all");
        }
        for group in &self.groups {
            write!(out, "group {} {}", group.name, group.threshold).expect("a String takes all");
            for member in &group.members {
                write!(out, " {}", self.name(*member)).expect("a String takes all");
            }
            out.push('\n');
        }
        writeln!(out, "quorum {}", self.quorum.map_or("none", |quorum| self.name(quorum))).expect("a String takes all");
        out
    }

    fn name(&self, member: Member) -> &str {
        match member {
            Member::Witness(place) => &self.witnesses[place].name,
            Member::Group(place) => &self.groups[place].name,
        }
    }
}

fn holds(member: Member, cosigned: &dyn Fn(usize) -> bool, met: &[bool]) -> bool {
    match member {
        Member::Witness(place) => cosigned(place),
        Member::Group(place) => met[place],
    }
}

/// Treats a key without a line as absent, and an invalid line as an error.
fn present<T>(verified: Result<T, NoteError>) -> Result<Option<T>, NoteError> {
    match verified {
        Ok(value) => Ok(Some(value)),
        Err(NoteError::Absent(_)) => Ok(None),
        Err(wrong) => Err(wrong),
    }
}
