//! Entries that the chain refuses, each with the reason.

use evidence::chain::State;
use evidence::statement::{Action, Epoch, Gap, Heads, KeyStatement, LastEvent, Reason, Role, Summary, heads_root};
use evidence::{Algorithm, Entry, Note, SignedStatement, SigningKey, Statement, StreamId, sha256};

use super::{Chain, ORDERS_ID_2, RefusedEntry, sign, text};
use crate::fixture::{KeyRing, ORIGIN, genesis, key, ledger, stream};

const OTHER_ORIGIN: &str = "example.com/other";

/// The chain after the given number of entries, to try another on it.
struct Attempts<'a> {
    chain: &'a Chain,
    refused: Vec<RefusedEntry>,
}

impl Attempts<'_> {
    /// The chain after so many entries.
    fn after(&self, count: usize) -> Chain {
        self.chain.after(count)
    }

    fn statement(&mut self, name: &str, chain: &Chain, statement: SignedStatement, code: &'static str) {
        let entry = chain.state.draft(statement, chain.now);
        self.entry(name, chain, &entry, code);
    }

    fn entry(&mut self, name: &str, chain: &Chain, entry: &Entry, code: &'static str) {
        let mut state = chain.state.clone();
        let before = format!("{state:?}");
        let found = state.apply(entry).expect_err(name);
        assert_eq!(found.code(), code, "{name}: {found}");
        assert_eq!(format!("{state:?}"), before, "{name}");
        let origin = (chain.state.ledger().origin != ORIGIN).then_some(OTHER_ORIGIN);
        let after = chain.state.next_seq().into();
        self.refused.push(RefusedEntry { name: name.to_owned(), origin, after, entry: text(entry), code });
    }
}

pub(super) fn refused(chain: &Chain) -> Vec<RefusedEntry> {
    let mut attempts = Attempts { chain, refused: Vec::new() };
    places(&mut attempts);
    ledgers(&mut attempts);
    signers(&mut attempts);
    keys(&mut attempts);
    coverage(&mut attempts);
    gaps(&mut attempts);
    epochs(&mut attempts);
    heads(&mut attempts);
    order(&mut attempts);
    attempts.refused
}

/// Entries in the wrong place.
fn places(attempts: &mut Attempts<'_>) {
    let chain = attempts.after(5);
    let good = attempts.chain.entries[5].clone();
    let other = sha256(b"another");
    attempts.entry("the seq after the next", &chain, &Entry { seq: 6, ..good.clone() }, "wrong-seq");
    attempts.entry("an entry again", &chain, &attempts.chain.entries[4].clone(), "wrong-seq");
    attempts.entry("another previous entry", &chain, &Entry { prev: Some(other), ..good.clone() }, "wrong-entry-prev");
    attempts.entry("no previous entry", &chain, &Entry { prev: None, ..good.clone() }, "wrong-entry-prev");
    attempts.entry("another newest key entry", &chain, &Entry { keys: Some((2, other)), ..good.clone() }, "wrong-keys");
    let older = Some((1, attempts.chain.entries[1].leaf_hash()));
    attempts.entry("an older key entry", &chain, &Entry { keys: older, ..good.clone() }, "wrong-keys");
    attempts.entry("no key entry", &chain, &Entry { keys: None, ..good.clone() }, "wrong-keys");
    let before = chain.state.time() - 1;
    attempts.entry("a time before the previous one", &chain, &Entry { time: before, ..good }, "time-backwards");

    let empty = attempts.after(0);
    let genesis = attempts.chain.entries[0].clone();
    attempts.entry("an entry before the genesis", &empty, &attempts.chain.entries[1].clone(), "wrong-seq");
    let with_prev = Entry { prev: Some(other), ..genesis.clone() };
    attempts.entry("a genesis after another entry", &empty, &with_prev, "wrong-entry-prev");
    let with_keys = Entry { keys: Some((0, other)), ..genesis };
    attempts.entry("a genesis after a key entry", &empty, &with_keys, "wrong-keys");
}

