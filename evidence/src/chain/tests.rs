mod partial;

use super::*;
use crate::statement::{Action, Epoch, Gap, Genesis, KeyStatement, LastEvent, Reason, Summary};
use crate::{Algorithm, Checkpoint, Note, Partition, SignedCheckpoint, SigningKey, sha256};

const ORIGIN: &str = "example.com/audit";

struct Ledger {
    operator: SigningKey,
    log: SigningKey,
    ingest: SigningKey,
    state: State,
    entries: Vec<Entry>,
}

fn key(name: &str, algorithm: Algorithm, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a valid name")
}

fn orders(epoch: u64) -> StreamId {
    Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(epoch)
}

fn genesis(operator: &SigningKey, log: &SigningKey) -> Statement {
    Statement::Genesis(Genesis {
        origin: ORIGIN.into(),
        nonce: sha256(b"nonce"),
        operator: operator.verifier_key().clone(),
        log: log.verifier_key().clone(),
        continues: None,
    })
}

impl Ledger {
    /// Genesis, and an ingest key granted for `orders*`.
    fn new() -> Self {
        let operator = key("operator", Algorithm::Ed25519, 1);
        let log = key(ORIGIN, Algorithm::Ed25519, 2);
        let ingest = key("ingest-a", Algorithm::Ed25519, 3);
        let genesis = SignedStatement::sign(genesis(&operator, &log), &[&operator, &log]);
        let state = State::new(ORIGIN, genesis.hash());
        let mut ledger = Self { operator, log, ingest, state, entries: Vec::new() };
        ledger.append(genesis).expect("the trusted genesis");
        let grant = ledger.key_statement(Action::Grant, Role::Ingest, ledger.ingest.verifier_key().clone());
        ledger.append(grant).expect("a grant by the operator");
        ledger
    }

    fn append(&mut self, statement: SignedStatement) -> Result<(), Refusal> {
        let entry = self.state.draft(statement, 1_700_000_000_000);
        let reread = Entry::parse(&entry.to_bytes()).expect("own bytes");
        assert_eq!(reread, entry);
        self.state.apply(&reread)?;
        self.entries.push(entry);
        Ok(())
    }

    fn code(&mut self, statement: SignedStatement) -> &'static str {
        let before = format!("{:?}", self.state);
        let code = self.append(statement).expect_err("must be refused").code();
        assert_eq!(before, format!("{:?}", self.state), "a refusal changes nothing");
        code
    }

    fn key_statement(&self, action: Action, role: Role, key: crate::VerifierKey) -> SignedStatement {
        let statement = KeyStatement {
            ledger: self.state.ledger().clone(),
            action,
            role,
            key,
            topics: if role == Role::Ingest { vec!["orders*".parse().expect("a pattern")] } else { Vec::new() },
            distrust_from: None,
            prev: self.state.keys().statement().expect("after the genesis"),
        };
        SignedStatement::sign(Statement::Key(statement), &[&self.operator])
    }

    fn summary(&self, first: u64, next: u64) -> Summary {
        let head = self.state.streams().open(&orders(0).partition);
        Summary {
            ledger: self.state.ledger().clone(),
            stream: orders(head.map_or(0, |h| h.id.epoch)),
            topic_id: None,
            first,
            next,
            events: next - first,
            bytes: 100,
            time: Some((-1, 1_700_000_000_000)),
            root: sha256(b"root"),
            last: Some(LastEvent { offset: next - 1, leaf: sha256(b"leaf") }),
            prev: head.map(|h| h.statement),
        }
    }

    fn sealed(&self, summary: Summary) -> SignedStatement {
        SignedStatement::sign(Statement::Summary(summary), &[&self.ingest])
    }

    fn gap(&self, reason: Reason, first: u64, next: u64, low: u64, by: &SigningKey) -> SignedStatement {
        let Summary { ledger, stream, topic_id, prev, .. } = self.summary(first, next);
        SignedStatement::sign(
            Statement::Gap(Gap { ledger, stream, topic_id, first, next, reason, low, high: low + 10, prev }),
            &[by],
        )
    }

    fn epoch(&self, start: u64) -> Epoch {
        let head = self.state.streams().open(&orders(0).partition).expect("a sealed stream");
        Epoch {
            ledger: self.state.ledger().clone(),
            stream: orders(head.id.epoch + 1),
            topic_id: if start == 0 { Some("new".into()) } else { head.topic_id.clone() },
            old_topic_id: head.topic_id.clone(),
            old_next: head.next,
            start,
            prev: head.statement,
        }
    }

    fn begin_epoch(&mut self, start: u64) {
        let epoch = SignedStatement::sign(Statement::Epoch(self.epoch(start)), &[&self.operator]);
        self.append(epoch).expect("an epoch by the operator");
    }

    fn replay(&self) -> State {
        State::new(ORIGIN, self.state.ledger().genesis)
    }
}

