//! The contract of `Store`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use committer::store::{
    Append, EntryRow, Lookup, Moved, Store, StoreErrorKind, StoredCheckpoint, StreamEnd, StreamRow,
};
use evidence::chain::{Position, State};
use evidence::statement::HeadsLine;
use evidence::tree::{CompactRange, Node};
use evidence::{EncodedEntry, Hash, Head, SignedStatement, Statement, StreamId, sha256};

use super::Database;
use testbed::statements::{TestLedger, stream};

/// A chain to store, made without the committer's own code.
pub(crate) struct Writer {
    state: State,
    tree: CompactRange,
    numbers: HashMap<StreamId, (u64, Option<u64>)>,
}

impl Writer {
    pub(crate) fn new(ledger: &TestLedger) -> Self {
        let id = ledger.id();
        Self { state: State::new(&id.origin, id.genesis), tree: CompactRange::starting_at(0), numbers: HashMap::new() }
    }

    /// The append that stores these statements as the next entries.
    pub(crate) fn append(&mut self, statements: &[SignedStatement]) -> Append {
        let (mut entries, mut nodes) = (Vec::new(), Vec::new());
        let mut from: HashMap<StreamId, Option<u64>> = HashMap::new();
        for statement in statements {
            let entry = self.state.draft(statement.clone(), 1_800_000_000_000);
            let id = statement.statement().stream().cloned();
            if let Some(id) = &id {
                from.entry(id.clone()).or_insert(self.state.stream(id).map(|state| state.next));
            }
            self.state.apply(&entry).expect("the test's statements are valid");
            let number = id.map(|id| {
                let numbers = self.numbers.entry(id).or_insert((entry.seq, None));
                if matches!(statement.statement(), Statement::Summary(_)) {
                    numbers.1 = Some(entry.seq);
                }
                numbers.0
            });
            let row = EntryRow::new(&EncodedEntry::new(entry), number);
            self.tree.push_leaf_with(row.leaf, |node, hash| {
                if node.level > 0 && node.level % 8 == 0 {
                    nodes.push((node, hash));
                }
            });
            entries.push(row);
        }
        let streams = from.into_iter().map(|(id, from)| Moved { from, row: self.row(&id) }).collect();
        let last_leaf = self.state.last_leaf().expect("there are entries");
        let position = Position { next_seq: self.state.next_seq(), last_leaf, time: self.state.time() };
        Append { entries, streams, nodes, position }
    }

    fn row(&self, id: &StreamId) -> StreamRow {
        let (number, last_summary) = self.numbers[id];
        StreamRow { number, state: self.state.stream(id).expect("it has a statement").clone(), last_summary }
    }

    fn lines(&self) -> Vec<HeadsLine> {
        self.state.streams().lines().collect()
    }
}

async fn commit(store: &dyn Store, append: &Append) {
    let begun = store.begin(&[]).await.expect("begins");
    begun.transaction.commit(append).await.expect("commits");
}

/// A store with the first entries of a ledger, and a writer that continues it.
async fn begin(database: &Database) -> (Arc<dyn Store>, TestLedger, Writer) {
    let ledger = TestLedger::new("store");
    let store = database.open(&ledger.id()).await.expect("opens");
    let mut writer = Writer::new(&ledger);
    commit(&*store, &writer.append(&ledger.beginning())).await;
    (store, ledger, writer)
}

fn sorted(mut lines: Vec<HeadsLine>) -> Vec<String> {
    lines.sort_by_key(ToString::to_string);
    lines.iter().map(ToString::to_string).collect()
}

