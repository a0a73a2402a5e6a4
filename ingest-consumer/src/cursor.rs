//! The committer's answer about a stream, believed only as far as signatures prove it.

use evidence::chain::{GrantedKey, Keys, Role, State};
use evidence::statement::{LedgerId, Summary};
use evidence::{Entry, Partition, SignedStatement, Statement, VerifierKey};

use crate::stream::{Cursor, Permission, SealedTail};

/// The keys of a ledger, from its genesis and key entries.
///
/// # Errors
/// If an entry is malformed, or refused after the entries before it.
pub fn keys(ledger: &LedgerId, entries: &[String]) -> Result<Keys, String> {
    let entries = entries.iter().map(|text| Entry::parse(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let entries = entries.map_err(|error| format!("a key entry: {error}"))?;
    let state = State::of_keys(ledger, &entries).map_err(|refusal| format!("a key entry: {refusal}"))?;
    if state.keys().newest().is_none() {
        return Err(format!("the ledger {ledger} has no genesis"));
    }
    Ok(state.keys().clone())
}

/// Whether a key may seal a topic now.
pub fn permission(ledger: &LedgerId, keys: &Keys, key: &VerifierKey, topic: &str) -> Permission {
    let name = key.name();
    let problem = match keys.granted().iter().find(|granted| granted.key == *key) {
        None => format!("the signing key {key} is not granted in ledger {}", ledger.origin),
        Some(GrantedKey { revoked: Some(revocation), .. }) => {
            format!("the signing key {name} was revoked in entry {}", revocation.seq)
        }
        Some(granted) if granted.role != Role::Ingest => {
            format!("the key {name} is granted the role {}, but sealing needs the role ingest", granted.role)
        }
        Some(granted) if !seals(granted, topic) => {
            let topics: Vec<String> = granted.topics.iter().map(ToString::to_string).collect();
            format!("the signing key {name} is granted for {}, not for topic {topic}", topics.join(" "))
        }
        Some(_) => return Permission::Granted,
    };
    Permission::Denied(problem)
}

fn seals(granted: &GrantedKey, topic: &str) -> bool {
    granted.role == Role::Ingest && granted.topics.iter().any(|pattern| pattern.matches(topic))
}

/// Verifies the committer's answer about a partition.
///
/// Read `keys` after the answer: then a key that is missing was never granted.
///
/// # Errors
/// If a signature does not verify, if the answer contradicts itself, or if it is about another ledger or stream.
pub fn verify(
    ledger: &LedgerId,
    keys: &Keys,
    partition: &Partition,
    answer: &committer_client::Cursor,
) -> Result<Cursor, String> {
    let stream = partition.stream(answer.epoch);
    let check = |text: &str, what: &'static str, seq: Option<u64>| -> Result<SignedStatement, String> {
        let signed = SignedStatement::parse(text.as_bytes()).map_err(|error| format!("{what}: {error}"))?;
        if signed.statement().ledger() != Some(ledger) {
            return Err(format!("{what} is of another ledger than {ledger}"));
        }
        if signed.statement().stream() != Some(&stream) {
            return Err(format!("{what} is not about {stream}"));
        }
        if is_signed(keys, &signed, seq) {
            Ok(signed)
        } else {
            Err(format!("{what} is signed by no key that the ledger granted for it"))
        }
    };
    let newest = answer.statement.as_deref().map(|text| check(text, "the newest statement", answer.seq)).transpose()?;
    let last = answer.last_summary.as_deref().map(|text| check(text, "the last summary", None)).transpose()?;
    let last = last.as_ref().map(|signed| summary_with_events(signed, answer.next)).transpose()?;
    let Some(newest) = newest else {
        if answer.epoch != 0 || answer.next != 0 || last.is_some() {
            let committer_client::Cursor { epoch, next, .. } = answer;
            return Err(format!("it names epoch {epoch} and offset {next}, but no statement"));
        }
        return Ok(Cursor::default());
    };
    let (stated_next, topic_id, begun) = stated(newest.statement());
    if stated_next != answer.next {
        return Err(format!("it names offset {}, but its newest statement names {stated_next}", answer.next));
    }
    Ok(Cursor {
        epoch: answer.epoch,
        next: answer.next,
        topic_id,
        statement: Some(newest.hash()),
        begun,
        tail: tail(newest.statement(), last),
    })
}

/// Whether every signature is valid, by a key that may sign the statement and was granted and not revoked at `seq`.
///
/// Without a seq, revocations do not count: signatures before a revocation stay valid.
fn is_signed(keys: &Keys, signed: &SignedStatement, seq: Option<u64>) -> bool {
    let topic = signed.statement().stream().map_or("", |stream| stream.partition.topic.as_str());
    signed.note().signatures().all(|signature| {
        keys.by_signature(signature).is_some_and(|granted| {
            let may = signed.statement().kind().signers().contains(&granted.role)
                && (granted.role != Role::Ingest || seals(granted, topic));
            let counts = seq.is_none_or(|seq| {
                granted.granted < seq && granted.revoked.is_none_or(|revocation| revocation.seq > seq)
            });
            may && counts && signed.note().verify_only(&granted.key).is_ok()
        })
    })
}

fn summary_with_events(signed: &SignedStatement, next: u64) -> Result<&Summary, String> {
    match signed.statement() {
        Statement::Summary(summary) if summary.last.is_some() && summary.next <= next => Ok(summary),
        Statement::Summary(summary) if summary.last.is_some() => {
            Err(format!("the last summary ends at offset {}, after the cursor {next}", summary.next))
        }
        _ => Err("the last summary is not a summary with events".to_owned()),
    }
}

/// The cursor, the topic id, and whether the epoch has a summary or gap.
fn stated(statement: &Statement) -> (u64, Option<String>, bool) {
    match statement {
        Statement::Summary(summary) => (summary.next, summary.topic_id.clone(), true),
        Statement::Gap(gap) => (gap.next, gap.topic_id.clone(), true),
        Statement::Epoch(epoch) => (epoch.start, epoch.topic_id.clone(), false),
        Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {
            unreachable!("these have no stream, and the statement was checked to have one")
        }
    }
}

/// What Kafka can be compared with: the last event, the offsets after it in its summary, and the offsets of the newest
/// summary if that has no events.
fn tail(newest: &Statement, last: Option<&Summary>) -> SealedTail {
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
    SealedTail { last: last.and_then(|summary| summary.last), empty: empty.filter(|range| !range.is_empty()).collect() }
}

#[cfg(test)]
mod tests {
    use evidence::batch::empty_root;
    use evidence::statement::{Gap, LastEvent, Reason};
    use evidence::{Hash, SigningKey};

    use super::*;
    use testbed::memory_ledger::{MemoryLedger, ingest_key, key};

    fn partition() -> Partition {
        Partition { cluster: "c1".into(), topic: "orders".into(), number: 3 }
    }

    fn last(offset: u64) -> LastEvent {
        LastEvent { offset, leaf: evidence::sha256(b"leaf") }
    }

    /// A summary from the ledger's cursor to `next`, with one event at offset `event` or none.
    fn summary(ledger: &MemoryLedger, next: u64, event: Option<u64>) -> Summary {
        let open = ledger.open(&partition());
        Summary {
            ledger: ledger.id(),
            stream: partition().stream(open.map_or(0, |head| head.id.epoch)),
            topic_id: Some("T1".into()),
            first: open.map_or(0, |head| head.next),
            next,
            events: u64::from(event.is_some()),
            bytes: event.map_or(0, |_| 12),
            time: event.map(|_| (0, 0)),
            root: event.map_or_else(empty_root, |_| evidence::sha256(b"leaf")),
            last: event.map(last),
            prev: open.map(|head| head.statement),
        }
    }

    fn signed(statement: Statement, key: &SigningKey) -> String {
        String::from_utf8(SignedStatement::sign(statement, &[key]).to_bytes()).expect("notes are text")
    }

    fn seal(ledger: &mut MemoryLedger, next: u64, event: Option<u64>) {
        let statement = Statement::Summary(summary(ledger, next, event));
        assert_eq!(ledger.submit(&[signed(statement, &ingest_key())]).refused, None);
    }

    fn believe(ledger: &MemoryLedger, answer: &committer_client::Cursor) -> Result<Cursor, String> {
        let keys = keys(&ledger.id(), &ledger.keys().entries).expect("good keys");
        verify(&ledger.id(), &keys, &partition(), answer)
    }

    #[test]
    fn stream_without_statements_begins_at_0() {
        let ledger = MemoryLedger::new();
        let mut answer = ledger.cursor(&partition());
        assert_eq!(believe(&ledger, &answer), Ok(Cursor::default()));
        answer.next = 5;
        assert!(believe(&ledger, &answer).is_err());
        answer = committer_client::Cursor { epoch: 1, ..committer_client::Cursor::default() };
        assert!(believe(&ledger, &answer).is_err());
    }

    #[test]
    fn tail_is_taken_from_the_statements() {
        let mut ledger = MemoryLedger::new();
        seal(&mut ledger, 10, Some(9));
        let cursor = believe(&ledger, &ledger.cursor(&partition())).expect("good");
        assert_eq!((cursor.epoch, cursor.next, cursor.topic_id.as_deref(), cursor.begun), (0, 10, Some("T1"), true));
        assert_eq!(cursor.statement, ledger.open(&partition()).map(|head| head.statement));
        assert_eq!(cursor.tail, SealedTail { last: Some(last(9)), empty: vec![] });
        // Offsets after the last event, and offsets of a batch without events.
        seal(&mut ledger, 15, Some(12));
        seal(&mut ledger, 17, None);
        let cursor = believe(&ledger, &ledger.cursor(&partition())).expect("good");
        assert_eq!(cursor.tail, SealedTail { last: Some(last(12)), empty: vec![13..15, 15..17] });
        // A gap may hold anything.
        let after_last = std::iter::once(13..15).collect();
        ledger.skip_to(&partition(), None, 20);
        let cursor = believe(&ledger, &ledger.cursor(&partition())).expect("good");
        assert_eq!((cursor.next, cursor.tail), (20, SealedTail { last: Some(last(12)), empty: after_last }));
        // A new epoch has no tail.
        ledger.begin_epoch(&partition(), Some("T2".into()), 0);
        let cursor = believe(&ledger, &ledger.cursor(&partition())).expect("good");
        assert_eq!((cursor.epoch, cursor.next, cursor.topic_id.as_deref(), cursor.begun), (1, 0, Some("T2"), false));
        assert_eq!(cursor.tail, SealedTail::default());
    }

    #[test]
    fn answer_about_another_stream_is_refused() {
        let mut ledger = MemoryLedger::new();
        seal(&mut ledger, 10, Some(9));
        let good = ledger.cursor(&partition());
        let wrong = |problem: &str, change: &dyn Fn(&mut committer_client::Cursor)| {
            let mut answer = good.clone();
            change(&mut answer);
            match believe(&ledger, &answer) {
                Err(text) => assert!(text.contains(problem), "{text:?} should contain {problem:?}"),
                other => panic!("{problem}: {other:?}"),
            }
        };
        wrong("it names offset 11, but its newest statement names 10", &|answer| answer.next = 11);
        wrong("is not about orders/3 of cluster c1 epoch 1", &|answer| answer.epoch = 1);
        wrong("the newest statement: ", &|answer| answer.statement = Some("no note".into()));
        let of = |change: &dyn Fn(&mut Summary)| {
            let mut summary = summary(&MemoryLedger::new(), 10, Some(9));
            change(&mut summary);
            Some(signed(Statement::Summary(summary), &ingest_key()))
        };
        let other_partition = of(&|summary| summary.stream.partition.number = 4);
        wrong("is not about orders/3", &|answer| answer.statement = other_partition.clone());
        wrong("is not about orders/3", &|answer| answer.last_summary = other_partition.clone());
        let other_ledger = of(&|summary| summary.ledger.genesis = Hash([1; 32]));
        wrong("is of another ledger", &|answer| answer.statement = other_ledger.clone());
        let later = of(&|summary| summary.next = 12);
        wrong("ends at offset 12, after the cursor 10", &|answer| answer.last_summary = later.clone());
        let mut gapped = MemoryLedger::new();
        gapped.skip_to(&partition(), None, 10);
        let gap = gapped.cursor(&partition()).statement;
        wrong("not a summary with events", &|answer| answer.last_summary = gap.clone());
    }

    #[test]
    fn keys_count_only_for_role_topics_and_time() {
        let mut ledger = MemoryLedger::new();
        let narrow = key("narrow", 8);
        ledger.grant(&narrow, &["payments"]);
        let operator = key("operator", 1);
        let gap = Statement::Gap(Gap {
            ledger: ledger.id(),
            stream: partition().stream(0),
            topic_id: None,
            first: 0,
            next: 10,
            reason: Reason::Start,
            low: 10,
            high: 10,
            prev: None,
        });
        let summary = Statement::Summary(summary(&ledger, 10, Some(9)));
        let answer = |statement: &Statement, key: &SigningKey, seq| committer_client::Cursor {
            next: 10,
            statement: Some(signed(statement.clone(), key)),
            seq: Some(seq),
            ..committer_client::Cursor::default()
        };
        for statement in [&summary, &gap] {
            assert!(believe(&ledger, &answer(statement, &ingest_key(), 5)).is_ok());
            for stranger in [narrow.clone(), key("stranger", 9), key("ingest-a", 9)] {
                let believed = believe(&ledger, &answer(statement, &stranger, 5));
                assert_eq!(
                    believed,
                    Err("the newest statement is signed by no key that the ledger granted for it".to_owned()),
                    "{stranger:?}"
                );
            }
        }
        assert!(believe(&ledger, &answer(&gap, &operator, 5)).is_ok());
        assert!(believe(&ledger, &answer(&summary, &operator, 5)).is_err());
        // Granted in entry 1, revoked in entry 3.
        ledger.revoke(&ingest_key(), &["*"]);
        for (seq, counts) in [(1, false), (2, true), (3, false), (4, false)] {
            assert_eq!(believe(&ledger, &answer(&summary, &ingest_key(), seq)).is_ok(), counts, "{seq}");
        }
        // A signature that does not verify.
        let mut forged = answer(&summary, &ingest_key(), 2);
        forged.statement = forged.statement.map(|text| text.replace("bytes 12", "bytes 13"));
        assert_eq!(
            believe(&ledger, &forged),
            Err("the newest statement is signed by no key that the ledger granted for it".to_owned())
        );
    }

    #[test]
    fn keys_follow_from_the_genesis() {
        let ledger = MemoryLedger::new();
        let entries = ledger.keys().entries;
        assert_eq!(keys(&ledger.id(), &entries).expect("good").granted().len(), 3);
        let mut other = ledger.id();
        other.genesis = Hash([1; 32]);
        for (id, entries) in [
            (other, entries.clone()),
            (ledger.id(), Vec::new()),
            (ledger.id(), entries[1..].to_vec()),
            (ledger.id(), vec![entries[0].clone(), entries[1].replace("ingest-a", "ingest-b")]),
            (ledger.id(), vec!["no entry".to_owned()]),
        ] {
            assert!(keys(&id, &entries).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn denied_permission_names_the_reason() {
        let mut ledger = MemoryLedger::new();
        let narrow = key("narrow", 8);
        ledger.grant(&narrow, &["payments", "pay*"]);
        let of = |ledger: &MemoryLedger, key: &SigningKey| {
            let keys = keys(&ledger.id(), &ledger.keys().entries).expect("good keys");
            match permission(&ledger.id(), &keys, key.verifier_key(), "orders") {
                Permission::Granted => "granted".to_owned(),
                Permission::Denied(problem) => problem,
                other @ Permission::UnknownCluster(_) => panic!("this checks no cluster: {other:?}"),
            }
        };
        assert_eq!(of(&ledger, &ingest_key()), "granted");
        assert!(of(&ledger, &narrow).ends_with("narrow is granted for payments pay*, not for topic orders"));
        assert!(
            of(&ledger, &key("operator", 1))
                .ends_with("is granted the role operator, but sealing needs the role ingest")
        );
        assert!(of(&ledger, &key("ingest-a", 9)).contains("is not granted in ledger example.com/audit"));
        ledger.revoke(&ingest_key(), &["*"]);
        assert!(of(&ledger, &ingest_key()).ends_with("ingest-a was revoked in entry 3"));
    }
}