#[test]
fn coverage_is_contiguous_from_zero() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.code(ledger.sealed(ledger.summary(1, 5))), "wrong-cursor");
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("the first batch");
    let repeated = ledger.sealed(Summary { prev: None, ..ledger.summary(0, 5) });
    assert_eq!(ledger.code(repeated), "wrong-cursor");
    assert_eq!(ledger.code(ledger.sealed(ledger.summary(4, 9))), "wrong-cursor");
    assert_eq!(ledger.code(ledger.sealed(ledger.summary(6, 9))), "wrong-cursor");
    let fork = ledger.sealed(Summary { prev: Some(sha256(b"another")), ..ledger.summary(5, 9) });
    assert_eq!(ledger.code(fork), "wrong-prev");
    let orphan = ledger.sealed(Summary { prev: None, ..ledger.summary(5, 9) });
    assert_eq!(ledger.code(orphan), "wrong-prev");
    ledger.append(ledger.sealed(ledger.summary(5, 9))).expect("the next batch");
    assert_eq!(ledger.state.stream(&orders(0)).map(|h| h.next), Some(9));
}

#[test]
fn only_the_operator_leaves_out_readable_offsets() {
    let mut ledger = Ledger::new();
    let readable = ledger.gap(Reason::Start, 0, 7, 5, &ledger.ingest);
    assert_eq!(ledger.code(readable), "bad-gap");
    for reason in [Reason::Operator, Reason::Truncated] {
        let gap = ledger.gap(reason, 0, 5, 5, &ledger.ingest);
        assert_eq!(ledger.code(gap), "bad-gap");
    }
    ledger.append(ledger.gap(Reason::Start, 0, 5, 5, &ledger.ingest)).expect("nothing below the low watermark");
    // An auditor who accepts gaps at the start must not be shown later losses as such gaps.
    for signer in [&ledger.ingest, &ledger.operator].map(Clone::clone) {
        let later = ledger.gap(Reason::Start, 5, 9, 9, &signer);
        assert_eq!(ledger.code(later), "bad-gap");
    }
    ledger.append(ledger.gap(Reason::Operator, 5, 9, 5, &ledger.operator)).expect("the operator's decision");
    ledger.append(ledger.sealed(ledger.summary(9, 10))).expect("sealing continues");
}

#[test]
fn keys_count_while_granted_within_role_and_scope() {
    let mut ledger = Ledger::new();
    let stranger = key("stranger", Algorithm::Ed25519, 9);
    let by = |k: &SigningKey, s: Summary| SignedStatement::sign(Statement::Summary(s), &[k]);
    assert_eq!(ledger.code(by(&stranger, ledger.summary(0, 5))), "unknown-key");
    assert_eq!(ledger.code(by(&ledger.operator, ledger.summary(0, 5))), "wrong-role");
    let mut elsewhere = ledger.summary(0, 5);
    elsewhere.stream.partition.topic = "payments".into();
    assert_eq!(ledger.code(ledger.sealed(elsewhere)), "out-of-scope");
    let same_name = key("ingest-a", Algorithm::Ed25519, 8);
    assert_eq!(ledger.code(by(&same_name, ledger.summary(0, 5))), "unknown-key");

    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("granted");
    let revoke = ledger.key_statement(Action::Revoke, Role::Ingest, ledger.ingest.verifier_key().clone());
    ledger.append(revoke).expect("a revocation");
    assert_eq!(ledger.code(ledger.sealed(ledger.summary(5, 9))), "revoked-key");
    let again = ledger.key_statement(Action::Grant, Role::Ingest, ledger.ingest.verifier_key().clone());
    assert_eq!(ledger.code(again), "bad-key");
    let by_stranger =
        match ledger.key_statement(Action::Grant, Role::Ingest, stranger.verifier_key().clone()).statement() {
            Statement::Key(s) => SignedStatement::sign(Statement::Key(s.clone()), &[&stranger]),
            _ => unreachable!("a key statement"),
        };
    assert_eq!(ledger.code(by_stranger), "unknown-key");
}

