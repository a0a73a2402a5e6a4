//! What must be true after every step, computed only from what is stored and published. The model trusts nothing that
//! the code under test says about itself.

use std::collections::{BTreeMap, HashSet};

use committer::Message;
use committer::store::memory::Tables;
use committer::store::{EntryRow, StoredCheckpoint};
use committer_client::Commitment;
use evidence::statement::{Gap, Reason, StatementKind, Summary};
use evidence::tree::{CompactRange, leaf_hash};
use evidence::{Entry, Hash, SignedCheckpoint, Statement, StreamId, VerifierKey, batch};

use crate::counts::Counts;
use crate::kafka::{Cluster, Truth};

/// The model's copy of the chain in one database. An old copy of the database has its own.
#[derive(Clone)]
pub(crate) struct ModelChain {
    entries: Vec<Hash>,
    /// The root at each size, from 0.
    roots: Vec<Hash>,
    tree: CompactRange,
    time: i64,
    statements: HashSet<Hash>,
    streams: BTreeMap<StreamId, StreamCursor>,
    pub(crate) events: u64,
}

/// The cursor of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StreamCursor {
    next: u64,
    statement: Hash,
    seq: u64,
}

pub(crate) struct Model {
    pub(crate) chain: ModelChain,
    /// The chains of replaced databases: the full one while an old copy is in its place.
    others: Vec<ModelChain>,
    /// The chains of abandoned databases. What only they acknowledged was lost with them.
    forks: Vec<ModelChain>,
    is_old_copy: bool,
    log_key: VerifierKey,
    /// The root of the largest checkpoint ever signed, and all roots below it, by size.
    signed: Vec<Hash>,
    /// Seq and hash of every acknowledged statement.
    acknowledged: Vec<(u64, Hash)>,
    /// The number of checked records in the topic of commitments, and the first record of each seq.
    published: usize,
    firsts: Vec<Message>,
    /// Whether an old copy of the database was appended to. Then there are two chains, and one of them is not signed.
    pub(crate) forked: bool,
}

/// The error is the broken promise.
pub(crate) type Check = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(format!($($what)*));
        }
    };
}

impl ModelChain {
    fn new() -> Self {
        let tree = CompactRange::starting_at(0);
        Self {
            entries: Vec::new(),
            roots: vec![tree.root()],
            tree,
            time: i64::MIN,
            statements: HashSet::new(),
            streams: BTreeMap::new(),
            events: 0,
        }
    }

    fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    fn holds(&self, (seq, statement): (u64, Hash)) -> bool {
        seq < self.size() && self.statements.contains(&statement)
    }

    /// Appends the next entry.
    fn append(&mut self, row: &EntryRow, cluster: &Cluster) -> Check {
        let seq = self.size();
        let entry = Entry::parse(&row.bytes).map_err(|error| format!("entry {seq}: {error}"))?;
        let statement = entry.statement.statement();
        ensure!(entry.seq == seq && row.seq == seq, "entry {seq} has seq {} and is stored as {}", entry.seq, row.seq);
        ensure!(entry.prev == self.entries.last().copied(), "entry {seq} does not follow the one before it");
        ensure!(entry.time >= self.time, "entry {seq}: time went back from {} to {}", self.time, entry.time);
        let hash = entry.statement.hash();
        ensure!(self.statements.insert(hash), "entry {seq}: its statement is in the chain twice");
        match statement {
            Statement::Summary(summary) => {
                self.advance(seq, hash, &summary.stream, summary.first, summary.next)?;
                check_sealed(summary, cluster).map_err(|what| format!("entry {seq}: {what}"))?;
                self.events += summary.events;
            }
            Statement::Gap(gap) => {
                self.advance(seq, hash, &gap.stream, gap.first, gap.next)?;
                check_gone(gap, cluster).map_err(|what| format!("entry {seq}: {what}"))?;
            }
            Statement::Epoch(epoch) => {
                let place = StreamCursor { next: epoch.start, statement: hash, seq };
                let new = self.streams.insert(epoch.stream.clone(), place).is_none();
                ensure!(new, "entry {seq} begins {} again", epoch.stream);
            }
            Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {}
        }
        let leaf = leaf_hash(&row.bytes);
        ensure!(row.leaf == leaf, "entry {seq}: the stored leaf hash is not its own");
        self.entries.push(leaf);
        self.tree.push_leaf(leaf);
        self.roots.push(self.tree.root());
        self.time = entry.time;
        Ok(())
    }

    /// Coverage is contiguous.
    fn advance(&mut self, seq: u64, statement: Hash, stream: &StreamId, first: u64, next: u64) -> Check {
        let cursor = self.streams.get(stream).map_or(0, |place| place.next);
        ensure!(first == cursor, "entry {seq}: {stream} was covered up to {cursor}, but continues at {first}");
        ensure!(next > first, "entry {seq}: {stream}: an empty range at {first}");
        self.streams.insert(stream.clone(), StreamCursor { next, statement, seq });
        Ok(())
    }