/// Statements of other ledgers, and other geneses.
fn ledgers(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let empty = attempts.after(0);
    let Statement::Genesis(good) = genesis(&ring).statement().clone() else { unreachable!("a genesis") };
    let by = [&ring.operator, &ring.log];
    let mut forged = good.clone();
    forged.nonce = sha256(b"another nonce");
    attempts.statement("another genesis", &empty, sign(Statement::Genesis(forged.clone()), &by), "wrong-genesis");
    let log = key(OTHER_ORIGIN, Algorithm::Ed25519, 2);
    forged.origin = OTHER_ORIGIN.into();
    forged.log = log.verifier_key().clone();
    let elsewhere = sign(Statement::Genesis(forged), &[&ring.operator, &log]);
    attempts.statement("a genesis of another origin", &empty, elsewhere, "wrong-genesis");
    let mut other = Chain::new();
    other.state = State::new(OTHER_ORIGIN, other.state.ledger().genesis);
    attempts.statement("the genesis, where another origin is trusted", &other, genesis(&ring), "wrong-genesis");
    for (name, key) in [("log", &ring.operator), ("operator", &ring.log)] {
        let unsigned = sign(Statement::Genesis(good.clone()), &[key]);
        let name = format!("a genesis without the {name}'s signature");
        attempts.statement(&name, &empty, unsigned, "bad-signature");
    }
    let extra = sign(Statement::Genesis(good), &[&ring.operator, &ring.log, &ring.stranger]);
    attempts.statement("a genesis with a third signature", &empty, extra, "unknown-key");
    let heads = Heads { ledger: ledger(genesis(&ring).hash()), streams: 0, root: heads_root([]) };
    attempts.statement("no genesis at seq 0", &empty, sign(Statement::Heads(heads), &[&ring.log]), "wrong-genesis");

    let chain = attempts.after(5);
    attempts.statement("the genesis again", &chain, genesis(&ring), "wrong-genesis");
    let summary = chain.batch(&stream("payments", 1, 0), &[100], 150, 0).summary;
    let mut foreign = summary.clone();
    foreign.ledger.genesis = sha256(b"another genesis");
    let foreign = sign(Statement::Summary(foreign), &[&ring.ingest_a]);
    attempts.statement("a statement of another genesis", &chain, foreign, "wrong-ledger");
    let mut foreign = summary;
    foreign.ledger.origin = OTHER_ORIGIN.into();
    let foreign = sign(Statement::Summary(foreign), &[&ring.ingest_a]);
    attempts.statement("a statement of another origin", &chain, foreign, "wrong-ledger");
}

/// Signatures that do not count.
fn signers(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let payments = stream("payments", 1, 0);
    let chain = attempts.after(5);
    let summary = chain.batch(&payments, &[100], 150, 0).summary;
    let by = |keys: &[&SigningKey]| sign(Statement::Summary(summary.clone()), keys);
    attempts.statement("a key that was never granted", &chain, by(&[&ring.stranger]), "unknown-key");
    let same_name = key("ingest-a", Algorithm::Ed25519, 77);
    attempts.statement("another key of a granted name", &chain, by(&[&same_name]), "unknown-key");
    attempts.statement("a key that is granted later", &chain, by(&[&ring.ingest_b]), "unknown-key");
    attempts.statement("a summary by the operator", &chain, by(&[&ring.operator]), "wrong-role");
    attempts.statement("a summary by the log", &chain, by(&[&ring.log]), "wrong-role");
    let beside = by(&[&ring.ingest_a, &ring.stranger]);
    attempts.statement("an unknown key beside a granted one", &chain, beside, "unknown-key");
    let elsewhere = chain.batch(&stream("refunds", 0, 0), &[0], 1, 0).summary;
    let elsewhere = sign(Statement::Summary(elsewhere), &[&ring.ingest_a]);
    attempts.statement("a topic out of scope", &chain, elsewhere, "out-of-scope");
    let longer = chain.batch(&stream("payments2", 0, 0), &[0], 1, 0).summary;
    let longer = sign(Statement::Summary(longer), &[&ring.ingest_a]);
    attempts.statement("a topic that begins like one in scope", &chain, longer, "out-of-scope");

    let other = by(&[&ring.ingest_a]);
    let mut changed = summary.clone();
    changed.bytes += 1;
    let text = Statement::Summary(changed).encode();
    let mut note = Note::unsigned(text).expect("lines");
    note.add_signature(other.note().signatures().next().expect("signed").clone());
    let forged = SignedStatement::parse(&note.to_bytes()).expect("well formed");
    attempts.statement("the signature of another text", &chain, forged, "bad-signature");
    note.sign(&ring.ingest_a);
    note.sort_signatures();
    let twice = SignedStatement::parse(&note.to_bytes()).expect("well formed");
    attempts.statement("two signatures by one key", &chain, twice, "bad-signature");

    let chain = attempts.after(12);
    let late = chain.batch(&payments, &[150], 151, 0).summary;
    let late = sign(Statement::Summary(late), &[&ring.ingest_a]);
    attempts.statement("a revoked key", &chain, late, "revoked-key");
}

