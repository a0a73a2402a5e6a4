//! Applies the entries of the bundle by the chain's own rules, and hands each stream's statements to its check.

use std::collections::VecDeque;
use std::ops::Range;
use std::thread;

use bundle::{Reader, Run};
use evidence::chain::{Refusal, State};
use evidence::statement::{Heads, Statement};
use evidence::tree::{TreeError, leaf_hash};
use evidence::{Checkpoint, Entry, Hash};

use crate::code::Code;
use crate::finding::{Findings, Place};
use crate::heads::{Plan, are_committed};
use crate::rounds::Rounds;
use crate::scan::Scan;
use crate::stream::{Standing, StreamCheck, StreamResult};
use crate::threads::threads;
use crate::verdict::Verdict;

/// The most runs that are remembered for comparison with anchors: the newest ones.
const RUNS_MAX: usize = 1 << 20;

/// The fewest entries of a run for which a thread is worth starting.
const ENTRIES_PER_THREAD_MIN: usize = 32;

/// The chain as far as the bundle shows it.
pub(crate) struct Chain {
    /// The state after the last entry that was applied.
    pub(crate) state: State,
    /// One for each stream of the manifest.
    pub(crate) streams: Vec<StreamResult>,
    /// The newest heads entry: its seq, its time in milliseconds since 1970, its number of streams.
    pub(crate) heads: Option<(u64, i64, u64)>,
    /// The seq up to which the bundle has all entries after that one, and none of them moves a stream. 0 without a heads
    /// entry.
    pub(crate) unmoved_to: u64,
    /// The number of entries that were applied.
    pub(crate) entries: u64,
    /// Whether they were applied up to the last one, so that no key entry is missing.
    pub(crate) is_whole: bool,
    /// The runs whose place in the tree is proven; all of them if `is_whole`.
    pub(crate) runs: VecDeque<Range<u64>>,
}

impl Chain {
    /// A chain of which no entry was applied.
    pub(crate) fn unseen(state: State) -> Self {
        let (streams, runs) = (Vec::new(), VecDeque::new());
        Self { state, streams, heads: None, unmoved_to: 0, entries: 0, is_whole: false, runs }
    }
}

/// The entries of a run before one of them.
#[derive(Default)]
struct Before {
    /// The leaf hash of the entry before; `None` at the beginning of the run.
    leaf: Option<Hash>,
    /// The time of the last entry before that decodes.
    time: Option<i64>,
}

struct Follower<'a> {
    reader: &'a Reader,
    checkpoint: &'a Checkpoint,
    plan: &'a Plan,
    scan: &'a Scan,
    findings: &'a mut Findings,
    rounds: Rounds<'a>,
    /// The seq from which on the bundle has every entry so far.
    unbroken_from: u64,
    chain: Chain,
}

/// Applies all entries. `checks` are the streams of the manifest, in order.
///
/// Methods that return `Err(code)` added a finding with that code, and no later entry can be applied.
pub(crate) fn follow(
    reader: &Reader,
    state: State,
    checkpoint: &Checkpoint,
    plan: &Plan,
    scan: &Scan,
    checks: Vec<StreamCheck<'_>>,
    findings: &mut Findings,
) -> Chain {
    let chain = Chain::unseen(state);
    let rounds = Rounds::new(reader, checks);
    let mut follower = Follower { reader, checkpoint, plan, scan, findings, rounds, unbroken_from: 0, chain };
    let all_read = follower.run();
    let Follower { mut chain, rounds, .. } = follower;
    chain.is_whole = all_read && chain.state.next_seq() == checkpoint.size;
    chain.streams = rounds.finish(all_read);
    chain
}

