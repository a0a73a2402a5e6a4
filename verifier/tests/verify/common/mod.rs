//! Makes ledgers in memory, and bundles, clones and trust files of them.

pub(crate) mod bundles;
pub(crate) mod clones;

use std::collections::BTreeMap;

use evidence::chain::{Role, State};
use evidence::statement::{
    Action, Epoch, Gap, Genesis, HeadsLine, KeyStatement, LastEvent, Reason, SignedStatement, Statement, Summary,
};
use evidence::tree::{self, CompactRange, Node};
use evidence::{
    Algorithm, Checkpoint, Entry, EventRef, Hash, HeaderRef, LeafPreimage, Partition, SignedCheckpoint, SigningKey,
    StreamId, TimestampType, VerifierKey, batch, sha256,
};

pub(crate) const ORIGIN: &str = "example.com/audit";

/// The time of the first anchor in the tests, in seconds since 1970.
pub(crate) const T0: u64 = 1_800_000_000;

pub(crate) fn key(name: &str, algorithm: Algorithm, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a valid name")
}

pub(crate) fn stream(topic: &str, number: u32, epoch: u64) -> StreamId {
    Partition { cluster: "-".into(), topic: topic.into(), number }.stream(epoch)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) content: Vec<u8>,
}

impl Event {
    pub(crate) fn new(offset: u64, value: &[u8]) -> Self {
        let headers = [HeaderRef { name: b"source", value: Some(b"test") }];
        let event = EventRef {
            offset: offset as i64,
            timestamp: 1_799_999_000_000 + offset as i64,
            timestamp_type: TimestampType::Create,
            key: Some(b"key"),
            value: Some(value),
            headers: &headers,
        };
        let mut content = Vec::new();
        event.encode_content(&mut content);
        Self { offset: event.offset, timestamp: event.timestamp, content }
    }

    pub(crate) fn preimage(&self) -> LeafPreimage {
        LeafPreimage {
            offset: self.offset,
            timestamp: self.timestamp,
            timestamp_type: TimestampType::Create,
            content: evidence::content_hash(&self.content),
        }
    }
}

/// A batch as the operator knows it.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) events: Vec<Event>,
}

/// A ledger with all its keys.
pub(crate) struct Ledger {
    pub(crate) operator: SigningKey,
    pub(crate) log: SigningKey,
    pub(crate) ingest: SigningKey,
    pub(crate) anchor: SigningKey,
    pub(crate) state: State,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) batches: BTreeMap<StreamId, Vec<Batch>>,
    /// The heads lines behind each heads entry.
    pub(crate) heads: BTreeMap<u64, Vec<HeadsLine>>,
}

impl Ledger {
    /// Genesis and two grants: entries 0 to 2.
    pub(crate) fn new() -> Self {
        Self::with_nonce(b"nonce")
    }

    pub(crate) fn with_nonce(nonce: &[u8]) -> Self {
        let operator = key("operator", Algorithm::Ed25519, 1);
        let log = key(ORIGIN, Algorithm::Ed25519, 2);
        let genesis = Statement::Genesis(Genesis {
            origin: ORIGIN.into(),
            nonce: sha256(nonce),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        });
        let genesis = SignedStatement::sign(genesis, &[&operator, &log]);
        let mut ledger = Self {
            operator,
            log,
            ingest: key("ingest-a", Algorithm::Ed25519, 3),
            anchor: key("anchor-a", Algorithm::Cosignature, 4),
            state: State::new(ORIGIN, genesis.hash()),
            entries: Vec::new(),
            batches: BTreeMap::new(),
            heads: BTreeMap::new(),
        };
        ledger.append(genesis);
        ledger.grant(Role::Ingest, ledger.ingest.verifier_key().clone());
        ledger.grant(Role::Anchor, ledger.anchor.verifier_key().clone());
        ledger
    }

    pub(crate) fn genesis(&self) -> Hash {
        self.state.ledger().genesis
    }

    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Appends a statement that the chain's rules allow.
    pub(crate) fn append(&mut self, statement: SignedStatement) -> u64 {
        let entry = self.state.draft(statement, 1_799_999_000_000);
        self.state.apply(&entry).expect("a valid statement");
        self.entries.push(entry.to_bytes());
        entry.seq
    }

    /// Appends a statement that only a dishonest log accepts.
    pub(crate) fn force(&mut self, statement: SignedStatement) -> u64 {
        let mut entry = self.state.draft(statement, 1_799_999_000_000);
        entry.seq = self.size();
        entry.prev = self.entries.last().map(|entry| tree::leaf_hash(entry));
        self.entries.push(entry.to_bytes());
        entry.seq
    }

