//! A short valid chain with the state after each entry, and entries that it refuses.

mod branches;
mod partial;
mod refused;
pub(crate) mod worked;

use evidence::chain::{GrantedKey, State, StreamState};
use evidence::statement::{
    Action, Epoch, Gap, Heads, HeadsLine, KeyStatement, LastEvent, Reason, Role, Summary, heads_root,
};
use evidence::tree::CompactRange;
use evidence::{
    Entry, EventRef, LeafHasher, SignedStatement, SigningKey, Statement, StreamId, TimestampType, VerifierKey, batch,
};
use serde::Serialize;

use crate::fixture::{KeyRing, ORIGIN, genesis, stream};
use crate::form::{Hex, Text, texts};

#[derive(Serialize)]
pub(crate) struct Vectors {
    origin: &'static str,
    genesis: Text,
    entries: Vec<Applied>,
    refused: Vec<RefusedEntry>,
    partial: Vec<Partial>,
    branches: Vec<Branch>,
}

/// An entry and the state after it.
#[derive(Serialize)]
struct Applied {
    name: &'static str,
    entry: String,
    leaf_hash: Text,
    statement_hash: Text,
    /// The root of the tree that ends with this entry.
    tree_root: Text,
    /// The leaf index of a summary's batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf_index: Option<Hex>,
    state: StateView,
}

#[derive(Serialize)]
struct StateView {
    next_seq: Text,
    head: Option<Text>,
    time: Text,
    newest_key_entry: Option<Text>,
    key_statement: Option<Text>,
    keys: Vec<KeyView>,
    streams: Vec<StreamView>,
    /// The heads statement that would be true now.
    heads_lines: Vec<Text>,
    heads_root: Text,
}

#[derive(Serialize)]
struct KeyView {
    vkey: Text,
    role: Text,
    topics: Vec<Text>,
    granted: Text,
    revoked: Option<Text>,
    distrust_from: Option<Text>,
}

#[derive(Serialize)]
struct StreamView {
    cluster: String,
    topic: String,
    partition: Text,
    epoch: Text,
    topic_id: Option<String>,
    start: Text,
    next: Text,
    statement: Text,
    seq: Text,
    last_offset: Option<Text>,
    last_leaf: Option<Text>,
}

/// An entry that is refused after the given number of entries of the chain.
#[derive(Serialize)]
struct RefusedEntry {
    name: String,
    /// The origin from which the state begins, where it is not the chain's.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    after: Text,
    entry: String,
    code: &'static str,
}

/// Entries of which some are missing: each is applied after skipping to its seq.
#[derive(Serialize)]
struct Partial {
    name: &'static str,
    applied: Vec<Text>,
    /// An entry of the same ledger that is not in the chain, applied last, after skipping to its seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    /// The reason why the last one is refused; none when it is not.
    code: Option<&'static str>,
}

/// Another continuation of the chain, after the given number of entries.
#[derive(Serialize)]
struct Branch {
    name: &'static str,
    after: Text,
    entries: Vec<String>,
    /// The reason why the last one is refused; none when it is not.
    code: Option<&'static str>,
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.to_bytes()).expect("an entry is text")
}

/// The chain as it grows.
struct Chain {
    ring: KeyRing,
    state: State,
    tree: CompactRange,
    entries: Vec<Entry>,
    applied: Vec<Applied>,
    /// Milliseconds since 1970, as the committer's clock has it.
    now: i64,
}

const ORDERS_ID: &str = "Vv9zQ2DpTHmzrS6l7p3dVw";
const ORDERS_ID_2: &str = "4nUo0oqXQ1SyhGzI2zbCyQ";

fn topic_id(stream: &StreamId) -> Option<String> {
    let id = match (stream.partition.topic.as_str(), stream.epoch) {
        ("orders", 0) => ORDERS_ID,
        ("orders", _) => ORDERS_ID_2,
        _ => return None,
    };
    Some(id.to_owned())
}

/// A batch of events at these offsets, each with its offset as value, and timestamps around `time`.
struct Batch {
    leaf_index: Vec<u8>,
    summary: Summary,
}

impl Chain {
    fn new() -> Self {
        let ring = KeyRing::new();
        let state = State::new(ORIGIN, genesis(&ring).hash());
        let tree = CompactRange::starting_at(0);
        Self { ring, state, tree, entries: Vec::new(), applied: Vec::new(), now: 1_732_180_000_000 }
    }

    /// The chain after the given number of entries.
    fn after(&self, count: usize) -> Self {
        let mut chain = Self::new();
        for entry in &self.entries[..count] {
            chain.state.apply(entry).expect("applied before");
        }
        chain.now = chain.state.time();
        chain
    }

    fn append(&mut self, name: &'static str, statement: SignedStatement) {
        self.append_batch(name, statement, None);
    }

