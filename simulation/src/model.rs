//! What must be true after every step, computed from what is stored and published and from nothing that the code under
//! test says about it.

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

/// What the chain in a database amounts to. An old copy of the database has one of its own.
#[derive(Clone)]
pub(crate) struct Account {
    entries: Vec<Hash>,
    /// The root at each size, from 0 on.
    roots: Vec<Hash>,
    tree: CompactRange,
    time: i64,
    statements: HashSet<Hash>,
    streams: BTreeMap<StreamId, Place>,
    pub(crate) events: u64,
}

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    next: u64,
    statement: Hash,
    seq: u64,
}

pub(crate) struct Model {
    pub(crate) account: Account,
    /// Those of databases that were replaced: the full one while an old copy is in its place, and old copies.
    others: Vec<Account>,
    /// Databases that were given up: what they alone acknowledged was lost with them.
    forks: Vec<Account>,
    is_old_copy: bool,
    log_key: VerifierKey,
    /// The largest checkpoint ever signed, with the roots below it.
    signed: Vec<Hash>,
    /// Statements that some committer acknowledged, and their seqs.
    acknowledged: Vec<(u64, Hash)>,
    /// How far the topic of commitments was looked at, and the first record of each seq in it.
    published: usize,
    firsts: Vec<Message>,
    /// An old copy of the database was written to: there are two chains, of which one is not signed.
    pub(crate) forked: bool,
}

/// What was broken.
pub(crate) type Check = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(format!($($what)*));
        }
    };
}

impl Account {
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