    pub(crate) fn key_statement(
        &self,
        action: Action,
        role: Role,
        key: VerifierKey,
        distrust_from: Option<u64>,
    ) -> Statement {
        Statement::Key(KeyStatement {
            ledger: self.state.ledger().clone(),
            action,
            role,
            key,
            topics: if role == Role::Ingest { vec!["*".parse().expect("a pattern")] } else { Vec::new() },
            distrust_from,
            prev: self.state.keys().statement().expect("after the genesis"),
        })
    }

    pub(crate) fn grant(&mut self, role: Role, key: VerifierKey) -> u64 {
        let statement = self.key_statement(Action::Grant, role, key, None);
        self.append(SignedStatement::sign(statement, &[&self.operator]))
    }

    pub(crate) fn revoke(&mut self, role: Role, key: VerifierKey, distrust_from: Option<u64>) -> u64 {
        let statement = self.key_statement(Action::Revoke, role, key, distrust_from);
        self.append(SignedStatement::sign(statement, &[&self.operator]))
    }

    /// The summary of a batch that covers `range` with these events, next in its stream.
    pub(crate) fn summary(&self, stream: &StreamId, range: std::ops::Range<u64>, events: &[Event]) -> Summary {
        let head = self.state.stream(stream);
        let preimages: Vec<LeafPreimage> = events.iter().map(Event::preimage).collect();
        let leaves: Vec<Hash> = preimages.iter().map(LeafPreimage::leaf).collect();
        let times = || events.iter().map(|event| event.timestamp);
        Summary {
            ledger: self.state.ledger().clone(),
            stream: stream.clone(),
            topic_id: head.and_then(|head| head.topic_id.clone()),
            first: range.start,
            next: range.end,
            events: events.len() as u64,
            bytes: events.iter().map(|event| event.content.len() as u64).sum(),
            time: times().min().zip(times().max()),
            root: batch::root(&leaves),
            last: preimages
                .last()
                .zip(leaves.last())
                .map(|(preimage, leaf)| LastEvent { offset: preimage.offset as u64, leaf: *leaf }),
            prev: head.map(|head| head.statement),
        }
    }

    /// Seals events under a range of offsets.
    pub(crate) fn seal_events(&mut self, stream: &StreamId, range: std::ops::Range<u64>, events: Vec<Event>) -> u64 {
        let summary = self.summary(stream, range, &events);
        let seq = self.append(SignedStatement::sign(Statement::Summary(summary), &[&self.ingest]));
        self.batches.entry(stream.clone()).or_default().push(Batch { seq, events });
        seq
    }

    /// Seals the next `count` offsets of a stream, each with an event.
    pub(crate) fn seal(&mut self, stream: &StreamId, count: u64) -> u64 {
        let first = self.state.stream(stream).map_or(0, |head| head.next);
        let events = (first..first + count).map(|o| Event::new(o, format!("value {o}").as_bytes())).collect();
        self.seal_events(stream, first..first + count, events)
    }

    /// Declares the next `count` offsets of a stream a gap.
    pub(crate) fn gap(&mut self, stream: &StreamId, count: u64, reason: Reason) -> u64 {
        let summary = self.summary(stream, 0..1, &[]);
        let first = self.state.stream(stream).map_or(0, |head| head.next);
        let (next, low, high) = (first + count, first + count, first + count);
        let Summary { ledger, stream, topic_id, prev, .. } = summary;
        let gap = Gap { ledger, stream, topic_id, first, next, reason, low, high, prev };
        self.append(SignedStatement::sign(Statement::Gap(gap), &[&self.operator]))
    }

    /// Begins the next epoch of a stream's partition at an offset.
    pub(crate) fn epoch(&mut self, stream: &StreamId, start: u64) -> StreamId {
        let head = self.state.stream(stream).expect("a sealed stream");
        let new = stream.partition.stream(stream.epoch + 1);
        let epoch = Epoch {
            ledger: self.state.ledger().clone(),
            stream: new.clone(),
            topic_id: if start == 0 { Some(format!("id-{}", new.epoch)) } else { head.topic_id.clone() },
            old_topic_id: head.topic_id.clone(),
            old_next: head.next,
            start,
            prev: head.statement,
        };
        self.append(SignedStatement::sign(Statement::Epoch(epoch), &[&self.operator]));
        new
    }

    pub(crate) fn heads(&mut self) -> u64 {
        let heads = self.state.draft_heads().expect("something moved");
        let mut lines: Vec<HeadsLine> = self.state.streams().lines().collect();
        lines.sort_by_key(ToString::to_string);
        let seq = self.append(SignedStatement::sign(Statement::Heads(heads), &[&self.log]));
        self.heads.insert(seq, lines);
        seq
    }