#[test]
fn bad_signature_beside_a_good_one_is_refused() {
    let mut ledger = Ledger::new();
    let good = ledger.sealed(ledger.summary(0, 5));
    let other = ledger.sealed(ledger.summary(0, 6));
    let mut note = Note::unsigned(good.note().text().to_owned()).expect("a text");
    note.add_signature(other.note().signatures().next().expect("one signature").clone());
    let forged = SignedStatement::parse(&note.to_bytes()).expect("well-formed");
    assert_eq!(ledger.code(forged), "bad-signature");
    note.sign(&ledger.ingest);
    note.sort_signatures();
    let repeated = SignedStatement::parse(&note.to_bytes()).expect("well-formed");
    assert_eq!(ledger.code(repeated), "bad-signature");
}

#[test]
fn operators_rotate_and_the_last_one_stays() {
    let mut ledger = Ledger::new();
    let last = ledger.key_statement(Action::Revoke, Role::Operator, ledger.operator.verifier_key().clone());
    assert_eq!(ledger.code(last), "bad-key");
    let second = key("operator-2", Algorithm::Ed25519, 11);
    let grant = ledger.key_statement(Action::Grant, Role::Operator, second.verifier_key().clone());
    assert_eq!(ledger.code(grant.clone()), "bad-signature");
    let grant = SignedStatement::sign(grant.statement().clone(), &[&ledger.operator, &second]);
    ledger.append(grant).expect("signed by both");
    let revoke = ledger.key_statement(Action::Revoke, Role::Operator, ledger.operator.verifier_key().clone());
    let revoke = SignedStatement::sign(revoke.statement().clone(), &[&second]);
    ledger.append(revoke).expect("by the new operator");
    let late =
        ledger.key_statement(Action::Grant, Role::Ingest, key("x", Algorithm::Ed25519, 12).verifier_key().clone());
    assert_eq!(ledger.code(late), "revoked-key");
}

#[test]
fn log_key_is_replaced_under_the_same_name() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    let elsewhere = key("example.com/elsewhere", Algorithm::Ed25519, 21);
    let grant = ledger.key_statement(Action::Grant, Role::Log, elsewhere.verifier_key().clone());
    assert_eq!(ledger.code(grant), "bad-key");
    let second = key(ORIGIN, Algorithm::Ed25519, 22);
    let grant = ledger.key_statement(Action::Grant, Role::Log, second.verifier_key().clone());
    ledger.append(grant).expect("the origin is the name of every log key");
    let revoke = ledger.key_statement(Action::Revoke, Role::Log, ledger.log.verifier_key().clone());
    ledger.append(revoke).expect("the old log key");
    let heads = ledger.state.draft_heads().expect("streams moved");
    let by = |k: &SigningKey| SignedStatement::sign(Statement::Heads(heads.clone()), &[k]);
    assert_eq!(ledger.code(by(&ledger.log)), "revoked-key");
    ledger.append(by(&second)).expect("the new log key");
    // No other role may use the name.
    let ingest = key(ORIGIN, Algorithm::Ed25519, 23);
    let grant = ledger.key_statement(Action::Grant, Role::Ingest, ingest.verifier_key().clone());
    assert_eq!(ledger.code(grant), "bad-key");
}

