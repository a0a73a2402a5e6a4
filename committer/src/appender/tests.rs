//! The appender on a database that fails: commits get lost, are written but not acknowledged, or conflict.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evidence::chain::{Position, Role};
use evidence::{Algorithm, SignedStatement};
use futures::future::join_all;
use service::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AppendError, Appender, AppenderParts, Candidate, Decision, QUEUE_REQUESTS_MAX};
use crate::soundness::Soundness;
use crate::store::memory::{Call, Cut, Direct, Link, MemoryDatabase};
use crate::store::{Store, StoreError, StoreErrorKind};
use crate::{fsck, system_clock};
use testbed::statements::{TestLedger, key, stream};

/// A database with the beginning of a chain.
struct Database {
    ledger: TestLedger,
    memory: MemoryDatabase,
    store: Arc<dyn Store>,
}

/// The error of a transaction.
#[derive(Debug, Clone, Copy)]
enum PlannedError {
    /// Nothing.
    None,
    /// The transaction does not begin.
    Begin(StoreErrorKind),
    /// It is not written.
    Lost(StoreErrorKind),
    /// It is written, and reported as unknown.
    Written,
}

/// A link with planned errors; later transactions work.
#[derive(Default)]
struct Planned {
    errors: Mutex<VecDeque<PlannedError>>,
    /// The error of the transaction in progress.
    now: Mutex<Option<PlannedError>>,
    /// How many transactions were begun.
    begun: AtomicUsize,
    /// What happens before the next read of this name.
    before: Mutex<Option<(&'static str, Event)>>,
}

type Event = Box<dyn FnOnce() + Send>;

impl Planned {
    fn plan(&self, errors: impl IntoIterator<Item = PlannedError>) {
        self.errors.lock().expect("not poisoned").extend(errors);
    }
}

#[async_trait]
impl Link for Planned {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        let happens = self
            .before
            .lock()
            .expect("not poisoned")
            .take_if(|(name, _)| matches!(call, Call::Read(read) if read == *name));
        if let Some((_, event)) = happens {
            event();
        }
        let mut now = self.now.lock().expect("not poisoned");
        match call {
            Call::Begin => {
                self.begun.fetch_add(1, Ordering::SeqCst);
                *now = self.errors.lock().expect("not poisoned").pop_front();
            }
            Call::Commit(_) => {}
            _ => return Ok(()),
        }
        match (call, *now) {
            (Call::Begin, Some(PlannedError::Begin(kind))) | (Call::Commit(_), Some(PlannedError::Lost(kind))) => {
                Err(Cut::Now(kind))
            }
            _ => Ok(()),
        }
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        match (call, *self.now.lock().expect("not poisoned")) {
            (Call::Commit(_), Some(PlannedError::Written)) => Err(StoreErrorKind::Unknown),
            _ => Ok(()),
        }
    }
}

/// A committer's appender on it.
struct TestCommitter {
    link: Arc<Planned>,
    appender: Appender,
    worker: JoinHandle<Result<(), StoreError>>,
    stop: Shutdown,
    soundness: watch::Sender<Soundness>,
    seen: watch::Sender<Option<Position>>,
}

impl Database {
    async fn new() -> Self {
        let ledger = TestLedger::new("appender");
        let memory = MemoryDatabase::new(system_clock());
        let store = memory.open(&ledger.id(), Arc::new(Direct)).expect("opens");
        let database = Self { ledger, memory, store };
        let committer = database.committer();
        assert_eq!(committer.seqs(&database.ledger.beginning()).await, Ok(vec![0, 1]));
        committer.stop().await.expect("ends well");
        database
    }

    fn committer(&self) -> TestCommitter {
        let link = Arc::new(Planned::default());
        let store = self.memory.open(&self.ledger.id(), Arc::clone(&link) as Arc<dyn Link>).expect("opens");
        let (soundness, soundness_known) = watch::channel(Soundness::Sound);
        let (seen, largest_seen) = watch::channel(None);
        let parts = AppenderParts::for_test(store, self.ledger.id());
        let stop = parts.stop.clone();
        let (appender, worker) =
            Appender::new(AppenderParts { soundness: soundness_known, seen: largest_seen, ..parts });
        TestCommitter { link, appender, worker: tokio::spawn(worker), stop, soundness, seen }
    }

    async fn size(&self) -> u64 {
        self.store.position().await.expect("reads").map_or(0, |p| p.next_seq)
    }

