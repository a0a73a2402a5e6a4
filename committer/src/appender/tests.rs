//! The appender on a database that fails: not written, written all the same, or in the way of another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evidence::chain::{Position, Role};
use evidence::{Algorithm, SignedStatement};
use futures::future::join_all;
use service::{Health, Shutdown};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Appender, Candidate, Outcome, Parts, QUEUE_REQUESTS_MAX, Undecided};
use crate::changes::Changes;
use crate::compute::Compute;
use crate::signer::Verdict;
use crate::store::memory::{Call, Cut, Direct, Link, MemoryDatabase};
use crate::store::{Store, StoreError, StoreErrorKind};
use crate::test_ledger::{TestLedger, key, stream};
use crate::{fsck, system_clock};

/// A database with the beginning of a chain.
struct Database {
    ledger: TestLedger,
    memory: MemoryDatabase,
    store: Arc<dyn Store>,
}

/// What happens to the next transaction.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing.
    None,
    /// It does not begin.
    Begin(StoreErrorKind),
    /// It is not written.
    Lost(StoreErrorKind),
    /// It is written, and reported as unknown.
    Written,
}

/// A link with planned faults; after them all is well.
#[derive(Default)]
struct Planned {
    faults: Mutex<VecDeque<Fault>>,
    /// That of the transaction under way.
    now: Mutex<Option<Fault>>,
    /// How many transactions were begun.
    begun: AtomicUsize,
    /// What happens before the next reading of this name.
    before: Mutex<Option<(&'static str, Event)>>,
}

type Event = Box<dyn FnOnce() + Send>;

impl Planned {
    fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("not poisoned").extend(faults);
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
                *now = self.faults.lock().expect("not poisoned").pop_front();
            }
            Call::Commit(_) => {}
            _ => return Ok(()),
        }
        match (call, *now) {
            (Call::Begin, Some(Fault::Begin(kind))) | (Call::Commit(_), Some(Fault::Lost(kind))) => Err(Cut::Now(kind)),
            _ => Ok(()),
        }
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        match (call, *self.now.lock().expect("not poisoned")) {
            (Call::Commit(_), Some(Fault::Written)) => Err(StoreErrorKind::Unknown),
            _ => Ok(()),
        }
    }
}

/// A committer's appender on it.
struct Committer {
    link: Arc<Planned>,
    appender: Appender,
    worker: JoinHandle<Result<(), StoreError>>,
    stop: Shutdown,
    verdict: watch::Sender<Verdict>,
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

    fn committer(&self) -> Committer {
        let link = Arc::new(Planned::default());
        let stop = Shutdown::new();
        let (verdict, verdict_seen) = watch::channel(Verdict::Sound);
        let (seen, largest_seen) = watch::channel(None);
        let (appender, worker) = Appender::new(Parts {
            recent: None,
            store: self.memory.open(&self.ledger.id(), Arc::clone(&link) as Arc<dyn Link>).expect("opens"),
            ledger: self.ledger.id(),
            clock: system_clock(),
            compute: Compute::Threads,
            log_key: None,
            changes: Changes::new(),
            verdict: verdict_seen,
            seen: largest_seen,
            health: Health::new().component("appending"),
            stop: stop.clone(),
        });
        Committer { link, appender, worker: tokio::spawn(worker), stop, verdict, seen }
    }

    async fn size(&self) -> u64 {
        self.store.position().await.expect("reads").map_or(0, |p| p.next_seq)
    }

    async fn assert_sound(&self) {
        let report = fsck(&*self.store, &self.ledger.id(), |_, _| ()).await.expect("reads");
        assert!(report.is_sound(), "{report}");
    }
}

impl Committer {
    fn candidates(&self, statements: &[SignedStatement]) -> Vec<Candidate> {
        self.appender.prepare(statements.to_vec())
    }

    async fn append(&self, statements: &[SignedStatement]) -> Result<Outcome, Undecided> {
        self.appender.append(self.candidates(statements)).await
    }

    /// The seqs that statements got, all of which must be accepted.
    async fn seqs(&self, statements: &[SignedStatement]) -> Result<Vec<u64>, String> {
        let outcome = self.append(statements).await.map_err(|undecided| undecided.to_string())?;
        assert_eq!(outcome.refused, None);
        Ok(outcome.accepted.iter().map(|entry| entry.seq).collect())
    }

    async fn stop(self) -> Result<(), StoreError> {
        self.stop.cancel();
        self.worker.await.expect("no panic")
    }
}