pub(crate) async fn append_is_complete_after_reopening(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (a, b) = (stream("ta", 0), stream("tb", 2_147_483_647));
    let first = writer.append(&ledger.summaries(&a, 0, 10, 3, None));
    commit(&*store, &first).await;
    let second = writer.append(&[ledger.gap(&b, 0, 7, None)]);
    commit(&*store, &second).await;
    drop(store);

    let store = database.open_existing(&ledger.id()).await.expect("opens again");
    assert_eq!(store.position().await.expect("reads"), Some(second.position));
    let rows = store.rows(2..100).await.expect("reads");
    assert_eq!(rows, [first.entries.clone(), second.entries.clone()].concat());
    let entries = store.entries(3..5).await.expect("reads");
    assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(entries[0].bytes, first.entries[1].bytes);
    let mut streams = store.streams().await.expect("reads");
    streams.sort_by_key(|row| row.number);
    assert_eq!(streams, [writer.row(&a), writer.row(&b)]);
    assert_eq!(streams[0].last_summary, Some(4));
    assert_eq!(streams[1].last_summary, None);
    assert_eq!(store.open_stream(&b.partition).await.expect("reads"), Some(writer.row(&b)));
    assert_eq!(store.open_stream(&stream("tb", 0).partition).await.expect("reads"), None);
    let keys = store.key_entries().await.expect("reads");
    assert_eq!(keys.iter().map(|e| e.seq).collect::<Vec<_>>(), [0, 1]);
}

pub(crate) async fn dropped_append_writes_nothing(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let before = store.position().await.expect("reads");
    let begun = store.begin(&[]).await.expect("begins");
    assert_eq!(begun.position, before);
    drop(begun);
    commit(&*store, &writer.append(&ledger.summaries(&stream("t", 0), 0, 10, 2, None))).await;
    assert_eq!(store.position().await.expect("reads").expect("there").next_seq, 4);
}

pub(crate) async fn append_on_a_wrong_cursor_writes_nothing(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (a, b) = (stream("ta", 0), stream("tb", 0));
    let first = ledger.summary(&a, 0, 10, None);
    commit(&*store, &writer.append(std::slice::from_ref(&first))).await;
    let before = store.position().await.expect("reads");
    let mut append = writer.append(&[ledger.summary(&b, 0, 5, None), ledger.summary(&a, 10, 20, Some(first.hash()))]);
    for moved in &mut append.streams {
        moved.from = moved.from.map(|cursor| cursor + 1);
    }
    let begun = store.begin(&[]).await.expect("begins");
    let error = begun.transaction.commit(&append).await.expect_err("the cursor is elsewhere");
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.message.contains("ta/0 at 11"), "{error}");
    assert_eq!(store.position().await.expect("reads"), before);
    assert_eq!(store.stray_entry(3).await.expect("reads"), None);
    assert_eq!(store.open_stream(&b.partition).await.expect("reads"), None);
}

pub(crate) async fn colliding_row_is_corrupt(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let summaries = ledger.summaries(&stream("t", 0), 0, 10, 2, None);
    let first = writer.append(&summaries[..1]);
    commit(&*store, &first).await;
    let mut again = writer.append(&summaries[1..]);
    again.entries[0].seq = first.entries[0].seq;
    let begun = store.begin(&[]).await.expect("begins");
    let error = begun.transaction.commit(&again).await.expect_err("seq 2 is taken");
    assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error}");
    assert_eq!(store.rows(2..3).await.expect("reads"), first.entries);
}

pub(crate) async fn begin_returns_known_statements(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let summaries = ledger.summaries(&stream("t", 0), 0, 10, 4, None);
    let append = writer.append(&summaries[..3]);
    commit(&*store, &append).await;
    // The same range with other contents, or of another stream, is another statement.
    let other = ledger.gap(&stream("t", 0), 0, 10, None);
    let elsewhere = ledger.summary(&stream("t", 1), 0, 10, None);
    let asked = [&summaries[3], &summaries[2], &summaries[0], &other, &elsewhere, &ledger.genesis];
    let mut begun = store.begin(&asked.map(Lookup::from)).await.expect("begins");
    assert_eq!(begun.known.len(), 3);
    assert_eq!(begun.known[&summaries[2].hash()].seq, 4);
    assert_eq!(begun.known[&summaries[0].hash()].bytes, append.entries[0].bytes);
    assert_eq!(begun.known[&ledger.genesis.hash()].seq, 0);
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let database_ms = begun.transaction.now_ms().await.expect("answers");
    assert!(database_ms.abs_diff(now_ms as i64) < 5_000, "{database_ms} is not now ({now_ms})");
}