    fn append_batch(&mut self, name: &'static str, statement: SignedStatement, leaf_index: Option<Vec<u8>>) {
        let entry = self.state.draft(statement, self.now);
        self.state.apply(&entry).unwrap_or_else(|e| panic!("{name}: {e}"));
        self.tree.push_leaf(entry.leaf_hash());
        self.applied.push(Applied {
            name,
            entry: text(&entry),
            leaf_hash: entry.leaf_hash().into(),
            statement_hash: entry.statement.hash().into(),
            tree_root: self.tree.root().into(),
            leaf_index: leaf_index.map(Hex),
            state: view(&self.state),
        });
        self.entries.push(entry);
        self.now += 1000;
    }

    fn key_statement(&self, action: Action, role: Role, key: &VerifierKey, topics: &[&str]) -> KeyStatement {
        KeyStatement {
            ledger: self.state.ledger().clone(),
            action,
            role,
            key: key.clone(),
            topics: topics.iter().map(|topic| topic.parse().expect("a pattern")).collect(),
            distrust_from: None,
            prev: self.state.keys().statement().expect("after the genesis"),
        }
    }

    /// A summary at the cursor of `stream`, of events at `offsets`, that moves it to `next`.
    fn batch(&self, stream: &StreamId, offsets: &[i64], next: u64, time: i64) -> Batch {
        let values: Vec<String> = offsets.iter().map(|offset| format!("event {offset}")).collect();
        let mut hasher = LeafHasher::new();
        for ((offset, value), step) in offsets.iter().zip(&values).zip([2, 0, 1].into_iter().cycle()) {
            hasher.push(&EventRef {
                offset: *offset,
                timestamp: time + step,
                timestamp_type: TimestampType::Create,
                key: (offset % 2 == 0).then_some(b"key"),
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        let drained = hasher.drain();
        let times = || (0..offsets.len()).map(|i| time + [2, 0, 1][i % 3]);
        let head = self.state.stream(stream);
        let last = offsets.last().zip(drained.leaves.last());
        let summary = Summary {
            ledger: self.state.ledger().clone(),
            stream: stream.clone(),
            topic_id: topic_id(stream),
            first: head.map_or(0, |head| head.next),
            next,
            events: offsets.len() as u64,
            bytes: drained.content_bytes,
            time: times().min().zip(times().max()),
            root: batch::root(drained.leaves),
            last: last.map(|(offset, leaf)| LastEvent { offset: *offset as u64, leaf: *leaf }),
            prev: head.map(|head| head.statement),
        };
        Batch { leaf_index: drained.index.as_flattened().to_vec(), summary }
    }

    fn gap(&self, stream: &StreamId, next: u64, reason: Reason, low: u64, high: u64) -> Gap {
        let Summary { ledger, stream, topic_id, first, prev, .. } = self.batch(stream, &[], next, 0).summary;
        Gap { ledger, stream, topic_id, first, next, reason, low, high, prev }
    }

    fn epoch(&self, old: &StreamId, start: u64) -> Epoch {
        let head = self.state.stream(old).expect("a sealed stream");
        let stream = old.partition.stream(old.epoch + 1);
        Epoch {
            ledger: self.state.ledger().clone(),
            topic_id: topic_id(&stream),
            stream,
            old_topic_id: head.topic_id.clone(),
            old_next: head.next,
            start,
            prev: head.statement,
        }
    }

    fn heads(&self) -> Heads {
        self.state.draft_heads().expect("something moved")
    }
}

fn view(state: &State) -> StateView {
    let mut heads: Vec<&StreamState> = state.streams().iter().collect();
    heads.sort_by_key(|head| &head.id);
    let mut lines: Vec<HeadsLine> = state.streams().lines().collect();
    let heads_root = heads_root(lines.clone()).into();
    lines.sort_by_cached_key(ToString::to_string);
    StateView {
        next_seq: state.next_seq().into(),
        head: state.last_leaf().map(Text::from),
        time: state.time().into(),
        newest_key_entry: state.keys().newest().map(|(seq, leaf)| format!("{seq} {leaf}").into()),
        key_statement: state.keys().statement().map(Text::from),
        keys: state.keys().granted().iter().map(key_view).collect(),
        streams: heads.into_iter().map(stream_view).collect(),
        heads_lines: texts(lines),
        heads_root,
    }
}

fn key_view(granted: &GrantedKey) -> KeyView {
    KeyView {
        vkey: (&granted.key).into(),
        role: granted.role.into(),
        topics: texts(&granted.topics),
        granted: granted.granted.into(),
        revoked: granted.revoked.map(|revoked| revoked.seq.into()),
        distrust_from: granted.revoked.and_then(|revoked| revoked.distrust_from).map(Text::from),
    }
}

fn stream_view(head: &StreamState) -> StreamView {
    StreamView {
        cluster: head.id.partition.cluster.clone(),
        topic: head.id.partition.topic.clone(),
        partition: head.id.partition.number.into(),
        epoch: head.id.epoch.into(),
        topic_id: head.topic_id.clone(),
        start: head.start.into(),
        next: head.next.into(),
        statement: head.statement.into(),
        seq: head.seq.into(),
        last_offset: head.last.map(|last| last.offset.into()),
        last_leaf: head.last.map(|last| last.leaf.into()),
    }
}

fn sign(statement: Statement, keys: &[&SigningKey]) -> SignedStatement {
    SignedStatement::sign(statement, keys)
}

/// The chain, entry by entry.
fn grown() -> Chain {
    let mut chain = Chain::new();
    let ring = KeyRing::new();
    let (operator, operator_2, log) = (&ring.operator, &ring.operator_2, &ring.log);
    let (ingest_a, ingest_b) = (&ring.ingest_a, &ring.ingest_b);
    let (orders, payments) = (stream("orders", 0, 0), stream("payments", 1, 0));
    let grant = |chain: &Chain, role, key: &SigningKey, topics: &[&str], by: &[&SigningKey]| {
        sign(Statement::Key(chain.key_statement(Action::Grant, role, key.verifier_key(), topics)), by)
    };
    let seal = |chain: &mut Chain, name, stream: &StreamId, offsets: &[i64], next, time, by: &SigningKey| {
        let Batch { leaf_index, summary } = chain.batch(stream, offsets, next, time);
        chain.append_batch(name, sign(Statement::Summary(summary), &[by]), Some(leaf_index));
    };

    let statement = genesis(&ring);
    chain.append("genesis", statement);
    let statement = grant(&chain, Role::Ingest, ingest_a, &["orders*", "payments"], &[operator]);
    chain.append("grant of an ingest key", statement);
    let statement = grant(&chain, Role::Anchor, &ring.anchor, &[], &[operator]);
    chain.append("grant of the anchor key", statement);
    seal(&mut chain, "the first batch of a stream", &orders, &[0, 1, 2], 3, 1_732_180_000_500, ingest_a);
    let gap = chain.gap(&payments, 100, Reason::Start, 100, 250);
    chain.append("what was gone when sealing began", sign(Statement::Gap(gap), &[ingest_a]));
    seal(&mut chain, "offsets without events, early timestamps", &payments, &[100, 103, 149], 150, -1, ingest_a);
    let heads = chain.heads();
    chain.append("heads", sign(Statement::Heads(heads), &[log]));
    let statement = grant(&chain, Role::Operator, operator_2, &[], &[operator, operator_2]);
    chain.append("grant of a second operator key", statement);
    let revoke = chain.key_statement(Action::Revoke, Role::Operator, operator.verifier_key(), &[]);
    chain.append("revocation of the first operator key", sign(Statement::Key(revoke), &[operator_2]));
    chain.now -= 10_000;
    seal(&mut chain, "a transaction marker only, while the clock runs behind", &orders, &[], 4, 0, ingest_a);
    chain.now += 10_000;
    let statement = grant(&chain, Role::Ingest, ingest_b, &["*"], &[operator_2]);
    chain.append("grant of another ingest key", statement);
    let mut revoke =
        chain.key_statement(Action::Revoke, Role::Ingest, ingest_a.verifier_key(), &["orders*", "payments"]);
    revoke.distrust_from = Some(9);
    chain.append("revocation with distrust from an earlier seq", sign(Statement::Key(revoke), &[operator_2]));
    seal(&mut chain, "a batch by the other key", &orders, &[4, 5, 6, 7], 8, 1_732_180_009_000, ingest_b);
    let gap = chain.gap(&payments, 160, Reason::Operator, 100, 250);
    chain.append("a gap over what can be read", sign(Statement::Gap(gap), &[operator_2]));
    let gap = chain.gap(&orders, 20, Reason::Retention, 20, 25);
    chain.append("what was removed before it was sealed", sign(Statement::Gap(gap), &[ingest_b]));
    let gap = chain.gap(&orders, 25, Reason::Truncated, 5, 5);
    chain.append("what the broker lost", sign(Statement::Gap(gap), &[operator_2]));
    let epoch = chain.epoch(&orders, 0);
    chain.append("a recreated topic", sign(Statement::Epoch(epoch), &[operator_2]));
    seal(&mut chain, "the first batch of the new epoch", &stream("orders", 0, 1), &[0, 3], 5, i64::MAX - 2, ingest_b);
    let Batch { leaf_index, summary } = chain.batch(&payments, &[160], 161, i64::MIN);
    let earliest = sign(Statement::Summary(summary), &[ingest_b]);
    chain.append_batch("the earliest timestamp", earliest, Some(leaf_index));
    let heads = chain.heads();
    chain.append("heads with a closed epoch", sign(Statement::Heads(heads), &[log]));
    chain
}

pub(crate) fn vectors() -> Vectors {
    let chain = grown();
    let refused = refused::refused(&chain);
    let partial = partial::partial(&chain);
    let branches = branches::branches(&chain);
    let genesis = chain.state.ledger().genesis.into();
    Vectors { origin: ORIGIN, genesis, entries: chain.applied, refused, partial, branches }
}