#[test]
fn checkpoint_needs_a_log_key_that_counts() {
    let mut ledger = Ledger::new();
    let (first, second) = (ledger.log.clone(), key(ORIGIN, Algorithm::Ed25519, 22));
    let signed = |size: u64, by: &[&SigningKey]| {
        let mut note =
            Note::unsigned(Checkpoint { origin: ORIGIN.into(), size, root: sha256(b"root") }.encode()).expect("text");
        by.iter().for_each(|key| note.sign(key));
        SignedCheckpoint::parse(&note.to_bytes()).expect("own bytes")
    };
    let signer = |ledger: &Ledger, signed: &SignedCheckpoint| {
        ledger.state.keys().verify_checkpoint(signed).map(|granted| granted.key.clone()).map_err(|e| e.to_string())
    };
    let by_second = signed(9, &[&second]);
    let problem = signer(&ledger, &by_second).expect_err("never granted");
    assert!(problem.contains("no log key of the ledger"), "{problem}");
    let grant = ledger.key_statement(Action::Grant, Role::Log, second.verifier_key().clone());
    ledger.append(grant).expect("a second log key");
    assert_eq!(ledger.state.keys().in_force(Role::Log).count(), 2);
    assert_eq!(signer(&ledger, &by_second).as_ref(), Ok(second.verifier_key()));
    assert_eq!(signer(&ledger, &signed(9, &[&first])).as_ref(), Ok(first.verifier_key()));

    // Genesis, grant of the ingest key, of the log key, and now entry 3, which the tree of size 3 does not have.
    let revoke = ledger.key_statement(Action::Revoke, Role::Log, first.verifier_key().clone());
    ledger.append(revoke).expect("the first log key");
    assert_eq!(ledger.state.keys().in_force(Role::Log).count(), 1);
    assert_eq!(signer(&ledger, &signed(3, &[&first])).as_ref(), Ok(first.verifier_key()));
    let problem = signer(&ledger, &signed(4, &[&first])).expect_err("revoked by then");
    assert!(problem.contains(&first.verifier_key().to_string()) && problem.contains("revoked"), "{problem}");
    assert_eq!(signer(&ledger, &signed(4, &[&first, &second])).as_ref(), Ok(second.verifier_key()));

    // A line of a key that does not count must still be valid.
    let mut spoiled = String::from_utf8(signed(4, &[&second]).to_bytes()).expect("text");
    let other = signed(3, &[&first]);
    let line = other.note().signatures().next().expect("one").to_line();
    spoiled.push_str(&format!("{line}\n"));
    let spoiled = SignedCheckpoint::parse(spoiled.as_bytes()).expect("a checkpoint");
    let problem = signer(&ledger, &spoiled).expect_err("of another checkpoint");
    assert!(problem.contains("not valid"), "{problem}");
    let by_operator = signed(4, &[&ledger.operator]);
    assert!(signer(&ledger, &by_operator).is_err());
}

#[test]
fn granted_public_key_stays_known_under_any_name() {
    let mut ledger = Ledger::new();
    for key in [&ledger.operator, &ledger.log, &ledger.ingest] {
        assert!(ledger.state.keys().knows_public_key(key.verifier_key()));
    }
    let renamed = key("another-name", Algorithm::Ed25519, 3);
    assert_eq!(renamed.verifier_key().public_key(), ledger.ingest.verifier_key().public_key());
    assert!(ledger.state.keys().knows_public_key(renamed.verifier_key()));
    let new = key("new", Algorithm::Ed25519, 77);
    assert!(!ledger.state.keys().knows_public_key(new.verifier_key()));
    for action in [Action::Grant, Action::Revoke] {
        let statement = ledger.key_statement(action, Role::Ingest, new.verifier_key().clone());
        ledger.append(statement).expect("by the operator");
        assert!(ledger.state.keys().knows_public_key(new.verifier_key()));
    }
}