/// Key statements that contradict the keys granted so far.
fn keys(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let (operator, operator_2) = (&ring.operator, &ring.operator_2);
    let chain = attempts.after(7);
    let statement =
        |action, role, key: &SigningKey, topics: &[&str]| chain.key_statement(action, role, key.verifier_key(), topics);
    let signed = |statement: KeyStatement, by: &[&SigningKey]| sign(Statement::Key(statement), by);
    let topics = ["orders*", "payments"];
    let grant_b = statement(Action::Grant, Role::Ingest, &ring.ingest_b, &["*"]);
    attempts.statement("a grant by an ingest key", &chain, signed(grant_b.clone(), &[&ring.ingest_a]), "wrong-role");
    attempts.statement("a grant by the key itself", &chain, signed(grant_b.clone(), &[&ring.ingest_b]), "unknown-key");
    let replayed = KeyStatement { prev: chain.state.ledger().genesis, ..grant_b.clone() };
    attempts.statement("an old key statement", &chain, signed(replayed, &[operator]), "wrong-key-prev");
    let grant_2 = statement(Action::Grant, Role::Operator, operator_2, &[]);
    attempts.statement(
        "an operator key that does not sign",
        &chain,
        signed(grant_2.clone(), &[operator]),
        "bad-signature",
    );
    attempts.statement("an operator key that signs alone", &chain, signed(grant_2, &[operator_2]), "bad-signature");
    let again = statement(Action::Grant, Role::Ingest, &ring.ingest_a, &topics);
    attempts.statement("a key granted again", &chain, signed(again, &[operator]), "bad-key");
    let name = statement(Action::Grant, Role::Ingest, &key("ingest-a", Algorithm::Ed25519, 77), &["*"]);
    attempts.statement("a name granted again", &chain, signed(name, &[operator]), "bad-key");
    let public_key = statement(Action::Grant, Role::Ingest, &key("ingest-c", Algorithm::Ed25519, 3), &["*"]);
    attempts.statement("a public key granted again", &chain, signed(public_key, &[operator]), "bad-key");
    let cosigning = statement(Action::Grant, Role::Anchor, &key("anchor-2", Algorithm::Cosignature, 3), &[]);
    attempts.statement("a public key granted again to cosign", &chain, signed(cosigning, &[operator]), "bad-key");
    let unknown = statement(Action::Revoke, Role::Ingest, &ring.ingest_b, &["*"]);
    attempts.statement("a revocation of what was not granted", &chain, signed(unknown, &[operator]), "bad-key");
    let other_role = statement(Action::Revoke, Role::Log, &ring.ingest_a, &[]);
    attempts.statement("a revocation with another role", &chain, signed(other_role, &[operator]), "bad-key");
    let other_role = statement(Action::Revoke, Role::Operator, &ring.log, &[]);
    attempts.statement(
        "a revocation of the log key as an operator key",
        &chain,
        signed(other_role, &[operator]),
        "bad-key",
    );
    let other_topics = statement(Action::Revoke, Role::Ingest, &ring.ingest_a, &topics[..1]);
    attempts.statement("a revocation with other topics", &chain, signed(other_topics, &[operator]), "bad-key");
    let mut future = statement(Action::Revoke, Role::Ingest, &ring.ingest_a, &topics);
    future.distrust_from = Some(8);
    attempts.statement("distrust from a later seq", &chain, signed(future, &[operator]), "bad-key");
    let log_2 = statement(Action::Grant, Role::Log, &key("example.com/audit-2", Algorithm::Ed25519, 11), &[]);
    attempts.statement("a log key that is not named like the origin", &chain, signed(log_2, &[operator]), "bad-key");
    let named = statement(Action::Grant, Role::Ingest, &key(ORIGIN, Algorithm::Ed25519, 11), &["*"]);
    attempts.statement("an ingest key that is named like the log key", &chain, signed(named, &[operator]), "bad-key");
    let log_again = statement(Action::Grant, Role::Log, &ring.log, &[]);
    attempts.statement("the log key granted again", &chain, signed(log_again, &[operator]), "bad-key");
    let last = statement(Action::Revoke, Role::Operator, operator, &[]);
    attempts.statement("a revocation of the last operator key", &chain, signed(last, &[operator]), "bad-key");

    let chain = attempts.after(12);
    let again = chain.key_statement(Action::Revoke, Role::Ingest, ring.ingest_a.verifier_key(), &topics);
    attempts.statement("a second revocation", &chain, signed(again, &[operator_2]), "bad-key");
    let by_revoked = chain.key_statement(Action::Grant, Role::Ingest, ring.stranger.verifier_key(), &["*"]);
    attempts.statement("a grant by a revoked operator", &chain, signed(by_revoked, &[operator]), "revoked-key");
    let back = chain.key_statement(Action::Grant, Role::Operator, operator.verifier_key(), &[]);
    attempts.statement("a revoked key granted again", &chain, signed(back, &[operator, operator_2]), "bad-key");
}