#[tokio::test]
async fn a_transaction_in_the_way_of_another_is_tried_again() {
    let database = Database::new().await;
    let committer = database.committer();
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 3, None);
    let conflict = StoreErrorKind::Conflict;
    for (i, fault) in [Fault::Begin(conflict), Fault::Lost(conflict)].into_iter().enumerate() {
        committer.link.plan([fault, fault, fault]);
        assert_eq!(committer.seqs(&statements[i..=i]).await, Ok(vec![2 + i as u64]));
    }
    // Not for ever.
    committer.link.plan([Fault::Lost(conflict); 11]);
    assert!(committer.seqs(&statements[2..]).await.is_err());
    assert_eq!(committer.seqs(&statements[2..]).await, Ok(vec![4]));
    database.assert_sound().await;
}

#[tokio::test]
async fn whatever_fails_asking_again_tells_and_appends_once() {
    use StoreErrorKind::{Damaged, Unavailable, Unknown};
    let database = Database::new().await;
    let committer = database.committer();
    let faults = [
        Fault::Begin(Unavailable),
        Fault::Lost(Unavailable),
        Fault::Lost(Unknown),
        Fault::Written,
        Fault::Lost(Damaged),
    ];
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 3 * faults.len(), None);
    for (i, (fault, statements)) in faults.into_iter().zip(statements.chunks(3)).enumerate() {
        let first = 2 + 3 * i as u64;
        committer.link.plan([fault]);
        let undecided = committer.seqs(&statements[..2]).await;
        assert!(undecided.as_ref().is_err_and(|e| e.contains("the connection broke")), "{fault:?}: {undecided:?}");
        assert_eq!(committer.seqs(&statements[..2]).await, Ok(vec![first, first + 1]), "{fault:?}");
        assert_eq!(committer.seqs(&statements[1..]).await, Ok(vec![first + 1, first + 2]), "{fault:?}");
    }
    assert_eq!(database.size().await, 2 + statements.len() as u64);
    database.assert_sound().await;
}

#[tokio::test]
async fn a_disk_that_failed_ends_the_worker() {
    let database = Database::new().await;
    let committer = database.committer();
    committer.link.plan([Fault::Lost(StoreErrorKind::Broken)]);
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 1, None);
    assert!(committer.seqs(&statements).await.is_err());
    let error = committer.worker.await.expect("no panic").expect_err("it ends");
    assert_eq!(error.kind, StoreErrorKind::Broken);
    assert!(matches!(committer.appender.append_heads().await, Err(Undecided::Unavailable(_))));
    assert_eq!(database.size().await, 2);
}

/// What others were seen to append counts as what was committed here: a copy without it is not continued.
#[tokio::test]
async fn a_copy_without_what_others_appended_is_not_continued() {
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
            Err(Undecided::Unavailable(message)) => assert!(message.contains(problem), "{message}"),
            decided => panic!("{decided:?}, although the database {problem}"),
        }
    }
    assert_eq!(database.size().await, newest.next_seq);
    other.seen.send_replace(Some(newest));
    assert_eq!(other.seqs(&statements[2..]).await, Ok(vec![4]));
    database.assert_sound().await;
}

/// What another committer appends is taken over from the tables: streams, keys, and the place in the tree.
#[tokio::test]
async fn what_others_appended_is_continued() {
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
    // A stream that moved, one that is new, and a key that was granted since.
    let by_second = ledger.sign_summary(ledger.summary_of(&stream("tc", 0), 0, 10, None), &second);
    assert_eq!(one.seqs(&[&a[2..3], &b[2..3], &[by_second]].concat()).await, Ok(vec![7, 8, 9]));
    // Statements that the other appended, together with new ones.
    assert_eq!(other.seqs(&[&a[2..], &b[1..]].concat()).await, Ok(vec![7, 10, 5, 8, 11]));
    assert_eq!(one.seqs(&[&b[3..], &a[1..]].concat()).await, Ok(vec![11, 3, 7, 10]));
    database.assert_sound().await;
}

/// An old copy takes the database's place while a committer reads what another one appended, and the database comes back.
/// Whatever was asked then, no entry is made of a chain that was read half here and half there.
#[tokio::test]
async fn what_was_read_of_a_database_and_of_a_copy_of_it_is_not_continued() {
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
        // Nothing is appended for what the chain holds already.
        assert!(one.seqs(&mine[..1]).await.is_err(), "{reading}: the lock was lost");
        assert!(one.link.before.lock().expect("not poisoned").is_none(), "{reading}: it was replaced");
        database.memory.replace(&origin, newest);
        assert_eq!(one.seqs(&mine[1..]).await, Ok(vec![5]));
        database.assert_sound().await;
    }
}