/// [`State::apply_encoded`] accepts, refuses and moves exactly as [`State::apply`] does.
#[test]
fn apply_encoded_matches_apply() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    let mut state = State::new(ORIGIN, ledger.state.ledger().genesis);
    for entry in &ledger.entries {
        let encoded = EncodedEntry::new(entry.clone());
        assert_eq!(state.apply_encoded(&encoded), Ok(()));
        assert_eq!(state.last_leaf(), Some(encoded.leaf()));
        assert_eq!(encoded.bytes(), entry.to_bytes());
        assert!(encoded.is_read_back(&entry.to_bytes()));
        assert!(!encoded.is_read_back(&[encoded.bytes(), b"\n"].concat()));
        assert!(state.apply_encoded(&encoded).is_err(), "a second time");
    }
    assert_eq!(state.last_leaf(), ledger.state.last_leaf());
    assert_eq!(state.stream(&orders(0)), ledger.state.stream(&orders(0)));
}

#[test]
fn replayed_key_statement_is_refused() {
    let mut ledger = Ledger::new();
    let b = key("ingest-b", Algorithm::Ed25519, 13);
    let grant = ledger.key_statement(Action::Grant, Role::Ingest, b.verifier_key().clone());
    ledger.append(grant.clone()).expect("a grant");
    assert_eq!(ledger.code(grant), "wrong-key-prev");
}

#[test]
fn an_epoch_ends_the_stream_at_its_cursor() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    let by_ingest = SignedStatement::sign(Statement::Epoch(ledger.epoch(0)), &[&ledger.ingest]);
    assert_eq!(ledger.code(by_ingest), "wrong-role");
    let by_operator = |l: &Ledger, e: Epoch| SignedStatement::sign(Statement::Epoch(e), &[&l.operator]);
    assert_eq!(ledger.code(by_operator(&ledger, Epoch { stream: orders(2), ..ledger.epoch(0) })), "wrong-epoch");
    assert_eq!(ledger.code(by_operator(&ledger, Epoch { old_next: 4, ..ledger.epoch(0) })), "wrong-cursor");
    assert_eq!(ledger.code(by_operator(&ledger, Epoch { prev: sha256(b""), ..ledger.epoch(0) })), "wrong-prev");
    let other_id = Epoch { old_topic_id: Some("x".into()), ..ledger.epoch(0) };
    assert_eq!(ledger.code(by_operator(&ledger, other_id)), "wrong-topic-id");
    let recreated = Epoch { start: 1, ..ledger.epoch(0) };
    assert_eq!(ledger.code(by_operator(&ledger, recreated)), "bad-epoch", "offset 0 would be nowhere");
    assert_eq!(ledger.code(by_operator(&ledger, ledger.epoch(6))), "bad-epoch", "offset 5 would be nowhere");
    ledger.begin_epoch(2);

    let old = ledger.sealed(Summary { stream: orders(0), ..ledger.summary(5, 6) });
    assert_eq!(ledger.code(old), "wrong-epoch");
    let other_topic = Summary { topic_id: Some("new".into()), ..ledger.summary(2, 6) };
    assert_eq!(ledger.code(ledger.sealed(other_topic)), "wrong-topic-id");
    ledger.append(ledger.sealed(ledger.summary(2, 6))).expect("epoch 1");
    assert_eq!(ledger.state.stream(&orders(0)).map(|h| h.next), Some(5));
    assert_eq!(ledger.state.stream(&orders(1)).map(|h| (h.start, h.next)), Some((2, 6)));
}

#[test]
fn heads_commit_to_every_stream() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.state.draft_heads(), None, "nothing was sealed yet");
    assert!(ledger.state.streams().is_empty());
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    ledger.begin_epoch(0);
    assert!(!ledger.state.streams().is_empty());
    let heads = ledger.state.draft_heads().expect("streams moved");
    assert_eq!(heads.streams, 2);
    let by_log = |l: &Ledger, h: Heads| SignedStatement::sign(Statement::Heads(h), &[&l.log]);
    assert_eq!(ledger.code(by_log(&ledger, Heads { streams: 1, ..heads.clone() })), "bad-heads");
    assert_eq!(ledger.code(by_log(&ledger, Heads { root: sha256(b""), ..heads.clone() })), "bad-heads");
    let by_operator = SignedStatement::sign(Statement::Heads(heads.clone()), &[&ledger.operator]);
    assert_eq!(ledger.code(by_operator), "wrong-role");
    ledger.append(by_log(&ledger, heads.clone())).expect("true heads");
    assert_eq!(ledger.state.heads(), Some(&heads));
    assert_eq!(ledger.state.draft_heads(), None, "nothing moved since");
    assert_eq!(ledger.code(by_log(&ledger, heads)), "bad-heads");
}