pub(crate) async fn one_append_at_a_time(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let append = writer.append(&ledger.summaries(&stream("t", 0), 0, 10, 1, None));
    let other = database.open(&ledger.id()).await.expect("opens");
    let first = store.begin(&[]).await.expect("begins");
    let mut second = tokio::spawn(async move {
        loop {
            match other.begin(&[]).await {
                Err(error) if error.kind == StoreErrorKind::Conflict => {}
                begun => return begun.expect("begins").position,
            }
        }
    });
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(waited.is_err(), "the second append began while the first was under way");
    first.transaction.commit(&append).await.expect("commits");
    assert_eq!(second.await.expect("no panic"), Some(append.position), "the second sees what the first wrote");
}

/// A client that disconnects during an append: the next one learns what became of it.
pub(crate) async fn abandoned_append_is_complete_or_absent(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (mut first, mut prev) = (0, None);
    for attempt in 0..20 {
        let summaries = ledger.summaries(&stream("t", 0), first, 10, 2, prev);
        let append = writer.append(&summaries);
        let begun = store.begin(&[]).await.expect("begins");
        let commit = begun.transaction.commit(&append);
        let _ = tokio::time::timeout(Duration::from_micros(100 * attempt), commit).await;
        let lookups: Vec<Lookup> = summaries.iter().map(Lookup::from).collect();
        let begun = loop {
            match store.begin(&lookups).await {
                Err(error) if error.is_transient() => {}
                begun => break begun.expect("begins"),
            }
        };
        let (position, known) = (begun.position, begun.known.len());
        match known {
            0 => {
                assert_ne!(position, Some(append.position), "attempt {attempt}");
                begun.transaction.commit(&append).await.expect("commits what is not there");
            }
            2 => assert_eq!(position, Some(append.position), "attempt {attempt}"),
            some => panic!("attempt {attempt}: {some} of 2 statements are there"),
        }
        (first, prev) = (first + 20, Some(summaries[1].hash()));
    }
    assert_eq!(store.position().await.expect("reads").map(|p| p.next_seq), Some(2 + 40));
}

pub(crate) async fn entries_are_found_by_offset(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (a, b) = (stream("ta", 0), stream("tb", 0));
    let mut statements = Vec::new();
    // Interleaved: seqs 2, 4, 6, 8 and 3, 5, 7, 9.
    let (of_a, of_b) = (ledger.summaries(&a, 0, 10, 4, None), ledger.summaries(&b, 0, 100, 4, None));
    for (x, y) in of_a.into_iter().zip(of_b) {
        statements.extend([x, y]);
    }
    commit(&*store, &writer.append(&statements)).await;
    let seqs = |entries: Vec<committer::store::StoredEntry>| entries.iter().map(|e| e.seq).collect::<Vec<_>>();

    for (offset, seq) in [(0, Some(2)), (9, Some(2)), (10, Some(4)), (39, Some(8)), (40, None)] {
        let found = store.covering_entry(&a, offset).await.expect("reads");
        assert_eq!(found.map(|e| e.seq), seq, "offset {offset}");
    }
    assert_eq!(store.covering_entry(&a.partition.stream(1), 0).await.expect("reads"), None);
    assert_eq!(store.covering_entry(&stream("ta", 1), 0).await.expect("reads"), None);
    assert_eq!(seqs(store.stream_entries(&a, 0, 100).await.expect("reads")), [2, 4, 6, 8]);
    assert_eq!(seqs(store.stream_entries(&a, 10, 2).await.expect("reads")), [4, 6]);
    assert_eq!(seqs(store.stream_entries(&b, 399, 100).await.expect("reads")), [9]);
    assert_eq!(store.stream_entries(&b, 400, 100).await.expect("reads"), []);
}

