//! The single operations that decide the speed of the line and the verifier: `cargo bench -p bench`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use evidence::chain::State;
use evidence::statement::{Action, Genesis, KeyStatement, LastEvent, LedgerId, Role, Summary};
use evidence::tree::{CompactRange, inclusion_nodes, verify_inclusion};
use evidence::{
    Algorithm, Entry, EventRef, Hash, LeafHasher, Note, Partition, SignedStatement, SigningKey, Statement,
    TimestampType, batch, sha256,
};

/// Events of a batch whose proofs have 12 hashes.
const BATCH: usize = 4096;

/// Entries of a chain whose proofs have 20 hashes.
const ENTRIES: u64 = 1 << 20;

fn leaves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("leaves of a batch");
    for size in [64, 256, 1024, 10 * 1024] {
        let value = vec![7; size];
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut hasher = LeafHasher::new();
            bencher.iter(|| {
                for offset in 0..BATCH as i64 {
                    hasher.push(&EventRef {
                        offset,
                        timestamp: offset,
                        timestamp_type: TimestampType::Create,
                        key: None,
                        value: Some(&value),
                        headers: &[],
                    });
                }
                black_box(hasher.drain().leaves.len())
            });
        });
    }
}

fn batch_tree(criterion: &mut Criterion) {
    let leaves: Vec<Hash> = (0..BATCH as u64).map(|i| sha256(&i.to_be_bytes())).collect();
    let mut group = criterion.benchmark_group("batch tree");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("root", |bencher| bencher.iter(|| batch::root(black_box(&leaves))));
    group.throughput(Throughput::Elements(1));
    let (root, path) = (batch::root(&leaves), batch::prove(&leaves, 1234));
    group.bench_function("verify a path", |bencher| {
        bencher.iter(|| batch::verify(black_box(&leaves[1234]), 1234, BATCH as u64, &path, &root).expect("proven"));
    });
}

/// A chain with its keys, and summaries signed for one stream.
struct Chain {
    state: State,
    ingest: SigningKey,
}

impl Chain {
    fn new() -> Self {
        let key = |name, seed| SigningKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).expect("a name");
        let (operator, log, ingest) = (key("operator", 1), key("example.com/bench", 2), key("ingest-a", 3));
        let genesis = Genesis {
            origin: "example.com/bench".into(),
            nonce: sha256(b"nonce"),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        };
        let genesis = SignedStatement::sign(Statement::Genesis(genesis), &[&operator, &log]);
        let ledger = LedgerId { origin: "example.com/bench".into(), genesis: genesis.hash() };
        let grant = KeyStatement {
            ledger: ledger.clone(),
            action: Action::Grant,
            role: Role::Ingest,
            key: ingest.verifier_key().clone(),
            topics: vec!["*".parse().expect("a pattern")],
            distrust_from: None,
            prev: genesis.hash(),
        };
        let grant = SignedStatement::sign(Statement::Key(grant), &[&operator]);
        let mut state = State::new(&ledger.origin, ledger.genesis);
        for statement in [genesis, grant] {
            let entry = state.draft(statement, 0);
            state.apply(&entry).expect("a valid chain");
        }
        Self { state, ingest }
    }

    /// The entry of the stream's next batch.
    fn next(&self) -> Entry {
        let partition = Partition { cluster: "c".into(), topic: "orders".into(), number: 3 };
        let head = self.state.streams().open(&partition);
        let (first, prev) = head.map_or((0, None), |head| (head.next, Some(head.statement)));
        let next = first + BATCH as u64;
        let summary = Summary {
            ledger: self.state.ledger().clone(),
            stream: partition.stream(0),
            topic_id: Some("GfmpnZZ2Sa2LvGBfDmVsdA".into()),
            first,
            next,
            events: BATCH as u64,
            bytes: 4_000_000,
            time: Some((1_700_000_000_000, 1_700_000_001_000)),
            root: sha256(&first.to_be_bytes()),
            last: Some(LastEvent { offset: next - 1, leaf: sha256(b"last") }),
            prev,
        };
        let statement = SignedStatement::sign(Statement::Summary(summary), &[&self.ingest]);
        self.state.draft(statement, 1_700_000_000_000)
    }
}

fn entries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry");
    let mut chain = Chain::new();
    let entry = chain.next();
    let (bytes, note) = (entry.to_bytes(), entry.statement.to_bytes());
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse a note", |bencher| bencher.iter(|| Note::parse(black_box(&note)).expect("a note")));
    let (parsed, key) = (Note::parse(&note).expect("a note"), chain.ingest.verifier_key().clone());
    group.bench_function("verify a note", |bencher| bencher.iter(|| parsed.verify(black_box(&key)).expect("signed")));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&entry).to_bytes()));
    group.bench_function("parse", |bencher| bencher.iter(|| Entry::parse(black_box(&bytes)).expect("an entry")));
    group.bench_function("sign and draft", |bencher| bencher.iter(|| chain.next()));
    // Each entry extends the chain of the previous one, as in a committer.
    let mut apply = |bencher: &mut criterion::Bencher<'_>| {
        let chain = std::cell::RefCell::new(&mut chain);
        bencher.iter_batched(
            || chain.borrow().next(),
            |entry| chain.borrow_mut().state.apply(&entry).expect("the next one"),
            BatchSize::PerIteration,
        );
    };
    group.bench_function("apply", &mut apply);
}

fn entry_proofs(criterion: &mut Criterion) {
    let leaf = |index: u64| sha256(&index.to_be_bytes());
    let (mut tree, mut nodes) = (CompactRange::starting_at(0), HashMap::new());
    for index in 0..ENTRIES {
        tree.push_leaf_with(leaf(index), |node, hash| {
            nodes.insert(node, hash);
        });
    }
    let (index, root) = (ENTRIES / 3, tree.root());
    let siblings = inclusion_nodes(index, ENTRIES).expect("there is such an entry");
    // In a tree with a power of two of leaves, each sibling is a complete subtree.
    let path: Vec<Hash> = siblings.concat().iter().map(|node| nodes[node]).collect();
    let hash = leaf(index);
    let mut group = criterion.benchmark_group("entry proof");
    group.throughput(Throughput::Elements(1));
    group.bench_function("verify a path of 20", |bencher| {
        bencher.iter(|| verify_inclusion(black_box(&hash), index, ENTRIES, &path, &root).expect("proven"));
    });
}

criterion_group!(benches, leaves, batch_tree, entries, entry_proofs);
criterion_main!(benches);