#[test]
fn statement_of_another_ledger_is_refused() {
    let mut ledger = Ledger::new();
    let mut foreign = ledger.summary(0, 5);
    foreign.ledger.genesis = sha256(b"same origin, another genesis");
    assert_eq!(ledger.code(ledger.sealed(foreign)), "wrong-ledger");
    let second = SignedStatement::sign(genesis(&ledger.operator, &ledger.log), &[&ledger.operator, &ledger.log]);
    assert_eq!(ledger.code(second), "wrong-genesis");

    let mut other = State::new(ORIGIN, sha256(b"trusted"));
    assert_eq!(other.apply(&ledger.entries[0]).expect_err("forged genesis").code(), "wrong-genesis");
    let mut other = State::new("example.com/other", ledger.state.ledger().genesis);
    assert_eq!(other.apply(&ledger.entries[0]).expect_err("other origin").code(), "wrong-genesis");
}

#[test]
fn entries_are_refused_out_of_place() {
    let mut ledger = Ledger::new();
    ledger.append(ledger.sealed(ledger.summary(0, 5))).expect("sealed");
    ledger.append(ledger.sealed(ledger.summary(5, 9))).expect("sealed");
    let refused = |change: &dyn Fn(&mut Entry)| {
        let mut state = ledger.replay();
        for (i, entry) in ledger.entries.iter().enumerate() {
            let mut entry = entry.clone();
            if i == 3 {
                change(&mut entry);
            }
            match state.apply(&entry) {
                Ok(()) => {}
                Err(refusal) => {
                    assert_eq!(i, 3);
                    return refusal.code();
                }
            }
        }
        "accepted"
    };
    assert_eq!(refused(&|_| {}), "accepted");
    assert_eq!(refused(&|e| e.seq = 4), "wrong-seq");
    assert_eq!(refused(&|e| e.prev = Some(sha256(b""))), "wrong-entry-prev");
    assert_eq!(refused(&|e| e.prev = None), "wrong-entry-prev");
    assert_eq!(refused(&|e| e.keys = Some((0, sha256(b"")))), "wrong-keys");
    assert_eq!(refused(&|e| e.time -= 1), "time-backwards");
}

#[test]
fn extra_signature_under_a_known_name_is_refused() {
    let mut ledger = Ledger::new();
    let namesake = |k: &SigningKey| key(k.verifier_key().name(), Algorithm::Ed25519, 31);
    let statement = genesis(&ledger.operator, &ledger.log);
    let signed = SignedStatement::sign(statement, &[&ledger.operator, &ledger.log, &namesake(&ledger.operator)]);
    let mut state = State::new(ORIGIN, signed.hash());
    let entry = state.draft(signed, 0);
    assert_eq!(state.apply(&entry).expect_err("three signatures").code(), "unknown-key");

    let second = key("operator-2", Algorithm::Ed25519, 11);
    let grant = ledger.key_statement(Action::Grant, Role::Operator, second.verifier_key().clone());
    let by = [&ledger.operator, &second, &namesake(&second)];
    let grant = SignedStatement::sign(grant.statement().clone(), &by);
    assert_eq!(ledger.code(grant), "unknown-key");
}

#[test]
fn distrust_begins_no_later_than_the_revocation() {
    let mut ledger = Ledger::new();
    let revoke = ledger.key_statement(Action::Revoke, Role::Ingest, ledger.ingest.verifier_key().clone());
    let Statement::Key(revoke) = revoke.statement().clone() else { unreachable!("a key statement") };
    let from = |seq| {
        let statement = KeyStatement { distrust_from: Some(seq), ..revoke.clone() };
        SignedStatement::sign(Statement::Key(statement), &[&ledger.operator])
    };
    let (later, there) = (from(3), from(2));
    assert_eq!(ledger.code(later), "bad-key");
    ledger.append(there).expect("from the revocation itself, entry 2");
}
