//! The signer on a database that lies at its start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evidence::SignedStatement;
use service::{Backoff, Health, Shutdown};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Parts, Replay, Signer, Verdict};
use crate::appender::{self, Appender};
use crate::changes::Changes;
use crate::compute::Compute;
use crate::parts::LogKey;
use crate::recent::Recent;
use crate::store::memory::{Call, Cut, Direct, Link, MemoryDatabase, Tables};
use crate::store::{Store, StoreErrorKind};
use crate::system_clock;
use crate::test_ledger::{ORIGIN, TestLedger, stream};

/// Shows a false copy from the question for the newest heads entry on to the answer that names the streams.
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

    async fn append_and_hand(&self, statements: &[SignedStatement], with_heads: bool, recent: Option<Recent>) {
        let stop = Shutdown::new();
        let (appender, worker) = Appender::new(appender::Parts {
            recent,
            store: self.open(Arc::new(Direct)),
            ledger: self.ledger.id(),
            clock: system_clock(),
            compute: Compute::Threads,
            log_key: Some(Arc::new(self.ledger.log.clone())),
            changes: Changes::new(),
            verdict: watch::channel(Verdict::Sound).1,
            seen: watch::channel(None).1,
            health: Health::new().component("appending"),
            stop: stop.clone(),
        });
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
        let path = self.keys.path().join("log.key.high-water");
        let high_water = keystore::HighWater::open(&path, ORIGIN).expect("opens");
        let second = std::time::Duration::from_secs(1);
        Signer::new(Parts {
            store: self.open(link),
            ledger: self.ledger.id(),
            log_key: LogKey { key: Arc::new(self.ledger.log.clone()), high_water, is_first: true },
            interval: second,
            backoff: Backoff::new(second, second),
            compute: Compute::Threads,
            recent: None,
            verdict: watch::channel(Verdict::Checking).0,
            health: Health::new().component("signing"),
        })
    }
}

#[tokio::test]
async fn streams_that_no_heads_statement_vouches_for_are_not_believed() {
    let place = Place::new();
    let beginning = [vec![place.ledger.genesis.clone()], place.ledger.grants.clone()].concat();
    let quiet = place.ledger.summary(&stream("t", 0), 0, 10, None);
    let busy = place.ledger.summaries(&stream("t", 1), 0, 10, 3, None);
    place.append(&[beginning, vec![quiet]].concat(), true).await;
    // Entries 4 to 6.
    place.append(&busy, false).await;
    place.signer(Arc::new(Direct)).round(&Shutdown::new()).await.expect("it is sound");

    // Entry 5 in the place of the heads entry, and the quiet stream left out.
    let mut lie = place.memory.tables(ORIGIN);
    for (seq, kind) in [(3, "summary"), (5, "heads")] {
        let row = lie.entries.get_mut(&seq).expect("there");
        assert_eq!(row.kind == "heads", seq == 3);
        Arc::make_mut(row).kind = kind.to_owned();
    }
    let number = lie.streams.values().find(|row| row.head.id == stream("t", 0)).expect("there").number;
    lie.streams.remove(&number);
    let liar = Liar { memory: place.memory.clone(), lie, truth: Mutex::default() };
    let mut signer = place.signer(Arc::new(liar));
    signer.round(&Shutdown::new()).await.expect("read from its first entry on it is sound");
    assert_eq!(signer.replay.chain().size(), 7);
    assert!(signer.replay.chain().state().stream(&stream("t", 0)).is_some(), "sealed from offset 0 again otherwise");
}

/// Fails the question for the position once it is told to.
#[derive(Default)]
struct Broken(AtomicBool);

#[async_trait]
impl Link for Broken {
    async fn request(&self, _call: Call<'_>) -> Result<(), Cut> {
        Ok(())
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        match call {
            Call::Read("position") if self.0.swap(false, Ordering::SeqCst) => Err(StoreErrorKind::Broken),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_would_be_forgotten_is_read_back_before_a_checkpoint_is_due() {
    let (place, link) = (Place::new(), Arc::new(Broken::default()));
    let beginning = [vec![place.ledger.genesis.clone()], place.ledger.grants.clone()].concat();
    place.append(&beginning, false).await;
    let recent = Recent::new(16);
    let mut signer = place.signer(Arc::<Broken>::clone(&link));
    signer.recent = Some(recent.clone());
    signer.replay = Replay::new(&place.ledger.id(), Compute::Threads, Some(recent.clone()));
    // Never due in this test.
    signer.interval = Duration::from_secs(3_600);
    signer.round(&Shutdown::new()).await.expect("it is sound");
    let (begun, signed) = (signer.replay.chain().size(), signer.stored);
    assert_eq!(begun, signed);
    let summaries = place.ledger.summaries(&stream("t", 1), 0, 10, 15, None);
    let (_changes, mut changed) = watch::channel(0);

    // Four may wait.
    place.append_and_hand(&summaries[..4], false, Some(recent.clone())).await;
    let stop = Shutdown::new();
    let told = async { stop.cancel() };
    let (result, ()) = tokio::join!(signer.until_due(&mut changed, &stop), told);
    result.expect("it is sound");
    assert_eq!(signer.replay.chain().size(), begun);

    place.append_and_hand(&summaries[4..], false, Some(recent.clone())).await;
    let stop = Shutdown::new();
    let taken = async {
        while !recent.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let reading = async { tokio::join!(signer.until_due(&mut changed, &stop), taken) };
    let (result, ()) = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("they are taken");
    result.expect("it is sound");
    assert_eq!((signer.replay.chain().size(), signer.stored), (begun + 15, signed), "read back and not signed");

    // A disk that failed while reading along ends the service, although it would be read again.
    let more = place.ledger.summaries(&stream("t", 2), 0, 10, 8, None);
    place.append_and_hand(&more, false, Some(recent)).await;
    link.0.store(true, Ordering::SeqCst);
    let stop = Shutdown::new();
    let reading = tokio::time::timeout(Duration::from_secs(30), signer.until_due(&mut changed, &stop));
    let trouble = reading.await.expect("ends").expect_err("the disk failed");
    assert!(trouble.is_fatal(), "{trouble}");
}
