//! The signer on a database that is forged, corrupt or unreachable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evidence::{SignedStatement, StreamId};
use service::{Backoff, Health, Shutdown};
use tempfile::TempDir;
use tokio::sync::watch;

use super::error::SignerError;
use super::{Replay, Signer, SignerParts};
use crate::appender::{Appender, AppenderParts};
use crate::checkpoints::Checkpoints;
use crate::compute::Compute;
use crate::failing_link::FailingLink;
use crate::handoff::Handoff;
use crate::log_key::LogKey;
use crate::soundness::Soundness;
use crate::store::memory::{Call, Cut, Direct, Link, MemoryDatabase, Tables};
use crate::store::{Store, StoreErrorKind};
use crate::{Ledger, system_clock};
use testbed::statements::{ORIGIN, TestLedger, stream};

/// Shows a forged copy from the read of the newest heads entry until the streams are read.
struct Liar {
    memory: MemoryDatabase,
    lie: Tables,
    truth: Mutex<Option<Tables>>,
}

#[async_trait]
impl Link for Liar {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        if let Call::Read("heads_entry") = call {
            *self.truth.lock().expect("not poisoned") = Some(self.memory.tables(ORIGIN));
            self.memory.replace(ORIGIN, self.lie.clone());
        }
        Ok(())
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        if let Call::Read("newest_entries") = call
            && let Some(truth) = self.truth.lock().expect("not poisoned").take()
        {
            self.memory.replace(ORIGIN, truth);
        }
        Ok(())
    }
}

struct Place {
    ledger: TestLedger,
    memory: MemoryDatabase,
    keys: TempDir,
}

impl Place {
    fn new() -> Self {
        let ledger = TestLedger::new("signer");
        Self { ledger, memory: MemoryDatabase::new(system_clock()), keys: tempfile::tempdir().expect("a folder") }
    }

    fn open(&self, link: Arc<dyn Link>) -> Arc<dyn Store> {
        self.memory.open(&self.ledger.id(), link).expect("opens")
    }

    async fn append(&self, statements: &[SignedStatement], with_heads: bool) {
        self.append_and_hand(statements, with_heads, None).await;
    }

    async fn append_and_hand(&self, statements: &[SignedStatement], with_heads: bool, handoff: Option<Handoff>) {
        let log_key = Some(Arc::new(self.ledger.log.clone()));
        let parts = AppenderParts::for_test(self.open(Arc::new(Direct)), self.ledger.id());
        let stop = parts.stop.clone();
        let (appender, worker) = Appender::new(AppenderParts { handoff, log_key, ..parts });
        let worker = tokio::spawn(worker);
        let outcome = appender.append(appender.prepare(statements.to_vec())).await.expect("decided");
        assert_eq!(outcome.refused, None);
        if with_heads {
            appender.append_heads().await.expect("decided");
        }
        stop.cancel();
        worker.await.expect("no panic").expect("ends well");
    }

    fn signer(&self, link: Arc<dyn Link>) -> Signer {
        let path = self.keys.path().join("log.key");
        let ledger = Ledger::new(self.ledger.genesis.clone(), self.ledger.grants.clone()).expect("valid");
        let log_key = LogKey::open(self.ledger.log.clone(), &path, &ledger).expect("a log key");
        let second = std::time::Duration::from_secs(1);
        Signer::new(SignerParts {
            store: self.open(link),
            ledger: self.ledger.id(),
            log_key,
            interval: second,
            backoff: Backoff::new(second, second),
            compute: Compute::Threads,
            handoff: None,
            soundness: watch::channel(Soundness::Unchecked).0,
            health: Health::new().component("signing"),
        })
    }
}