impl Follower<'_> {
    /// Applies the entries, and returns whether all were applied.
    ///
    /// No entry is applied after one that is absent or cannot be read. But the later ones are in the log as well: their runs
    /// and the events of their batches are still compared, so that a hole hides nothing.
    fn run(&mut self) -> bool {
        let mut has_hole = false;
        let mut runs = match self.reader.runs() {
            Ok(runs) => runs,
            Err(error) => return self.unreadable(&error),
        };
        loop {
            let run = match runs.next_run() {
                Ok(Some(run)) => run,
                Ok(None) => return !has_hole && self.check_end().is_ok(),
                Err(error) => return self.unreadable(&error),
            };
            match self.prove(&run) {
                Ok(()) => {}
                Err(code) if code.verdict() == Verdict::Tampered => return false,
                Err(_) => {
                    has_hole = true;
                    continue;
                }
            }
            if !has_hole {
                if run.first > self.chain.state.next_seq() {
                    self.unbroken_from = run.first;
                }
                self.chain.state.skip_to(run.first);
            }
            let mut before = Before::default();
            for ((seq, bytes), entry) in (run.first..).zip(&run.entries).zip(self.parse(&run)) {
                let time = entry.as_ref().map_or(before.time, |entry| Some(entry.time));
                let taken = if has_hole { self.unapplied(seq, entry, &before) } else { self.entry(seq, entry) };
                before = Before { leaf: Some(leaf_hash(bytes)), time };
                match taken {
                    Ok(()) => {}
                    Err(code) if code.verdict() == Verdict::Tampered => return false,
                    Err(_) => has_hole = true,
                }
            }
        }
    }

    /// Requires that the run is in the tree, before any entry of it is parsed.
    fn prove(&mut self, run: &Run) -> Result<(), Code> {
        let Checkpoint { size, root, .. } = *self.checkpoint;
        let span = format!("entries {} to {}", run.first, run.end() - 1);
        let problem = match run.root(size) {
            Ok(found) if found == root => {
                remember(&mut self.chain.runs, run);
                return Ok(());
            }
            Ok(found) => format!("{span} lead to the root {found}, but the checkpoint has {root}"),
            Err(TreeError::WrongLength { expected, found }) => {
                let problem = format!("{span} come with {found} hashes instead of {expected}");
                return Err(self.find(Code::Malformed, Place::file("entries"), problem));
            }
            Err(error) => {
                return Err(self.find(Code::Malformed, Place::file("entries"), error.to_string()));
            }
        };
        match self.likely_altered(run) {
            Some((seq, reason)) => {
                let problem = format!("the entry is not the one in the tree: {reason}");
                Err(self.find(Code::AlteredEntry, Place::entry(seq), problem))
            }
            None => Err(self.find(Code::AlteredEntry, Place::entry(run.first), problem)),
        }
    }

    /// Finds the entry that was most likely altered, if a run is not in the tree. This is a hint and no proof (SPEC.md,
    /// section 13.3.2).
    fn likely_altered(&self, run: &Run) -> Option<(u64, String)> {
        let mut entries = Vec::with_capacity(run.entries.len());
        for (seq, bytes) in (run.first..).zip(&run.entries) {
            let entry = match Entry::parse(bytes) {
                Ok(entry) => entry,
                Err(error) => return Some((seq, error.to_string())),
            };
            if entry.seq != seq {
                return Some((seq, format!("it has seq {}", entry.seq)));
            }
            for signature in entry.statement.note().signatures() {
                let granted = self.chain.state.keys().by_signature(signature);
                if let Some(Err(error)) = granted.map(|granted| entry.statement.note().verify(&granted.key)) {
                    return Some((seq, error.to_string()));
                }
            }
            entries.push(entry);
        }
        // If entry i does not name i - 1 but i + 1 names i, then i is right and i - 1 was altered.
        let follows = |i: usize| Some(entries.get(i)?.prev == Some(leaf_hash(&run.entries[i - 1])));
        let unlinked = (1..entries.len()).find(|&i| follows(i) == Some(false));
        match unlinked {
            Some(i) if follows(i + 1) == Some(true) => {
                Some((run.first + i as u64 - 1, "the entry after it names another one".to_owned()))
            }
            Some(i) => Some((run.first + i as u64, "it does not name the entry before it".to_owned())),
            None if entries.len() == 1 => {
                Some((run.first, "its hash does not lead to the checkpoint's root".to_owned()))
            }
            None => None,
        }
    }

    /// Parses the entries of a run and verifies their signatures on several threads. Applying them in order then finds the
    /// signatures verified.
    fn parse(&self, run: &Run) -> Vec<Result<Entry, evidence::Error>> {
        let keys = self.chain.state.keys();
        let parse = |bytes: &Vec<u8>| {
            let entry = Entry::parse(bytes)?;
            for signature in entry.statement.note().signatures() {
                if let Some(granted) = keys.by_signature(signature) {
                    // Only a valid signature is remembered; `apply` reports an invalid one.
                    let _ = entry.statement.note().verify(&granted.key);
                }
            }
            Ok(entry)
        };
        let share = run.entries.len().div_ceil(threads()).max(ENTRIES_PER_THREAD_MIN);
        thread::scope(|scope| {
            let mut shares = run.entries.chunks(share);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> =
                shares.map(|share| scope.spawn(|| share.iter().map(parse).collect::<Vec<_>>())).collect();
            let mut entries: Vec<_> = own.iter().map(parse).collect();
            for other in others {
                entries.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            entries
        })
    }

    fn decoded(&mut self, seq: u64, entry: Result<Entry, evidence::Error>) -> Result<Entry, Code> {
        entry.map_err(|error| {
            let code = match error {
                // It is a leaf of the tree: the log accepted something that is not an entry.
                evidence::Error::Malformed { .. } => Code::MalformedEntry,
                evidence::Error::Unsupported { .. } => Code::Unsupported,
            };
            self.find(code, Place::entry(seq), error.to_string())
        })
    }

    /// Checks an entry that comes after a hole. It proves nothing.
    fn unapplied(&mut self, seq: u64, entry: Result<Entry, evidence::Error>, before: &Before) -> Result<(), Code> {
        let entry = self.decoded(seq, entry)?;
        self.follows(seq, &entry, before)?;
        match entry.statement.statement() {
            Statement::Heads(heads) if self.scan.newest_heads == Some(seq) => self.compare_lines(seq, heads),
            Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {}
            statement @ (Statement::Summary(_) | Statement::Gap(_) | Statement::Epoch(_)) => {
                if let Some(at) = statement.stream().and_then(|stream| self.reader.manifest().place_of(stream)) {
                    self.rounds.statement(at, entry, Standing::Unapplied);
                }
            }
        }
        Ok(())
    }

    /// Requires that an entry that is not applied follows the one before it in its run. This takes no keys.
    fn follows(&mut self, seq: u64, entry: &Entry, before: &Before) -> Result<(), Code> {
        let refusal = if entry.seq != seq {
            Refusal::WrongSeq { expected: seq, found: entry.seq }
        } else if before.leaf.is_some_and(|leaf| entry.prev != Some(leaf)) {
            Refusal::WrongEntryPrev { seq }
        } else if let Some(previous) = before.time.filter(|time| entry.time < *time) {
            Refusal::TimeBackwards { seq, found: entry.time, previous }
        } else {
            return Ok(());
        };
        Err(self.refused(seq, entry, &refusal))
    }

    fn compare_lines(&mut self, seq: u64, heads: &Heads) {
        if self.plan.committed.is_some() && !are_committed(self.plan, heads) {
            let problem = "the bundle's heads lines are not those that the heads statement commits to";
            self.findings.add(Code::AlteredHeads, place_in("heads", seq), problem);
        }
    }

    fn entry(&mut self, seq: u64, entry: Result<Entry, evidence::Error>) -> Result<(), Code> {
        let entry = self.decoded(seq, entry)?;
        if let Err(refusal) = self.chain.state.apply(&entry) {
            return Err(self.refused(seq, &entry, &refusal));
        }
        self.chain.entries += 1;
        let distrusted = self.scan.distrust.of(&entry, self.chain.state.keys()).map(str::to_owned);
        match entry.statement.statement() {
            Statement::Heads(heads) if self.scan.newest_heads == Some(seq) => {
                self.chain.heads = Some((seq, entry.time, heads.streams));
                self.chain.unmoved_to = seq + 1;
                if let Some(reason) = distrusted {
                    let problem = format!("the heads statement is signed by a distrusted key: {reason}");
                    self.findings.add(Code::DistrustedKey, Place::entry(seq), problem);
                }
                self.compare_lines(seq, heads);
            }
            Statement::Genesis(_) | Statement::Key(_) | Statement::Heads(_) => {
                if self.chain.heads.is_some() && self.chain.unmoved_to == seq {
                    self.chain.unmoved_to += 1;
                }
            }
            statement @ (Statement::Summary(_) | Statement::Gap(_) | Statement::Epoch(_)) => {
                if let Some(index) = statement.stream().and_then(|stream| self.reader.manifest().place_of(stream)) {
                    let standing = distrusted.map_or(Standing::Applied, Standing::Distrusted);
                    self.rounds.statement(index, entry, standing);
                }
            }
        }
        Ok(())
    }

    /// Adds the finding for a refused entry. `seq` is its place in the run, which may differ from the seq in it.
    fn refused(&mut self, seq: u64, entry: &Entry, refusal: &Refusal) -> Code {
        if let (Refusal::WrongKeys { .. }, Some((needed, _))) = (refusal, entry.keys) {
            let newest = self.chain.state.keys().newest().map(|(seq, _)| seq);
            let was_given = (self.unbroken_from..seq).contains(&needed);
            if !was_given && needed < seq && newest.is_none_or(|newest| needed > newest) {
                let missing = newest.map_or(0, |_| needed);
                let problem = format!("the bundle does not hold this key entry, which entry {seq} names");
                return self.find(Code::AbsentEntry, Place::entry(missing), problem);
            }
        }
        let place = Place { stream: entry.statement.statement().stream().cloned(), ..Place::entry(seq) };
        self.find(Code::Refused(refusal.kind()), place, format!("the chain is not valid here: {refusal}"))
    }

    /// Checks, after the last run, that nothing is missing at the end.
    fn check_end(&mut self) -> Result<(), Code> {
        let (next, size) = (self.chain.state.next_seq(), self.checkpoint.size);
        if next < size {
            let problem = "the bundle does not hold the last entry below the checkpoint's size, so a key entry may be \
                           missing";
            self.findings.add(Code::AbsentEntry, Place::entry(size - 1), problem);
        }
        let heads_seen = self.chain.heads.map(|(seq, ..)| seq);
        if heads_seen != self.scan.newest_heads || !self.scan.distrust.agrees_with(self.chain.state.keys()) {
            let problem = "the entries changed while they were read";
            return Err(self.find(Code::Unreadable, Place::file("entries"), problem.into()));
        }
        if heads_seen.is_none() && self.plan.committed.is_some() {
            let problem = "the bundle has heads lines but no heads entry that commits to them";
            self.findings.add(Code::NoHeads, Place::file("heads"), problem);
        }
        Ok(())
    }

    /// Adds the finding, and returns `false`: not all entries were applied.
    fn unreadable(&mut self, error: &bundle::Error) -> bool {
        self.findings.unreadable(error);
        false
    }

    /// Adds a finding and returns its code.
    fn find(&mut self, code: Code, place: Place, problem: String) -> Code {
        self.findings.add(code, place, problem);
        code
    }
}