pub(crate) async fn heads_lines_exist_for_every_size(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (a, b) = (stream("ta", 0), stream("tb", 0));
    let of_a = ledger.summaries(&a, 0, 10, 3, None);
    let of_b = ledger.summaries(&b, 0, 100, 1, None);
    let mut lines = vec![(2, sorted(writer.lines()))];
    for (i, statement) in [&of_a[0], &of_b[0], &of_a[1], &of_a[2]].into_iter().enumerate() {
        commit(&*store, &writer.append(std::slice::from_ref(statement))).await;
        lines.push((3 + i as u64, sorted(writer.lines())));
    }
    for (size, expected) in lines {
        assert_eq!(sorted(store.heads_lines(size).await.expect("reads")), expected, "at size {size}");
    }
    assert_eq!(store.heads_entry(100).await.expect("reads"), None);
}

pub(crate) async fn changed_streams_are_listed(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let (a, b, c) = (stream("ta", 0), stream("tb", 0), stream("tb", 1));
    let of_a = ledger.summaries(&a, 0, 10, 3, None);
    let of_b = ledger.summaries(&b, 0, 100, 2, None);
    let of_c = ledger.summaries(&c, 0, 100, 1, None);
    // Seqs 2 and 3, 4 to 6, 7.
    for statements in [vec![&of_a[0], &of_c[0]], vec![&of_a[1], &of_b[0], &of_a[2]], vec![&of_b[1]]] {
        commit(&*store, &writer.append(&statements.into_iter().cloned().collect::<Vec<_>>())).await;
    }
    for (seqs, moved) in
        [(0..8, vec![&a, &b, &c]), (4..7, vec![&a, &b]), (6..7, vec![&a]), (0..2, vec![]), (8..9, vec![])]
    {
        let mut rows = store.moved_streams(seqs.clone()).await.expect("reads");
        rows.sort_by_key(|row| row.state.id.to_string());
        // The present rows, for any range.
        assert_eq!(rows, moved.iter().map(|id| writer.row(id)).collect::<Vec<_>>(), "{seqs:?}");
        // The cursors at the range's end, from the entries alone.
        let mut ends = store.ends(seqs.clone()).await.expect("reads");
        ends.sort_by_key(|end| moved.iter().position(|id| writer.row(id).number == end.number));
        let lines = store.heads_lines(seqs.end).await.expect("reads");
        let line = |id: &StreamId| lines.iter().find(|line| line.stream == *id).expect("it moved before");
        let expected = moved.iter().map(|&id| {
            let HeadsLine { next, statement, .. } = *line(id);
            StreamEnd { number: writer.row(id).number, next, statement }
        });
        assert_eq!(ends, expected.collect::<Vec<_>>(), "{seqs:?}");
    }
    let seqs = async |range| {
        let entries = store.ledger_entries(range).await.expect("reads");
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0..8).await, [0, 1]);
    assert_eq!(seqs(1..8).await, [1]);
    assert_eq!(seqs(2..8).await, [0; 0]);
    let genesis = store.ledger_entries(0..1).await.expect("reads");
    assert_eq!(genesis, store.entries(0..1).await.expect("reads"));
}

pub(crate) async fn nodes_of_all_levels_are_stored(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let append = writer.append(&ledger.summaries(&stream("t", 0), 0, 1, 600, None));
    commit(&*store, &append).await;
    let expected: Vec<Hash> = append.nodes.iter().map(|(_, hash)| *hash).collect();
    assert_eq!(append.nodes[1].0, Node { level: 8, index: 1 });
    assert_eq!(store.nodes(8, 0..10).await.expect("reads"), expected);
    assert_eq!(store.nodes(8, 1..2).await.expect("reads"), expected[1..]);
    assert_eq!(store.nodes(16, 0..1).await.expect("reads"), []);
    let leaves: Vec<Hash> = append.entries.iter().map(|row| row.leaf).collect();
    assert_eq!(store.nodes(0, 2..602).await.expect("reads"), leaves);
    assert_eq!(store.node_count().await.expect("reads"), 2);
    assert_eq!(store.stray_entry(602).await.expect("reads"), None);
    assert_eq!(store.stray_entry(601).await.expect("reads"), Some(601));
}