#[tokio::test]
async fn streams_need_a_heads_statement_to_be_trusted() {
    let place = Place::new();
    let beginning = place.ledger.beginning();
    let quiet = place.ledger.summary(&stream("t", 0), 0, 10, None);
    let busy = place.ledger.summaries(&stream("t", 1), 0, 10, 3, None);
    place.append(&[beginning, vec![quiet]].concat(), true).await;
    // Entries 4 to 6.
    place.append(&busy, false).await;
    place.signer(Arc::new(Direct)).round(&Shutdown::new()).await.expect("it is sound");

    // Calls entry 5 the heads entry, and leaves out the quiet stream.
    let mut lie = place.memory.tables(ORIGIN);
    for (seq, kind) in [(3, "summary"), (5, "heads")] {
        let row = lie.entries.get_mut(&seq).expect("there");
        assert_eq!(row.kind == "heads", seq == 3);
        Arc::make_mut(row).kind = kind.to_owned();
    }
    let number = lie.streams.values().find(|row| row.state.id == stream("t", 0)).expect("there").number;
    lie.streams.remove(&number);
    // Also if only the high-water file says what was signed.
    for with_checkpoint in [true, false] {
        if !with_checkpoint {
            let mut truth = place.memory.tables(ORIGIN);
            (truth.checkpoint, lie.checkpoint) = (None, None);
            place.memory.replace(ORIGIN, truth);
        }
        let liar = Liar { memory: place.memory.clone(), lie: lie.clone(), truth: Mutex::default() };
        let mut signer = place.signer(Arc::new(liar));
        signer.round(&Shutdown::new()).await.expect("read from its first entry on it is sound");
        assert_eq!(signer.replay.chain().size(), 7);
        assert!(
            signer.replay.chain().state().stream(&stream("t", 0)).is_some(),
            "sealed from offset 0 again otherwise"
        );
    }
}