    /// A true heads entry, after forced entries that the state refused.
    pub(crate) fn heads_after_force(&mut self) {
        let mut lines: Vec<HeadsLine> = self.state.streams().lines().collect();
        lines.sort_by_key(ToString::to_string);
        let heads = self.state.draft_heads().expect("something moved");
        let seq = self.force(SignedStatement::sign(Statement::Heads(heads), &[&self.log]));
        self.heads.insert(seq, lines);
    }

    /// A heads entry when no stream moved, after a batch without events.
    pub(crate) fn heads_again(&mut self) -> u64 {
        let other = key("ingest-z", Algorithm::Ed25519, 90);
        self.grant(Role::Ingest, other.verifier_key().clone());
        self.ingest = other;
        self.seal_events(&stream("orders", 0, 0), 30..31, Vec::new());
        self.heads()
    }

    pub(crate) fn entry(&self, seq: u64) -> Entry {
        Entry::parse(&self.entries[seq as usize]).expect("own entry")
    }

    pub(crate) fn node(&self, node: Node) -> Hash {
        let mut range = CompactRange::starting_at(node.range().start);
        node.range().for_each(|seq| range.push_leaf(tree::leaf_hash(&self.entries[seq as usize])));
        range.nodes()[0].1
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        let mut range = CompactRange::starting_at(0);
        self.entries[..size as usize].iter().for_each(|entry| range.push_leaf(tree::leaf_hash(entry)));
        range.root()
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        let groups = tree::consistency_nodes(old, new).expect("old before new");
        let fold = |group: Vec<Node>| {
            let hashes: Vec<Hash> = group.into_iter().map(|node| self.node(node)).collect();
            hashes.into_iter().rev().reduce(|right, left| tree::node_hash(&left, &right)).expect("a group has nodes")
        };
        groups.into_iter().map(fold).collect()
    }

    /// The checkpoint of a size, signed by the log alone.
    pub(crate) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: self.root(size) };
        SignedCheckpoint::sign(checkpoint, &self.log)
    }

    /// The checkpoint of a size, cosigned by the anchor.
    pub(crate) fn cosigned(&self, size: u64, time_s: u64) -> SignedCheckpoint {
        let mut signed = self.checkpoint(size);
        signed.cosign(&self.anchor, time_s);
        signed
    }

    /// The trust file that `streamseal init` writes: the anchor is the one witness.
    pub(crate) fn trust(&self) -> String {
        self.trust_with(&self.anchor, "86400")
    }

    pub(crate) fn trust_with(&self, witness: &SigningKey, max_anchor_age: &str) -> String {
        let witness = witness.verifier_key();
        format!(
            "streamseal/trust@v1\norigin {ORIGIN}\ngenesis {}\nmax-anchor-age {max_anchor_age}\n\n\
             log {}\nwitness {name} {witness}\nquorum {name}\n",
            self.genesis(),
            self.log.verifier_key(),
            name = witness.name(),
        )
    }

    /// A ledger with three streams, an epoch, a heads entry and a tail: 16 entries.
    ///
    /// | seq | what |
    /// |---|---|
    /// | 0 to 2 | genesis, grants of ingest-a and anchor-a |
    /// | 3 | orders/0, offsets 0 to 9 |
    /// | 4 | orders/1, offsets 0 to 4 |
    /// | 5 | orders/0, offsets 10 to 19, of which 12 and 19 have no event |
    /// | 6 | payments/0, offsets 0 to 7 |
    /// | 7 | orders/0, offsets 20 and 21, without an event |
    /// | 8 | orders/1 begins epoch 1 at 0 |
    /// | 9 | orders/1 epoch 1, offsets 0 to 2 |
    /// | 10 | orders/0, offsets 22 to 29 |
    /// | 11 | heads |
    pub(crate) fn example() -> Self {
        let mut ledger = Self::new();
        let (orders0, orders1, payments0) = (stream("orders", 0, 0), stream("orders", 1, 0), stream("payments", 0, 0));
        ledger.seal(&orders0, 10);
        ledger.seal(&orders1, 5);
        let events = (10..20).filter(|o| ![12, 19].contains(o)).map(|o| Event::new(o, b"with holes")).collect();
        ledger.seal_events(&orders0, 10..20, events);
        ledger.seal(&payments0, 8);
        ledger.seal_events(&orders0, 20..22, Vec::new());
        let orders1 = ledger.epoch(&orders1, 0);
        ledger.seal(&orders1, 3);
        ledger.seal(&orders0, 8);
        ledger.heads();
        ledger
    }
}