    /// Takes the next entry into account.
    fn take(&mut self, row: &EntryRow, cluster: &Cluster) -> Check {
        let seq = self.size();
        let entry = Entry::parse(&row.bytes).map_err(|error| format!("entry {seq}: {error}"))?;
        let statement = entry.statement.statement();
        ensure!(entry.seq == seq && row.seq == seq, "entry {seq} says {} and is stored as {}", entry.seq, row.seq);
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
                let place = Place { next: epoch.start, statement: hash, seq };
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

    /// Coverage is exact.
    fn advance(&mut self, seq: u64, statement: Hash, stream: &StreamId, first: u64, next: u64) -> Check {
        let cursor = self.streams.get(stream).map_or(0, |place| place.next);
        ensure!(first == cursor, "entry {seq}: {stream} was covered up to {cursor}, and goes on from {first}");
        ensure!(next > first, "entry {seq}: {stream}: an empty range at {first}");
        self.streams.insert(stream.clone(), Place { next, statement, seq });
        Ok(())
    }

    /// The cursors are those of the entries.
    fn check_streams(&self, tables: &Tables) -> Check {
        ensure!(
            tables.streams.len() == self.streams.len(),
            "{} streams are stored of {}",
            tables.streams.len(),
            self.streams.len()
        );
        for row in tables.streams.values() {
            let head = &row.head;
            let stored = Place { next: head.next, statement: head.statement, seq: head.seq };
            let place = self.streams.get(&head.id);
            ensure!(
                place == Some(&stored),
                "{}: the cursor {stored:?} is not what the entries say, {place:?}",
                head.id
            );
        }
        Ok(())
    }
}

/// What is sealed is what was in the log.
fn check_sealed(summary: &Summary, cluster: &Cluster) -> Check {
    let Some(topic) = cluster.of_id(summary.topic_id.as_deref()) else {
        return Err(format!("it seals a topic {:?} that never was", summary.topic_id));
    };
    let log = &topic.logs[summary.stream.partition.number as usize];
    let is_it = |truth: Truth| {
        summary.events == truth.leaves.len() as u64
            && summary.root == batch::root(&truth.leaves)
            && summary.bytes == truth.bytes
            && summary.time == truth.time
            && summary.last.map(|last| (last.offset, last.leaf)) == truth.last
    };
    ensure!(
        log.truths(summary.first..summary.next).any(is_it),
        "the log of {} never held what is sealed as {}..{}",
        summary.stream,
        summary.first,
        summary.next
    );
    Ok(())
}

/// No offset is left out that could be read.
fn check_gone(gap: &Gap, cluster: &Cluster) -> Check {
    let Some(topic) = cluster.of_id(gap.topic_id.as_deref()) else {
        return Err(format!("it is about a topic {:?} that never was", gap.topic_id));
    };
    let log = &topic.logs[gap.stream.partition.number as usize];
    ensure!(matches!(gap.reason, Reason::Start | Reason::Retention), "a gap for {}", gap.reason);
    ensure!(log.is_deleted(gap.next - 1), "{}..{} of {} is left out and can be read", gap.first, gap.next, gap.stream);
    Ok(())
}

impl Model {
    pub(crate) fn new(log_key: VerifierKey) -> Self {
        Self {
            account: Account::new(),
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

    /// Looks at the database after a step.
    pub(crate) fn check_database(&mut self, tables: &Tables, cluster: &Cluster, counts: &mut Counts) -> Check {
        let size = tables.entries.len() as u64;
        let before = self.account.size();
        ensure!(size >= before, "the database had {before} entries and has {size}");
        self.forked |= self.is_old_copy && size > before;
        for row in tables.entries.range(before..).map(|(_, row)| row) {
            self.account.take(row, cluster)?;
            counts.add(count_of(&row.kind), 1);
        }
        ensure!(self.account.size() == size, "of {size} entries some are not in their place");
        let position = tables.position.map(|position| (position.next_seq, position.last_leaf, position.time));
        let expected = self.account.entries.last().map(|head| (size, *head, self.account.time));
        ensure!(position == expected, "the position says {position:?}, the entries {expected:?}");
        self.account.check_streams(tables)
    }

    /// An old copy takes the place of the database; `account` is what was in it.
    pub(crate) fn went_back(&mut self, account: Account) {
        self.is_old_copy = true;
        self.others.push(std::mem::replace(&mut self.account, account));
    }

    /// Whether the full database may be put back: not when the old copy was signed for, which happens when nothing newer
    /// than the copy had been signed. Then the copy is the ledger from now on.
    pub(crate) fn may_come_back(&self) -> bool {
        let full = self.others.last();
        self.signed.iter().zip(full.into_iter().flat_map(|full| &full.roots)).all(|(signed, full)| signed == full)
            && full.is_some_and(|full| full.roots.len() >= self.signed.len())
    }

    /// The full database is back in its place, or given up.
    pub(crate) fn came_back(&mut self, is_back: bool) {
        let Some(full) = self.others.pop() else { return };
        self.is_old_copy = false;
        self.forks.push(if is_back { std::mem::replace(&mut self.account, full) } else { full });
    }

    fn accounts(&self) -> impl Iterator<Item = &Account> {
        std::iter::once(&self.account).chain(&self.others).chain(&self.forks)
    }

    /// A committer says that a statement is in the chain.
    pub(crate) fn acknowledged(&mut self, entry: &str, seq: u64) -> Check {
        let parsed = Entry::parse(entry.as_bytes()).map_err(|error| format!("acknowledged is no entry: {error}"))?;
        ensure!(parsed.seq == seq, "an acknowledgement of {seq} shows entry {}", parsed.seq);
        let what = (seq, parsed.statement.hash());
        self.check_acknowledged(what)?;
        self.acknowledged.push(what);
        Ok(())
    }

    fn check_acknowledged(&self, what: (u64, Hash)) -> Check {
        let somewhere = self.accounts().any(|account| account.holds(what));
        ensure!(somewhere, "entry {} with statement {} was acknowledged and is not there", what.0, what.1);
        Ok(())
    }

    /// Any two checkpoints ever signed are consistent.
    pub(crate) fn signed(&mut self, checkpoint: &StoredCheckpoint) -> Check {
        let head = checkpoint.head;
        let note = SignedCheckpoint::parse(&checkpoint.note).map_err(|error| format!("a checkpoint: {error}"))?;
        ensure!(note.verify(&self.log_key).is_ok(), "the checkpoint of size {} is not signed", head.size);
        let stated = note.checkpoint();
        ensure!((stated.size, stated.root) == (head.size, head.root), "the checkpoint of {head} states another head");
        let size = usize::try_from(head.size).map_err(|error| error.to_string())?;
        let known = self.signed.get(size);
        ensure!(known.is_none_or(|known| *known == head.root), "two heads of size {size} were signed");
        // The chain that it is of is the one in the database, or was until a moment ago.
        let Some(of) = self.accounts().find(|account| account.roots.get(size) == Some(&head.root)) else {
            return Err(format!("a head was signed that no database ever had: {head}"));
        };
        if let Some(largest) = self.signed.len().checked_sub(1) {
            let common = largest.min(size);
            ensure!(
                of.roots[common] == self.signed[common],
                "two heads were signed that contradict each other: of sizes {size} and {largest}"
            );
        }
        if size >= self.signed.len() {
            self.signed = of.roots[..=size].to_vec();
        }
        Ok(())
    }

    /// First occurrences come in order, and repeats say the same.
    pub(crate) fn check_published(&mut self, new: Vec<Message>) -> Check {
        self.published += new.len();
        for message in new {
            let commitment: Commitment = serde_json::from_slice(&message.value)
                .map_err(|error| format!("published is no commitment: {error}"))?;
            let next = self.firsts.len() as u64;
            ensure!(commitment.seq <= next, "entry {} was published before entry {next}", commitment.seq);
            let entry = leaf_hash(commitment.entry.as_bytes());
            let seq = usize::try_from(commitment.seq).map_err(|error| error.to_string())?;
            ensure!(
                self.accounts().any(|account| account.entries.get(seq) == Some(&entry)),
                "published as entry {seq} is what no chain has there"
            );
            match self.firsts.get(seq) {
                Some(first) => ensure!(*first == message || self.forked, "entry {seq} was published in two versions"),
                None => self.firsts.push(message),
            }
        }
        Ok(())
    }

    /// How many records of the topic of commitments were looked at.
    pub(crate) fn looked_at(&self) -> usize {
        self.published
    }

    /// When all trouble is over: all that was acknowledged is there, signed and published.
    pub(crate) fn check_end(&self, signed_size: u64) -> Check {
        for what in &self.acknowledged {
            let lost_with_its_copy = self.forks.iter().any(|fork| fork.holds(*what));
            let there = self.account.holds(*what);
            ensure!(there || lost_with_its_copy, "entry {} was acknowledged and is lost", what.0);
        }
        let size = self.account.size();
        ensure!(signed_size == size && self.signed.len() as u64 == size + 1, "not all {size} entries are signed");
        // A copy that was appended to may have become longer than the chain that counts, and published so.
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