#[tokio::test]
async fn filling_handoff_is_read_before_a_checkpoint() {
    let (place, link) = (Place::new(), Arc::new(FailingLink::default()));
    let beginning = place.ledger.beginning();
    place.append(&beginning, false).await;
    let handoff = Handoff::new(16);
    let mut signer = place.signer(Arc::<FailingLink>::clone(&link));
    signer.handoff = Some(handoff.clone());
    signer.replay = Replay::new(&place.ledger.id(), Compute::Threads, Some(handoff.clone()));
    // Never due in this test.
    signer.interval = Duration::from_secs(3_600);
    signer.round(&Shutdown::new()).await.expect("it is sound");
    let (begun, signed) = (signer.replay.chain().size(), signer.stored_size);
    assert_eq!(begun, signed);
    let summaries = place.ledger.summaries(&stream("t", 1), 0, 10, 15, None);
    let (_changes, mut changed) = watch::channel(0);

    // Four may wait.
    place.append_and_hand(&summaries[..4], false, Some(handoff.clone())).await;
    let stop = Shutdown::new();
    let told = async { stop.cancel() };
    let (result, ()) = tokio::join!(signer.until_due(&mut changed, &stop), told);
    result.expect("it is sound");
    assert_eq!(signer.replay.chain().size(), begun);

    place.append_and_hand(&summaries[4..], false, Some(handoff.clone())).await;
    let stop = Shutdown::new();
    let taken = async {
        while !handoff.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let reading = async { tokio::join!(signer.until_due(&mut changed, &stop), taken) };
    let (result, ()) = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("they are taken");
    result.expect("it is sound");
    assert_eq!((signer.replay.chain().size(), signer.stored_size), (begun + 15, signed), "read back and not signed");

    // A disk error while waiting ends the service, although the entries would be read again.
    let more = place.ledger.summaries(&stream("t", 2), 0, 10, 8, None);
    place.append_and_hand(&more, false, Some(handoff)).await;
    link.plan("position", 0, StoreErrorKind::DiskFailed);
    let stop = Shutdown::new();
    let reading = tokio::time::timeout(Duration::from_secs(30), signer.until_due(&mut changed, &stop));
    let error = reading.await.expect("ends").expect_err("the disk failed");
    assert!(error.is_fatal(), "{error}");
}

fn unsound(result: Result<(), SignerError>) -> String {
    match result {
        Err(SignerError::Unsound(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// Before it signs, a start reads only what follows the newest heads statement. Each later round reads a thousand of the
/// earlier entries.
#[tokio::test]
async fn start_reads_the_newest_part_first() {
    let place = Place::new();
    let (long, gap, renewed) = (stream("t", 0), stream("t", 1), stream("t", 2));
    let summaries = place.ledger.summaries(&long, 0, 10, 2_200, None);
    let ended = place.ledger.summary(&renewed, 0, 10, None);
    let of_renewed = renewed.partition.stream(1);
    let others = [place.ledger.gap(&gap, 0, 10, None), place.ledger.epoch(&of_renewed, 10, 10, ended.hash())];
    let statements = [&place.ledger.beginning()[..], &summaries[..2_100], &[ended], &others].concat();
    place.append(&statements, true).await;
    place.append(&summaries[2_100..2_150], false).await;
    let round = async |signer: &mut Signer| signer.round(&Shutdown::new()).await;
    round(&mut place.signer(Arc::new(Direct))).await.expect("it is sound");
    // More entries than were signed.
    let size = 2 + 2_100 + 3 + 1 + 100;
    place.append(&summaries[2_150..], false).await;

    let link = Arc::new(FailingLink::default());
    let mut signer = place.signer(Arc::<FailingLink>::clone(&link));
    round(&mut signer).await.expect("it is sound");
    assert_eq!((signer.stored_size, signer.replay.chain().size()), (size, size));
    let state = signer.replay.chain().state();
    let next = |of: &StreamId| state.stream(of).map(|state| state.next);
    assert_eq!([&long, &gap, &of_renewed].map(next), [Some(22_000), Some(10), Some(10)]);
    // Up to the head that was signed, what follows it, and the first thousand.
    assert_eq!(link.count("rows"), 3);
    for rounds in 1..=2 {
        assert!(signer.phase.is_reading_earlier());
        round(&mut signer).await.expect("it is sound");
        assert_eq!(link.count("rows"), 3 + rounds);
    }
    assert!(!signer.phase.is_reading_earlier());
    drop(signer);

    // A disk error while reading earlier entries ends the service; an unreachable database does not.
    for (kind, fatal) in [(StoreErrorKind::DiskFailed, true), (StoreErrorKind::Unavailable, false)] {
        let mut signer = place.signer(FailingLink::new("rows", 1, kind));
        assert_eq!(round(&mut signer).await.map_err(|error| error.is_fatal()), if fatal { Err(true) } else { Ok(()) });
    }
    // The signer does not fall back to the first entry then, as it does if the tables do not fit together.
    let error = round(&mut place.signer(FailingLink::new("heads_entry", 0, StoreErrorKind::DiskFailed))).await;
    assert!(error.is_err_and(|error| error.is_fatal()));
    let mut damaged = place.memory.tables(ORIGIN);
    let heads = damaged.entries.values().rposition(|row| row.kind == "heads").expect("there") as u64;
    Arc::make_mut(damaged.entries.get_mut(&heads).expect("there")).bytes = b"nothing".to_vec();
    place.memory.replace(ORIGIN, damaged);
    let problem = unsound(round(&mut place.signer(Arc::new(Direct))).await);
    assert!(problem.contains(&format!("not hold a valid chain: entry {heads}: ")), "{problem}");
}

/// An unreadable entry stops appending, as a contradiction does.
#[tokio::test]
async fn corrupt_key_entry_is_unsound() {
    let place = Place::new();
    place.append(&place.ledger.beginning(), false).await;
    let mut damaged = place.memory.tables(ORIGIN);
    Arc::make_mut(damaged.entries.get_mut(&1).expect("the grant")).bytes = b"nothing".to_vec();
    place.memory.replace(ORIGIN, damaged);
    let problem = unsound(place.signer(Arc::new(Direct)).round(&Shutdown::new()).await);
    assert!(problem.contains("entry 1: "), "{problem}");
}

/// A wrong row is reported again although its entry was applied.
#[tokio::test]
async fn wrong_row_of_the_newest_entry_stays_wrong() {
    let place = Place::new();
    place.append(&place.ledger.beginning(), false).await;
    let (good, mut bad) = (place.memory.tables(ORIGIN), place.memory.tables(ORIGIN));
    Arc::make_mut(bad.entries.get_mut(&1).expect("the grant")).kind = "gap".to_owned();
    place.memory.replace(ORIGIN, bad);
    let mut signer = place.signer(Arc::new(Direct));
    for _ in 0..2 {
        let problem = unsound(signer.round(&Shutdown::new()).await);
        assert!(problem.contains("entry 1: its column kind"), "{problem}");
        assert_eq!(signer.stored_size, 0, "nothing was signed");
    }
    place.memory.replace(ORIGIN, good);
    signer.round(&Shutdown::new()).await.expect("it is sound");
    assert_eq!(signer.stored_size, 2);
}

/// Entries that were read back must stay, signed or not.
#[tokio::test]
async fn replaced_chain_is_noticed() {
    let place = Place::new();
    place.append(&place.ledger.beginning(), false).await;
    let mut signer = place.signer(Arc::new(Direct));
    signer.round(&Shutdown::new()).await.expect("it is sound");
    let signed = place.memory.tables(ORIGIN);
    place.append(&[place.ledger.summary(&stream("ta", 0), 0, 10, None)], false).await;
    let read_back = place.memory.tables(ORIGIN);
    signer.read_new(&Shutdown::new()).await.expect("it is sound");
    place.memory.replace(ORIGIN, signed);
    let shorter = unsound(signer.round(&Shutdown::new()).await);
    place.append(&[place.ledger.summary(&stream("tb", 0), 0, 10, None)], false).await;
    let other = unsound(signer.round(&Shutdown::new()).await);
    assert!(
        shorter.contains("another chain: 2 entries") && other.contains("another chain: 3 entries"),
        "{shorter} {other}"
    );
    place.memory.replace(ORIGIN, read_back);
    signer.round(&Shutdown::new()).await.expect("it is sound");
    assert_eq!(signer.stored_size, 3);
}

#[tokio::test]
async fn disk_error_in_the_last_round_is_returned() {
    let place = Place::new();
    place.append(&place.ledger.beginning(), false).await;
    let stop = Shutdown::new();
    stop.cancel();
    for (kind, fatal) in [(StoreErrorKind::DiskFailed, true), (StoreErrorKind::Unavailable, false)] {
        let signer = place.signer(FailingLink::new("position", 0, kind));
        assert_eq!(signer.run(watch::channel(0).1, stop.clone()).await.is_err(), fatal, "{kind:?}");
    }
}

/// Counts the reads of the key entries, and lets other tasks run meanwhile.
#[derive(Default)]
struct Slow(AtomicUsize);

#[async_trait]
impl Link for Slow {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        if let Call::Read("key_entries") = call {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn reply(&self, _call: Call<'_>) -> Result<(), StoreErrorKind> {
        Ok(())
    }
}

#[tokio::test]
async fn concurrent_readers_verify_a_checkpoint_once() {
    let place = Place::new();
    place.append(&place.ledger.beginning(), false).await;
    place.signer(Arc::new(Direct)).round(&Shutdown::new()).await.expect("it is sound");
    let link = Arc::new(Slow::default());
    let checkpoints = Checkpoints::new(place.open(Arc::<Slow>::clone(&link)), place.ledger.id());
    let asked = tokio::join!(checkpoints.newest(), checkpoints.newest(), checkpoints.newest());
    for answer in [asked.0, asked.1, asked.2] {
        assert_eq!(answer.expect("it answers").expect("signed").head.size, 2);
    }
    assert_eq!(link.0.load(Ordering::Relaxed), 1);
}