    async fn assert_sound(&self) {
        let report = fsck(&*self.store, &self.ledger.id(), |_, _| ()).await.expect("reads");
        assert!(report.is_sound(), "{report}");
    }
}

impl TestCommitter {
    fn candidates(&self, statements: &[SignedStatement]) -> Vec<Candidate> {
        self.appender.prepare(statements.to_vec())
    }

    async fn append(&self, statements: &[SignedStatement]) -> Result<Decision, AppendError> {
        self.appender.append(self.candidates(statements)).await
    }

    /// Appends statements that must be accepted. Returns their seqs.
    async fn seqs(&self, statements: &[SignedStatement]) -> Result<Vec<u64>, String> {
        let outcome = self.append(statements).await.map_err(|error| error.to_string())?;
        assert_eq!(outcome.refused, None);
        Ok(outcome.accepted.iter().map(|entry| entry.seq).collect())
    }

    async fn stop(self) -> Result<(), StoreError> {
        self.stop.cancel();
        self.worker.await.expect("no panic")
    }
}

#[tokio::test]
async fn conflicting_transaction_is_tried_again() {
    let database = Database::new().await;
    let committer = database.committer();
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 3, None);
    let conflict = StoreErrorKind::Conflict;
    for (i, planned) in [PlannedError::Begin(conflict), PlannedError::Lost(conflict)].into_iter().enumerate() {
        committer.link.plan([planned, planned, planned]);
        assert_eq!(committer.seqs(&statements[i..=i]).await, Ok(vec![2 + i as u64]));
    }
    // But not for ever.
    committer.link.plan([PlannedError::Lost(conflict); 11]);
    assert!(committer.seqs(&statements[2..]).await.is_err());
    assert_eq!(committer.seqs(&statements[2..]).await, Ok(vec![4]));
    database.assert_sound().await;
}

#[tokio::test]
async fn repeated_request_appends_once_after_any_error() {
    use StoreErrorKind::{Corrupt, Unavailable, Unknown};
    let database = Database::new().await;
    let committer = database.committer();
    let errors = [
        PlannedError::Begin(Unavailable),
        PlannedError::Lost(Unavailable),
        PlannedError::Lost(Unknown),
        PlannedError::Written,
        PlannedError::Lost(Corrupt),
    ];
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 3 * errors.len(), None);
    for (i, (planned, statements)) in errors.into_iter().zip(statements.chunks(3)).enumerate() {
        let first = 2 + 3 * i as u64;
        committer.link.plan([planned]);
        let error = committer.seqs(&statements[..2]).await;
        assert!(error.as_ref().is_err_and(|e| e.contains("the connection broke")), "{planned:?}: {error:?}");
        assert_eq!(committer.seqs(&statements[..2]).await, Ok(vec![first, first + 1]), "{planned:?}");
        assert_eq!(committer.seqs(&statements[1..]).await, Ok(vec![first + 1, first + 2]), "{planned:?}");
    }
    assert_eq!(database.size().await, 2 + statements.len() as u64);
    database.assert_sound().await;
}

#[tokio::test]
async fn disk_error_ends_the_worker() {
    let database = Database::new().await;
    let committer = database.committer();
    committer.link.plan([PlannedError::Lost(StoreErrorKind::DiskFailed)]);
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 1, None);
    assert!(committer.seqs(&statements).await.is_err());
    let error = committer.worker.await.expect("no panic").expect_err("it ends");
    assert_eq!(error.kind, StoreErrorKind::DiskFailed);
    assert!(matches!(committer.appender.append_heads().await, Err(AppendError::Unavailable(_))));
    assert_eq!(database.size().await, 2);
}

/// Entries seen from other committers count as committed here: a copy without them is not continued.
#[tokio::test]
async fn copy_without_others_entries_is_not_continued() {
    let database = Database::new().await;
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 3, None);
    let [one, other] = [database.committer(), database.committer()];
    assert_eq!(one.seqs(&statements[..1]).await, Ok(vec![2]));
    assert_eq!(other.seqs(&statements[1..2]).await, Ok(vec![3]));
    let newest = database.store.position().await.expect("reads").expect("there are entries");
    for (seen, problem) in [
        (Position { last_leaf: statements[0].hash(), ..newest }, "has another chain"),
        (Position { next_seq: newest.next_seq + 1, ..newest }, "went back"),
    ] {
        one.seen.send_replace(Some(seen));
        match one.append(&statements[2..]).await {
            Err(AppendError::Unavailable(message)) => assert!(message.contains(problem), "{message}"),
            decided => panic!("{decided:?}, although the database {problem}"),
        }
    }
    assert_eq!(database.size().await, newest.next_seq);
    other.seen.send_replace(Some(newest));
    assert_eq!(other.seqs(&statements[2..]).await, Ok(vec![4]));
    database.assert_sound().await;
}