pub(crate) async fn checkpoint_and_publication_never_go_back(database: Database) {
    let (store, ..) = begin(&database).await;
    let checkpoint = |size: u64| StoredCheckpoint {
        head: Head { size, root: sha256(&size.to_be_bytes()) },
        note: format!("note {size}").into_bytes(),
    };
    assert_eq!(store.checkpoint().await.expect("reads"), None);
    assert_eq!(store.published().await.expect("reads"), None);
    for (put, kept) in [(5, 5), (7, 7), (6, 7), (7, 7)] {
        store.put_checkpoint(&checkpoint(put)).await.expect("writes");
        store.set_published(put).await.expect("writes");
        assert_eq!(store.checkpoint().await.expect("reads"), Some(checkpoint(kept)));
        assert_eq!(store.published().await.expect("reads"), Some(kept));
    }
}

pub(crate) async fn ledgers_do_not_see_each_other(database: Database) {
    let (store, ledger, mut writer) = begin(&database).await;
    let t = stream("t", 0);
    commit(&*store, &writer.append(&ledger.summaries(&t, 0, 1, 300, None))).await;
    store.set_published(300).await.expect("writes");
    let id = evidence::statement::LedgerId { origin: "example.com/other".to_owned(), genesis: sha256(b"other") };
    let other = database.open(&id).await.expect("opens");
    assert_eq!(other.position().await.expect("reads"), None);
    assert_eq!(other.entries(0..10).await.expect("reads"), []);
    assert_eq!(other.key_entries().await.expect("reads"), []);
    assert_eq!(other.open_stream(&t.partition).await.expect("reads"), None);
    assert_eq!(other.covering_entry(&t, 0).await.expect("reads"), None);
    assert_eq!(other.heads_lines(100).await.expect("reads"), []);
    assert_eq!(other.nodes(0, 0..10).await.expect("reads"), []);
    assert_eq!(other.nodes(8, 0..10).await.expect("reads"), []);
    assert_eq!(other.published().await.expect("reads"), None);
    let (genesis, hash) = ([Lookup::from(&ledger.genesis)], ledger.genesis.hash());
    // One append at a time for each ledger; an SQLite file has only one writer at all.
    assert!(other.begin(&genesis).await.expect("begins").known.is_empty());
    assert_eq!(store.begin(&genesis).await.expect("begins").known[&hash].seq, 0);
}

pub(crate) async fn another_genesis_is_refused(database: Database) {
    begin(&database).await;
    let other = TestLedger::new("another");
    let error = database.open(&other.id()).await.err().expect("the genesis differs");
    assert_eq!(error.kind, StoreErrorKind::Refused);
    for genesis in [other.genesis.hash(), TestLedger::new("store").genesis.hash()] {
        assert!(error.message.contains(&genesis.to_string()), "{error} should name {genesis}");
    }
}

pub(crate) async fn open_existing_begins_no_ledger(database: Database) {
    let ledger = TestLedger::new("store");
    let error = database.open_existing(&ledger.id()).await.err().expect("there is nothing");
    assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
    database.open(&ledger.id()).await.expect("begins");
    database.open_existing(&ledger.id()).await.expect("is there now");
}

pub(crate) async fn one_publisher_at_a_time(database: Database) {
    let (store, ledger, _) = begin(&database).await;
    let other = database.open(&ledger.id()).await.expect("opens");
    let mut lease = store.publisher_lease().await.expect("asks").expect("it is free");
    assert!(lease.is_held().await);
    assert!(other.publisher_lease().await.expect("asks").is_none());
    drop(lease);
    // The connection that held it ends in the background.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while other.publisher_lease().await.expect("asks").is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the lease is not free after its holder is gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