#[tokio::test]
async fn the_queue_is_bounded_and_what_waits_is_answered_at_the_end() {
    let database = Database::new().await;
    let committer = database.committer();
    let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 1, None);
    // Nothing is decided while the signer has not spoken.
    committer.verdict.send_replace(Verdict::Checking);
    let append = || {
        let (appender, candidates) = (committer.appender.clone(), committer.candidates(&statements));
        tokio::spawn(async move { appender.append(candidates).await })
    };
    // The worker takes what comes first and waits; then the queue fills.
    let mut waiting = Vec::new();
    while committer.appender.queue.capacity() > 0 {
        waiting.push(append());
        tokio::task::yield_now().await;
    }
    assert!(waiting.len() > QUEUE_REQUESTS_MAX);
    assert!(matches!(committer.append(&statements).await, Err(Undecided::Busy)));
    committer.stop.cancel();
    committer.verdict.send_replace(Verdict::Sound);
    for answer in waiting {
        let outcome = answer.await.expect("no panic").expect("decided");
        assert_eq!(outcome.accepted.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2]);
    }
    assert!(matches!(committer.append(&statements).await, Err(Undecided::Unavailable(_))));
    committer.worker.await.expect("no panic").expect("ends well");
}

/// What waits is decided in one transaction up to a bound, so that the lock is given back.
#[tokio::test]
async fn a_transaction_has_so_many_statements_and_no_more() {
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

/// Two committers on one database, whose transactions fail in every way at random; each client asks until it is told.
#[tokio::test]
async fn every_offset_is_covered_once_whatever_fails() {
    use StoreErrorKind::{Conflict, Unavailable, Unknown};
    for seed in 0..8_u64 {
        let database = Database::new().await;
        let committers = [database.committer(), database.committer()];
        let mut random = seed;
        let mut faults = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match random >> 60 {
                0 => Fault::Begin(Unavailable),
                1 => Fault::Lost(Unavailable),
                2 | 3 => Fault::Lost(Unknown),
                4 | 5 => Fault::Written,
                6 => Fault::Begin(Conflict),
                7 => Fault::Lost(Conflict),
                _ => Fault::None,
            }
        };
        let statements = database.ledger.summaries(&stream("t", 0), 0, 10, 60, None);
        for committer in &committers {
            committer.link.plan((0..200).map(|_| faults()));
        }
        for (i, pair) in statements.chunks(2).enumerate() {
            let (a, b) = (&committers[i % 2], &committers[(i + 1) % 2]);
            // The same statements by both ways in, as after a failover.
            let ask = async |committer: &Committer| loop {
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

/// A link on which everything takes long.
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
async fn a_slow_answer_is_no_difference_of_clocks_and_hides_none() {
    for (database_off_ms, is_appended) in [(0, true), (60_000, false), (-60_000, false)] {
        let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = |off_ms| -> crate::Clock {
            let now_ms = Arc::clone(&now_ms);
            Arc::new(move || now_ms.load(Ordering::SeqCst) + off_ms)
        };
        let (ledger, stop) = (TestLedger::new("slow"), Shutdown::new());
        let memory = MemoryDatabase::new(clock(database_off_ms));
        let (appender, worker) = Appender::new(Parts {
            recent: None,
            store: memory.open(&ledger.id(), Arc::new(Slow { now_ms: Arc::clone(&now_ms) })).expect("opens"),
            ledger: ledger.id(),
            clock: clock(0),
            compute: Compute::Threads,
            log_key: None,
            changes: Changes::new(),
            verdict: watch::channel(Verdict::Sound).1,
            seen: watch::channel(None).1,
            health: Health::new().component("appending"),
            stop: stop.clone(),
        });
        let worker = tokio::spawn(worker);
        let outcome = appender.append(appender.prepare(ledger.beginning())).await;
        match outcome {
            Ok(outcome) => assert!(is_appended && outcome.refused.is_none(), "{database_off_ms}: {outcome:?}"),
            Err(undecided) => assert!(!is_appended && undecided.to_string().contains("clock"), "{undecided}"),
        }
        stop.cancel();
        worker.await.expect("no panic").expect("ends well");
    }
}