/// What another committer appends is read from the tables: streams, keys, and the tree's edge.
#[tokio::test]
async fn chain_follows_other_committers() {
    let database = Database::new().await;
    let ledger = &database.ledger;
    let of = |topic: &str| ledger.summaries(&stream(topic, 0), 0, 10, 4, None);
    let (a, b) = (of("ta"), of("tb"));
    let [one, other] = [database.committer(), database.committer()];
    assert_eq!(one.seqs(&a[..1]).await, Ok(vec![2]));
    assert_eq!(other.seqs(&[&a[1..2], &b[..2]].concat()).await, Ok(vec![3, 4, 5]));
    let second = key("ingest-b", Algorithm::Ed25519, "second");
    let granted = ledger.grant(ledger.grants[0].hash(), Role::Ingest, &second);
    assert_eq!(other.seqs(&[granted]).await, Ok(vec![6]));
    // A moved stream, a new one, and a key granted since.
    let by_second = ledger.sign_summary(ledger.summary_of(&stream("tc", 0), 0, 10, None), &second);
    assert_eq!(one.seqs(&[&a[2..3], &b[2..3], &[by_second]].concat()).await, Ok(vec![7, 8, 9]));
    // Statements that the other appended, together with new ones.
    assert_eq!(other.seqs(&[&a[2..], &b[1..]].concat()).await, Ok(vec![7, 10, 5, 8, 11]));
    assert_eq!(one.seqs(&[&b[3..], &a[1..]].concat()).await, Ok(vec![11, 3, 7, 10]));
    database.assert_sound().await;
}

/// An old copy replaces the database while a committer reads what another one appended, and then the database is back.
/// No entry may continue a chain that was read half from each.
#[tokio::test]
async fn mixed_reads_of_two_copies_are_not_continued() {
    for reading in ["ledger_entries", "moved_streams"] {
        let database = Database::new().await;
        let ledger = &database.ledger;
        let origin = ledger.id().origin;
        let [one, other] = [database.committer(), database.committer()];
        let mine = ledger.summaries(&stream("ta", 0), 0, 10, 2, None);
        assert_eq!(one.seqs(&mine[..1]).await, Ok(vec![2]));
        let old = database.memory.tables(&origin);
        let second = key("ingest-b", Algorithm::Ed25519, "second");
        let granted = ledger.grant(ledger.grants[0].hash(), Role::Ingest, &second);
        let theirs = ledger.summaries(&stream("tb", 0), 0, 10, 1, None);
        assert_eq!(other.seqs(&[&[granted], &*theirs].concat()).await, Ok(vec![3, 4]));
        let newest = database.memory.tables(&origin);

        let memory = database.memory.clone();
        let (copy, of) = (old, origin.clone());
        let replaced = move || {
            memory.replace(&of, copy);
            memory.end_sessions();
        };
        *one.link.before.lock().expect("not poisoned") = Some((reading, Box::new(replaced)));
        // The chain already holds this, so nothing is appended.
        assert!(one.seqs(&mine[..1]).await.is_err(), "{reading}: the lock was lost");
        assert!(one.link.before.lock().expect("not poisoned").is_none(), "{reading}: it was replaced");
        database.memory.replace(&origin, newest);
        assert_eq!(one.seqs(&mine[1..]).await, Ok(vec![5]));
        database.assert_sound().await;
    }
}

#[tokio::test]
async fn queue_is_bounded_and_answered_at_the_end() {
    let database = Database::new().await;
    let committer = database.committer();
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 1, None);
    // Nothing is decided before the signer has checked.
    committer.soundness.send_replace(Soundness::Unchecked);
    let append = || {
        let (appender, candidates) = (committer.appender.clone(), committer.candidates(&statements));
        tokio::spawn(async move { appender.append(candidates).await })
    };
    // The worker takes the first request and waits; then the queue fills.
    let mut waiting = Vec::new();
    while committer.appender.queue.capacity() > 0 {
        waiting.push(append());
        tokio::task::yield_now().await;
    }
    assert!(waiting.len() > QUEUE_REQUESTS_MAX);
    assert!(matches!(committer.append(&statements).await, Err(AppendError::Busy)));
    committer.stop.cancel();
    committer.soundness.send_replace(Soundness::Sound);
    for answer in waiting {
        let outcome = answer.await.expect("no panic").expect("decided");
        assert_eq!(outcome.accepted.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2]);
    }
    assert!(matches!(committer.append(&statements).await, Err(AppendError::Unavailable(_))));
    committer.worker.await.expect("no panic").expect("ends well");
}