/// Ranges that do not begin at the stream's cursor.
fn coverage(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let (orders, payments) = (stream("orders", 0, 0), stream("payments", 1, 0));
    let chain = attempts.after(6);
    let base = |stream: &StreamId| chain.batch(stream, &[3], 5, 0).summary;
    let signed = |summary: Summary| sign(Statement::Summary(summary), &[&ring.ingest_a]);
    let last = |offset| Some(LastEvent { offset, leaf: sha256(b"leaf") });
    let good = base(&orders);
    let overlap = Summary { first: 2, ..good.clone() };
    attempts.statement("an offset sealed again", &chain, signed(overlap), "wrong-cursor");
    let hole = Summary { first: 4, last: last(4), ..good.clone() };
    attempts.statement("an offset left out", &chain, signed(hole), "wrong-cursor");
    let new = base(&stream("orders", 9, 0));
    let late = Summary { first: 1, ..new.clone() };
    attempts.statement("a stream that does not begin at 0", &chain, signed(late), "wrong-cursor");
    let with_prev = Summary { prev: Some(sha256(b"nothing")), ..new.clone() };
    attempts.statement("a prev in a first statement", &chain, signed(with_prev), "wrong-prev");
    let mut epoch_1 = new;
    epoch_1.stream.epoch = 1;
    attempts.statement("a stream that begins in epoch 1", &chain, signed(epoch_1), "wrong-epoch");
    let no_prev = Summary { prev: None, ..good.clone() };
    attempts.statement("no prev in a later statement", &chain, signed(no_prev), "wrong-prev");
    let other = Summary { prev: chain.state.stream(&payments).map(|head| head.statement), ..good.clone() };
    attempts.statement("the previous statement of another stream", &chain, signed(other), "wrong-prev");
    let no_id = Summary { topic_id: None, ..good.clone() };
    attempts.statement("no topic id", &chain, signed(no_id), "wrong-topic-id");
    let other_id = Summary { topic_id: Some(ORDERS_ID_2.into()), ..good.clone() };
    attempts.statement("another topic id", &chain, signed(other_id), "wrong-topic-id");
    let mut next_epoch = good;
    next_epoch.stream.epoch = 1;
    attempts.statement("an epoch that has not begun", &chain, signed(next_epoch), "wrong-epoch");

    let chain = attempts.after(17);
    let closed = chain.batch(&orders, &[25], 26, 0).summary;
    let closed = sign(Statement::Summary(closed), &[&ring.ingest_b]);
    attempts.statement("an epoch that is closed", &chain, closed, "wrong-epoch");
    let mut early = chain.batch(&stream("orders", 0, 1), &[1], 2, 0).summary;
    early.first = 1;
    let early = sign(Statement::Summary(early), &[&ring.ingest_b]);
    attempts.statement("a range that does not begin where the epoch does", &chain, early, "wrong-cursor");
}

