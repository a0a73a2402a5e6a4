//! The committer's answer about a stream, believed only as far as signatures go.

use evidence::chain::{GrantedKey, Keys, Role, State};
use evidence::statement::{LedgerId, Summary};
use evidence::{Entry, Hash, Partition, SignedStatement, Statement, VerifierKey};

use crate::stream::{Below, Cursor, Standing};

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubtful {
    /// A signature is by a key that was granted after the keys were read, or never: read them again.
    #[error("{0} is signed by no key that the ledger granted for it")]
    UnknownKey(&'static str),
    /// The answer contradicts itself or what was asked.
    #[error("{0}")]
    Wrong(String),
}

fn wrong(problem: impl Into<String>) -> Doubtful {
    Doubtful::Wrong(problem.into())
}

/// The keys of a ledger, from its genesis and key entries.
///
/// # Errors
/// When an entry is malformed, or is refused after the ones before it.
pub(crate) fn keys(ledger: &LedgerId, entries: &[String]) -> Result<Keys, String> {
    let mut state = State::new(&ledger.origin, ledger.genesis);
    for text in entries {
        let entry = Entry::parse(text.as_bytes()).map_err(|error| format!("a key entry: {error}"))?;
        state.skip_to(entry.seq);
        state.apply(&entry).map_err(|refusal| format!("key entry {}: {refusal}", entry.seq))?;
    }
    if state.keys().newest().is_none() {
        return Err(format!("the ledger {ledger} has no genesis"));
    }
    Ok(state.keys().clone())
}

/// Whether a key may seal a topic now.
pub(crate) fn standing(ledger: &LedgerId, keys: &Keys, key: &VerifierKey, topic: &str) -> Standing {
    let name = key.name();
    let problem = match keys.granted().iter().find(|granted| granted.key == *key) {
        None => format!("the signing key {key} is not granted in ledger {}", ledger.origin),
        Some(GrantedKey { revoked: Some(revocation), .. }) => {
            format!("the signing key {name} was revoked in entry {}", revocation.seq)
        }
        Some(granted) if granted.role != Role::Ingest => {
            format!("the key {name} is granted the role {}, sealing takes the role ingest", granted.role)
        }
        Some(granted) if !seals(granted, topic) => {
            let topics: Vec<String> = granted.topics.iter().map(ToString::to_string).collect();
            format!("the signing key {name} is granted for {}, not for topic {topic}", topics.join(" "))
        }
        Some(_) => return Standing::Granted,
    };
    Standing::Refused(problem)
}

fn seals(granted: &GrantedKey, topic: &str) -> bool {
    granted.role == Role::Ingest && granted.topics.iter().any(|pattern| pattern.matches(topic))
}

/// Verifies the committer's answer about a partition.
///
/// # Errors
/// [`Doubtful`]; a statement of another ledger, stream or cursor is as wrong as one without a valid signature.
pub(crate) fn verify(
    ledger: &LedgerId,
    keys: &Keys,
    partition: &Partition,
    answer: &committer_client::Cursor,
) -> Result<Cursor, Doubtful> {
    let stream = partition.stream(answer.epoch);
    let check = |text: &str, what: &'static str, seq: Option<u64>| -> Result<SignedStatement, Doubtful> {
        let signed = SignedStatement::parse(text.as_bytes()).map_err(|error| wrong(format!("{what}: {error}")))?;
        if signed.statement().ledger() != Some(ledger) {
            return Err(wrong(format!("{what} is of another ledger than {ledger}")));
        }
        if signed.statement().stream() != Some(&stream) {
            return Err(wrong(format!("{what} is not about {stream}")));
        }
        if is_signed(keys, &signed, seq) { Ok(signed) } else { Err(Doubtful::UnknownKey(what)) }
    };
    let newest = answer.statement.as_deref().map(|text| check(text, "the newest statement", answer.seq)).transpose()?;
    let last = answer.last_summary.as_deref().map(|text| check(text, "the last summary", None)).transpose()?;
    let last = last.as_ref().map(|signed| summary_with_events(signed, answer.next)).transpose()?;
    let Some(newest) = newest else {
        if answer.epoch != 0 || answer.next != 0 || last.is_some() {
            let committer_client::Cursor { epoch, next, .. } = answer;
            return Err(wrong(format!("it names epoch {epoch} and offset {next} without a statement")));
        }
        return Ok(Cursor::default());
    };
    let (stated_next, topic_id, begun) = stated(newest.statement());
    if stated_next != answer.next {
        return Err(wrong(format!("it names offset {}, its newest statement {stated_next}", answer.next)));
    }
    Ok(Cursor {
        epoch: answer.epoch,
        next: answer.next,
        topic_id,
        statement: Some(newest.hash()),
        begun,
        below: below(newest.statement(), last),
    })
}

/// Whether every signature is valid, by a key that was granted and not revoked at that seq and may sign it. Where the
/// seq is not told, a revocation does not count: what was signed before it stays valid.
fn is_signed(keys: &Keys, signed: &SignedStatement, seq: Option<u64>) -> bool {
    let topic = signed.statement().stream().map_or("", |stream| stream.partition.topic.as_str());
    signed.note().signatures().all(|signature| {
        keys.by_signature(signature).is_some_and(|granted| {
            let may = match signed.statement() {
                Statement::Summary(_) => seals(granted, topic),
                Statement::Gap(_) => granted.role == Role::Operator || seals(granted, topic),
                _ => granted.role == Role::Operator,
            };
            let counts = seq.is_none_or(|seq| {
                granted.granted < seq && granted.revoked.is_none_or(|revocation| revocation.seq > seq)
            });
            may && counts && signed.note().verify(&granted.key).is_ok()
        })
    })
}

fn summary_with_events(signed: &SignedStatement, next: u64) -> Result<&Summary, Doubtful> {
    match signed.statement() {
        Statement::Summary(summary) if summary.last.is_some() && summary.next <= next => Ok(summary),
        Statement::Summary(summary) if summary.last.is_some() => {
            Err(wrong(format!("the last summary ends at offset {}, after the cursor {next}", summary.next)))
        }
        _ => Err(wrong("the last summary is no summary with events")),
    }
}

/// Cursor, topic id, and whether a summary or gap of the epoch exists.
fn stated(statement: &Statement) -> (u64, Option<String>, bool) {
    match statement {
        Statement::Summary(summary) => (summary.next, summary.topic_id.clone(), true),
        Statement::Gap(gap) => (gap.next, gap.topic_id.clone(), true),
        Statement::Epoch(epoch) => (epoch.start, epoch.topic_id.clone(), false),
        Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {
            unreachable!("these are about no stream, and the statement was found to be about one")
        }
    }
}

/// What can be compared below the cursor: the last event, the offsets of its summary after it, and those of the newest
/// summary if that has no events.
fn below(newest: &Statement, last: Option<&Summary>) -> Below {
    let newest = match newest {
        Statement::Summary(summary) => Some(summary),
        _ => None,
    };
    let last = newest.filter(|summary| summary.last.is_some()).or(last);
    let without_events = newest.filter(|summary| summary.last.is_none());
    let empty = [last, without_events].into_iter().flatten().map(|summary| {
        let start = summary.last.map_or(summary.first, |last| last.offset + 1);
        start..summary.next
    });
    Below { last: last.and_then(|summary| summary.last), empty: empty.filter(|range| !range.is_empty()).collect() }
}

/// Whether an entry holds the statement with this identity: what an acknowledgement must show.
pub(crate) fn acknowledges(entry: &str, statement: Hash) -> bool {
    Entry::parse(entry.as_bytes()).is_ok_and(|entry| entry.statement.hash() == statement)
}