    /// The stored cursors follow from the entries.
    fn check_streams(&self, tables: &Tables) -> Check {
        ensure!(
            tables.streams.len() == self.streams.len(),
            "{} streams are stored, but the entries have {}",
            tables.streams.len(),
            self.streams.len()
        );
        for row in tables.streams.values() {
            let state = &row.state;
            let stored = StreamCursor { next: state.next, statement: state.statement, seq: state.seq };
            let place = self.streams.get(&state.id);
            ensure!(
                place == Some(&stored),
                "{}: the stored cursor is {stored:?}, but the entries give {place:?}",
                state.id
            );
        }
        Ok(())
    }
}

/// The log once held exactly what is sealed.
fn check_sealed(summary: &Summary, cluster: &Cluster) -> Check {
    let Some(topic) = cluster.of_id(summary.topic_id.as_deref()) else {
        return Err(format!("it seals topic {:?}, which never existed", summary.topic_id));
    };
    let log = &topic.logs[summary.stream.partition.number as usize];
    let matches = |truth: Truth| {
        summary.events == truth.leaves.len() as u64
            && summary.root == batch::root(&truth.leaves)
            && summary.bytes == truth.bytes
            && summary.time == truth.time
            && summary.last.map(|last| (last.offset, last.leaf)) == truth.last
    };
    ensure!(
        log.truths(summary.first..summary.next).any(matches),
        "the log of {} never held what is sealed as {}..{}",
        summary.stream,
        summary.first,
        summary.next
    );
    Ok(())
}

/// A gap covers only deleted offsets.
fn check_gone(gap: &Gap, cluster: &Cluster) -> Check {
    let Some(topic) = cluster.of_id(gap.topic_id.as_deref()) else {
        return Err(format!("it is about topic {:?}, which never existed", gap.topic_id));
    };
    let log = &topic.logs[gap.stream.partition.number as usize];
    ensure!(matches!(gap.reason, Reason::Start | Reason::Retention), "an unexpected gap: {}", gap.reason);
    ensure!(
        log.is_deleted(gap.next - 1),
        "the gap {}..{} of {} covers readable offsets",
        gap.first,
        gap.next,
        gap.stream
    );
    Ok(())
}

impl Model {
    pub(crate) fn new(log_key: VerifierKey) -> Self {
        Self {
            chain: ModelChain::new(),
            others: Vec::new(),
            forks: Vec::new(),
            is_old_copy: false,
            log_key,
            signed: Vec::new(),
            acknowledged: Vec::new(),
            published: 0,
            firsts: Vec::new(),
            forked: false,
        }
    }

    /// Checks the database after a step.
    pub(crate) fn check_database(&mut self, tables: &Tables, cluster: &Cluster, counts: &mut Counts) -> Check {
        let size = tables.entries.len() as u64;
        let before = self.chain.size();
        ensure!(size >= before, "the database had {before} entries, but now has {size}");
        self.forked |= self.is_old_copy && size > before;
        for row in tables.entries.range(before..).map(|(_, row)| row) {
            self.chain.append(row, cluster)?;
            counts.add(count_of(&row.kind), 1);
        }
        ensure!(self.chain.size() == size, "some of {size} entries have a wrong seq");
        let position = tables.position.map(|position| (position.next_seq, position.last_leaf, position.time));
        let expected = self.chain.entries.last().map(|leaf| (size, *leaf, self.chain.time));
        ensure!(position == expected, "the stored position is {position:?}, but the entries give {expected:?}");
        self.chain.check_streams(tables)
    }

    /// An old copy replaces the database. `chain` is the chain in it.
    pub(crate) fn went_back(&mut self, chain: ModelChain) {
        self.is_old_copy = true;
        self.others.push(std::mem::replace(&mut self.chain, chain));
    }

    /// Whether the full database may be restored. It may not if a checkpoint of the old copy was signed. That can
    /// happen if nothing newer than the copy had been signed; then the copy is the ledger from now on.
    pub(crate) fn may_come_back(&self) -> bool {
        let full = self.others.last();
        self.signed.iter().zip(full.into_iter().flat_map(|full| &full.roots)).all(|(signed, full)| signed == full)
            && full.is_some_and(|full| full.roots.len() >= self.signed.len())
    }

    /// The full database is restored or abandoned.
    pub(crate) fn came_back(&mut self, is_back: bool) {
        let Some(full) = self.others.pop() else { return };
        self.is_old_copy = false;
        self.forks.push(if is_back { std::mem::replace(&mut self.chain, full) } else { full });
    }