/// Gaps that their signer may not state.
fn gaps(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let payments = stream("payments", 1, 0);
    let chain = attempts.after(6);
    let gap = |reason, low, high| Statement::Gap(chain.gap(&payments, 160, reason, low, high));
    let by_a = [&ring.ingest_a];
    let readable = sign(gap(Reason::Retention, 159, 250), &by_a);
    attempts.statement("a gap over an offset that can be read", &chain, readable, "bad-gap");
    let readable = sign(gap(Reason::Start, 0, 250), &by_a);
    attempts.statement("a gap at the start over what can be read", &chain, readable, "bad-gap");
    for (name, by) in [("an ingest key", &ring.ingest_a), ("the operator", &ring.operator)] {
        let late = sign(gap(Reason::Start, 160, 250), &[by]);
        let name = format!("a gap at the start after the stream has begun, by {name}");
        attempts.statement(&name, &chain, late, "bad-gap");
    }
    let lost = sign(gap(Reason::Truncated, 160, 160), &by_a);
    attempts.statement("what the broker lost, by an ingest key", &chain, lost, "bad-gap");
    let decided = sign(gap(Reason::Operator, 160, 250), &by_a);
    attempts.statement("the operator's decision, by an ingest key", &chain, decided, "bad-gap");
    let both = sign(gap(Reason::Operator, 160, 250), &[&ring.operator, &ring.ingest_a]);
    attempts.statement("the operator's decision, signed by an ingest key too", &chain, both, "bad-gap");
    let by_log = sign(gap(Reason::Retention, 160, 250), &[&ring.log]);
    attempts.statement("a gap by the log", &chain, by_log, "wrong-role");
    let elsewhere = chain.gap(&stream("refunds", 0, 0), 5, Reason::Start, 5, 9);
    let elsewhere = sign(Statement::Gap(elsewhere), &by_a);
    attempts.statement("a gap in a topic out of scope", &chain, elsewhere, "out-of-scope");
    let mut shifted = chain.gap(&payments, 160, Reason::Operator, 100, 250);
    shifted.first = 151;
    let shifted = sign(Statement::Gap(shifted), &[&ring.operator]);
    attempts.statement("a gap that does not begin at the cursor", &chain, shifted, "wrong-cursor");
}

/// Epochs that do not follow from the stream's state.
fn epochs(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let orders = stream("orders", 0, 0);
    let chain = attempts.after(16);
    let good = chain.epoch(&orders, 0);
    let signed = |epoch: Epoch, by: &SigningKey| sign(Statement::Epoch(epoch), &[by]);
    let by = &ring.operator_2;
    attempts.statement("an epoch by an ingest key", &chain, signed(good.clone(), &ring.ingest_b), "wrong-role");
    attempts.statement("an epoch by a revoked operator", &chain, signed(good.clone(), &ring.operator), "revoked-key");
    let skipped = Epoch { stream: stream("orders", 0, 2), ..good.clone() };
    attempts.statement("an epoch left out", &chain, signed(skipped, by), "wrong-epoch");
    for (name, old_next) in [("an earlier", 24), ("a later", 26)] {
        let other_end = Epoch { old_next, ..good.clone() };
        attempts.statement(&format!("{name} end of the old stream"), &chain, signed(other_end, by), "wrong-cursor");
    }
    let other_prev = Epoch { prev: sha256(b"another"), ..good.clone() };
    attempts.statement("another last statement", &chain, signed(other_prev, by), "wrong-prev");
    let other_id = Epoch { old_topic_id: None, ..good.clone() };
    attempts.statement("another topic id of the old stream", &chain, signed(other_id, by), "wrong-topic-id");
    let later = Epoch { start: 1, ..good.clone() };
    attempts.statement("an epoch of another topic that does not begin at 0", &chain, signed(later, by), "bad-epoch");
    let skips = Epoch { topic_id: good.old_topic_id.clone(), start: 26, ..good.clone() };
    attempts.statement("an epoch that leaves an offset out", &chain, signed(skips, by), "bad-epoch");
    let unsealed = Epoch { stream: stream("orders", 9, 1), ..good };
    attempts.statement("an epoch of what was never sealed", &chain, signed(unsealed, by), "wrong-epoch");
    let chain = attempts.after(17);
    let repeated = attempts.chain.entries[16].statement.clone();
    attempts.statement("an epoch again", &chain, repeated, "wrong-epoch");
}