/// Remembers a run.
fn remember(runs: &mut VecDeque<Range<u64>>, run: &Run) {
    match runs.back_mut() {
        Some(last) if last.end == run.first => last.end = run.end(),
        _ => runs.push_back(run.first..run.end()),
    }
    if runs.len() > RUNS_MAX {
        runs.pop_front();
    }
}

/// All runs whose place in the tree can be proven, even if their entries cannot be applied.
pub(crate) fn proven_runs(reader: &Reader, checkpoint: &Checkpoint) -> VecDeque<Range<u64>> {
    let mut proven = VecDeque::new();
    let Ok(mut runs) = reader.runs() else { return proven };
    // `follow` reported what cannot be read.
    while let Ok(Some(run)) = runs.next_run() {
        if run.root(checkpoint.size).is_ok_and(|root| root == checkpoint.root) {
            remember(&mut proven, &run);
        }
    }
    proven
}

fn place_in(file: &str, seq: u64) -> Place {
    Place::file(file).at_entry(seq)
}

#[cfg(test)]
mod tests {
    use bundle::Writer;
    use evidence::statement::LedgerId;

    use super::*;
    use crate::distrust::{Distrust, tests::revoked};
    use crate::scan::scan;

    #[test]
    fn entries_that_change_while_read_are_noticed() {
        let (entries, state) = revoked(Some(1));
        let LedgerId { origin, genesis } = state.ledger();
        let size = entries.len() as u64;
        let entries = entries.iter().map(Entry::to_bytes).collect();
        let run = Run { first: 0, left: Vec::new(), right: Vec::new(), entries };
        let checkpoint = Checkpoint { origin: origin.clone(), size, root: run.root(size).expect("a whole tree") };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bundle");
        let mut writer = Writer::create(&path, origin, *genesis, b"-", Vec::new()).expect("created");
        writer.run(&run).expect("a run");
        writer.finish().expect("finished");
        let reader = Reader::open(&path).expect("opened");
        let followed = |scan: &Scan| {
            let mut findings = Findings::default();
            let state = State::new(origin, *genesis);
            let chain = follow(&reader, state, &checkpoint, &Plan::default(), scan, Vec::new(), &mut findings);
            (chain.is_whole, findings.kept.iter().map(|finding| finding.code).collect::<Vec<_>>())
        };

        let seen = || scan(&reader).expect("read");
        assert_eq!(followed(&seen()), (true, vec![]));
        // The scan saw a heads entry that is no longer there, or did not see a revocation.
        assert_eq!(followed(&Scan { newest_heads: Some(1), ..seen() }), (false, vec![Code::Unreadable]));
        assert_eq!(followed(&Scan { distrust: Distrust::default(), ..seen() }), (false, vec![Code::Unreadable]));
    }
}