    fn chains(&self) -> impl Iterator<Item = &ModelChain> {
        std::iter::once(&self.chain).chain(&self.others).chain(&self.forks)
    }

    /// A committer acknowledges a statement.
    pub(crate) fn acknowledged(&mut self, entry: &str, seq: u64) -> Check {
        let parsed =
            Entry::parse(entry.as_bytes()).map_err(|error| format!("an acknowledgement has no entry: {error}"))?;
        ensure!(parsed.seq == seq, "an acknowledgement of {seq} shows entry {}", parsed.seq);
        let what = (seq, parsed.statement.hash());
        self.check_acknowledged(what)?;
        self.acknowledged.push(what);
        Ok(())
    }

    fn check_acknowledged(&self, what: (u64, Hash)) -> Check {
        let somewhere = self.chains().any(|chain| chain.holds(what));
        ensure!(somewhere, "entry {} with statement {} was acknowledged, but is in no chain", what.0, what.1);
        Ok(())
    }

    /// Any two checkpoints ever signed are consistent.
    pub(crate) fn signed(&mut self, checkpoint: &StoredCheckpoint) -> Check {
        let head = checkpoint.head;
        let note = SignedCheckpoint::parse(&checkpoint.note).map_err(|error| format!("a checkpoint: {error}"))?;
        ensure!(note.verify(&self.log_key).is_ok(), "the checkpoint of size {} is not signed", head.size);
        let stated = note.checkpoint();
        ensure!(
            (stated.size, stated.root) == (head.size, head.root),
            "the checkpoint stored for {head} states another head"
        );
        let size = usize::try_from(head.size).map_err(|error| error.to_string())?;
        let known = self.signed.get(size);
        ensure!(known.is_none_or(|known| *known == head.root), "two heads of size {size} were signed");
        // Its chain is in the database, or was until a moment ago.
        let Some(of) = self.chains().find(|chain| chain.roots.get(size) == Some(&head.root)) else {
            return Err(format!("a head was signed that no database had: {head}"));
        };
        if let Some(largest) = self.signed.len().checked_sub(1) {
            let common = largest.min(size);
            ensure!(
                of.roots[common] == self.signed[common],
                "two inconsistent heads were signed, of sizes {size} and {largest}"
            );
        }
        if size >= self.signed.len() {
            self.signed = of.roots[..=size].to_vec();
        }
        Ok(())
    }

    /// Each seq is first published in order, and repeats are equal.
    pub(crate) fn check_published(&mut self, new: Vec<Message>) -> Check {
        self.published += new.len();
        for message in new {
            let commitment: Commitment = serde_json::from_slice(&message.value)
                .map_err(|error| format!("a published record is not a commitment: {error}"))?;
            let next = self.firsts.len() as u64;
            ensure!(commitment.seq <= next, "entry {} was published before entry {next}", commitment.seq);
            let entry = leaf_hash(commitment.entry.as_bytes());
            let seq = usize::try_from(commitment.seq).map_err(|error| error.to_string())?;
            ensure!(
                self.chains().any(|chain| chain.entries.get(seq) == Some(&entry)),
                "the record published as entry {seq} is in no chain"
            );
            match self.firsts.get(seq) {
                Some(first) => ensure!(*first == message || self.forked, "entry {seq} was published in two versions"),
                None => self.firsts.push(message),
            }
        }
        Ok(())
    }

    /// The number of checked records in the topic of commitments.
    pub(crate) fn published(&self) -> usize {
        self.published
    }

    /// After all disruptions: everything acknowledged is in the chain, signed and published.
    pub(crate) fn check_end(&self, signed_size: u64) -> Check {
        for what in &self.acknowledged {
            let lost_with_its_copy = self.forks.iter().any(|fork| fork.holds(*what));
            let there = self.chain.holds(*what);
            ensure!(there || lost_with_its_copy, "entry {} was acknowledged, but is lost", what.0);
        }
        let size = self.chain.size();
        ensure!(signed_size == size && self.signed.len() as u64 == size + 1, "not all {size} entries are signed");
        // An abandoned copy may have published more entries than the final chain has.
        let published = self.firsts.len() as u64;
        let is_all = published == size || self.forked && published > size;
        ensure!(is_all, "{published} of {size} entries were published");
        Ok(())
    }
}

fn count_of(kind: &str) -> &'static str {
    match StatementKind::from_name(kind).expect("the store keeps the name of a kind") {
        StatementKind::Genesis => "entries: genesis",
        StatementKind::Key => "entries: keys",
        StatementKind::Summary => "entries: summaries",
        StatementKind::Gap => "entries: gaps",
        StatementKind::Epoch => "entries: epochs",
        StatementKind::Heads => "entries: heads",
    }
}