/// A transaction decides a bounded number of waiting statements, so that the lock is released.
#[tokio::test]
async fn statements_per_transaction_are_bounded() {
    let database = Database::new().await;
    let committer = database.committer();
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 1_000, None);
    assert_eq!(committer.seqs(&statements).await.map(|seqs| seqs.len()), Ok(1_000));
    let requests: Vec<_> = (0..7).map(|_| committer.candidates(&statements)).collect();
    let before = committer.link.begun.load(Ordering::SeqCst);
    // The worker runs when all of them wait.
    let answers = join_all(requests.into_iter().map(|request| committer.appender.append(request))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|outcome| outcome.accepted.len() == 1_000)));
    assert_eq!(committer.link.begun.load(Ordering::SeqCst) - before, 3, "of three requests, three, and one");
}

/// Two committers on one database, whose transactions fail at random. Each client asks until it gets an answer.
#[tokio::test]
async fn every_offset_is_covered_once_despite_errors() {
    use StoreErrorKind::{Conflict, Unavailable, Unknown};
    for seed in 0..8_u64 {
        let database = Database::new().await;
        let committers = [database.committer(), database.committer()];
        let mut random = seed;
        let mut errors = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match random >> 60 {
                0 => PlannedError::Begin(Unavailable),
                1 => PlannedError::Lost(Unavailable),
                2 | 3 => PlannedError::Lost(Unknown),
                4 | 5 => PlannedError::Written,
                6 => PlannedError::Begin(Conflict),
                7 => PlannedError::Lost(Conflict),
                _ => PlannedError::None,
            }
        };
        let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 60, None);
        for committer in &committers {
            committer.link.plan((0..200).map(|_| errors()));
        }
        for (i, pair) in statements.chunks(2).enumerate() {
            let (a, b) = (&committers[i % 2], &committers[(i + 1) % 2]);
            // The same statements through both committers, as after a failover.
            let ask = async |committer: &TestCommitter| loop {
                if let Ok(seqs) = committer.seqs(pair).await {
                    break seqs;
                }
            };
            let (first, second) = tokio::join!(ask(a), ask(b));
            let expected = vec![2 + 2 * i as u64, 3 + 2 * i as u64];
            assert_eq!((&first, &second), (&expected, &expected), "seed {seed}");
        }
        assert_eq!(database.size().await, 62, "seed {seed}");
        database.assert_sound().await;
    }
}

/// A link on which every call takes long.
struct Slow {
    now_ms: Arc<AtomicI64>,
}

#[async_trait]
impl Link for Slow {
    async fn request(&self, _call: Call<'_>) -> Result<(), Cut> {
        self.now_ms.fetch_add(7_000, Ordering::SeqCst);
        Ok(())
    }

    async fn reply(&self, _call: Call<'_>) -> Result<(), StoreErrorKind> {
        self.now_ms.fetch_add(7_000, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn slow_answer_neither_fakes_nor_hides_clock_difference() {
    for (database_off_ms, is_appended) in [(0, true), (60_000, false), (-60_000, false)] {
        let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = |off_ms| -> crate::Clock {
            let now_ms = Arc::clone(&now_ms);
            Arc::new(move || now_ms.load(Ordering::SeqCst) + off_ms)
        };
        let ledger = TestLedger::new("slow");
        let memory = MemoryDatabase::new(clock(database_off_ms));
        let store = memory.open(&ledger.id(), Arc::new(Slow { now_ms: Arc::clone(&now_ms) })).expect("opens");
        let parts = AppenderParts::for_test(store, ledger.id());
        let stop = parts.stop.clone();
        let (appender, worker) = Appender::new(AppenderParts { clock: clock(0), ..parts });
        let worker = tokio::spawn(worker);
        let outcome = appender.append(appender.prepare(ledger.beginning())).await;
        match outcome {
            Ok(outcome) => assert!(is_appended && outcome.refused.is_none(), "{database_off_ms}: {outcome:?}"),
            Err(error) => assert!(!is_appended && error.to_string().contains("clock"), "{error}"),
        }
        stop.cancel();
        worker.await.expect("no panic").expect("ends well");
    }
}
