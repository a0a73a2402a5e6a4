//! A short run, and the defects that the model must notice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::{Counts, Defect, Simulator};

const SEEDS: u64 = 2_000;

/// Events that must occur in a short run.
const EXPECTED: [&str; 46] = [
    "clocks apart",
    "clocks set back by an hour",
    "commitments delivered after their producer died",
    "commits orphaned",
    "commits done, reply lost",
    "commits lost in flight, outcome unknown",
    "committers frozen",
    "crashes of committers",
    "crashes of consumers",
    "deliveries with unknown outcome",
    "entries: epochs",
    "entries: gaps",
    "entries: heads",
    "entries: keys",
    "full databases restored",
    "halts: altered",
    "halts: cursor went back",
    "halts: key not granted",
    "halts: recreated",
    "halts: truncated",
    "last sealed events found compacted",
    "logs truncated below the cursor",
    "messages lost",
    "messages reordered",
    "new clients for a recreated topic",
    "new leaders",
    "databases replaced by an old copy",
    "orphaned commits carried out",
    "orphaned commits undone",
    "rebalances that leave a zombie",
    "refusals: clocks apart",
    "refusals: the database is behind what was signed",
    "refusals: the database went back",
    "refused statements",
    "database replies lost",
    "requests duplicated",
    "requests timed out",
    "retention past the cursor",
    "sealed events compacted away",
    "database sessions ended",
    "database calls cut",
    "topics recreated",
    "transaction markers and aborted records",
    "transaction conflicts",
    "transactions left open",
    "unsealed events compacted away",
];

#[test]
fn promises_hold_in_every_world() {
    let next = AtomicU64::new(0);
    let counts = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                let (mut simulator, mut of_thread) = (Simulator::default(), Counts::default());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        break;
                    }
                    match simulator.run(seed, None) {
                        Ok(of_seed) => of_thread.merge(&of_seed),
                        Err(finding) => panic!("{finding}"),
                    }
                }
                counts.lock().expect("not poisoned").merge(&of_thread);
            });
        }
    });
    let counts = counts.into_inner().expect("not poisoned");
    let absent: Vec<_> = EXPECTED.into_iter().filter(|what| counts.of(what) == 0).collect();
    assert!(absent.is_empty(), "never happened: {absent:?}");
}

#[test]
fn former_findings_stay_fixed() {
    // 129209: the model rejected the commitments of an old copy that had grown longer than the final chain.
    // 758303: a committer kept a chain that it had read partly from a database and partly from an old copy.
    for seed in [129_209, 758_303] {
        if let Err(finding) = Simulator::default().run(seed, None) {
            panic!("{finding}");
        }
    }
}

#[test]
fn seed_always_makes_the_same_world() {
    let mut simulator = Simulator::default();
    for seed in 0..20 {
        let first = simulator.trace(seed);
        assert!(first.len() > 20, "seed {seed}: the world has events");
        let mut other = Simulator::default();
        // A later world of a thread equals the first one.
        let _ = other.run(seed + 1, None);
        assert_eq!(other.trace(seed), first, "seed {seed}");
    }
}

/// The defect must be noticed within this many seeds, for one of these reasons.
fn assert_noticed(defect: Defect, seeds: u64, reasons: &[&str]) {
    let mut simulator = Simulator::default();
    for seed in 0..seeds {
        if let Err(finding) = simulator.run(seed, Some(defect)) {
            let is_expected = reasons.iter().any(|reason| finding.problem.contains(reason));
            assert!(is_expected, "{defect:?}, {}", finding.problem);
            assert!(finding.to_string().contains(&format!("--first {seed}")), "it names the command to run it again");
            return;
        }
    }
    panic!("{defect:?} was not noticed in {seeds} seeds");
}

#[test]
fn lost_commit_is_noticed() {
    assert_noticed(Defect::CommitForgotten, 100, &["but is in no chain", "the committer's cursor went back"]);
}

#[test]
fn cursor_without_entry_is_noticed() {
    assert_noticed(Defect::CursorWithoutEntry, 20, &["but the entries give"]);
}

#[test]
fn root_signed_again_is_noticed() {
    assert_noticed(Defect::SignsAgain, 3_000, &["never held what is sealed"]);
}

#[test]
fn rebuilt_high_water_file_is_noticed() {
    assert_noticed(Defect::NewHighWater, 1_000, &["were signed"]);
}

#[test]
fn lost_commitment_is_noticed() {
    assert_noticed(Defect::CommitmentsLost, 20, &["was published before entry"]);
}