/// Heads that are not those of the streams.
fn heads(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let chain = attempts.after(6);
    let good = chain.heads();
    let signed = |heads: Heads, by: &SigningKey| sign(Statement::Heads(heads), &[by]);
    let fewer = Heads { streams: 1, ..good.clone() };
    attempts.statement("another number of streams", &chain, signed(fewer, &ring.log), "bad-heads");
    let other = Heads { root: sha256(b"another"), ..good.clone() };
    attempts.statement("another root", &chain, signed(other, &ring.log), "bad-heads");
    attempts.statement("heads by the operator", &chain, signed(good.clone(), &ring.operator), "wrong-role");
    let chain = attempts.after(7);
    attempts.statement("heads again, when nothing moved", &chain, signed(good, &ring.log), "bad-heads");
}

/// An entry that breaks two rules is refused by the first.
fn order(attempts: &mut Attempts<'_>) {
    let ring = KeyRing::new();
    let (orders, new) = (stream("orders", 0, 0), stream("orders", 9, 0));
    let other = sha256(b"another");
    let chain = attempts.after(6);
    let good = chain.batch(&orders, &[3], 5, 0).summary;
    let begins = chain.batch(&new, &[3], 5, 0).summary;
    let next_epoch = |stream: &StreamId| stream.partition.stream(1);
    for (name, summary, code) in [
        (
            "an epoch that has not begun, and no topic id",
            Summary { stream: next_epoch(&orders), topic_id: None, ..good.clone() },
            "wrong-epoch",
        ),
        (
            "no topic id, and an offset sealed again",
            Summary { topic_id: None, first: 2, ..good.clone() },
            "wrong-topic-id",
        ),
        ("an offset sealed again, and no prev", Summary { first: 2, prev: None, ..good.clone() }, "wrong-cursor"),
        (
            "a stream that begins in epoch 1 and not at 0",
            Summary { stream: next_epoch(&new), first: 1, ..begins.clone() },
            "wrong-epoch",
        ),
        (
            "a stream that does not begin at 0, and a prev",
            Summary { first: 1, prev: Some(other), ..begins.clone() },
            "wrong-cursor",
        ),
    ] {
        attempts.statement(name, &chain, sign(Statement::Summary(summary), &[&ring.ingest_a]), code);
    }
    let late = |low| chain.gap(&orders, 5, Reason::Start, low, 9);
    let gap = Gap { prev: Some(other), ..late(5) };
    let gap = sign(Statement::Gap(gap), &[&ring.ingest_a]);
    attempts.statement("a gap at the start after the stream has begun, and another prev", &chain, gap, "wrong-prev");
    let gap = sign(Statement::Gap(Gap { first: 2, ..late(4) }), &[&ring.ingest_a]);
    attempts.statement("a gap over an offset that can be read, and that is sealed", &chain, gap, "bad-gap");

    let chain = attempts.after(16);
    let good = chain.epoch(&orders, 0);
    for (name, epoch, code) in [
        (
            "an epoch that does not begin at 0, of what was never sealed",
            Epoch { stream: next_epoch(&new), start: 1, ..good.clone() },
            "bad-epoch",
        ),
        (
            "an epoch left out, and another topic id of the old stream",
            Epoch { stream: orders.partition.stream(2), old_topic_id: None, ..good.clone() },
            "wrong-epoch",
        ),
        (
            "another topic id and another end of the old stream",
            Epoch { old_topic_id: None, old_next: 24, ..good.clone() },
            "wrong-topic-id",
        ),
        (
            "another end of the old stream, and another last statement",
            Epoch { old_next: 24, prev: other, ..good.clone() },
            "wrong-cursor",
        ),
    ] {
        attempts.statement(name, &chain, sign(Statement::Epoch(epoch), &[&ring.operator_2]), code);
    }
}
