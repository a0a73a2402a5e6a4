//! The start of a committer whose database does not answer.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use service::{Backoff, Health, Shutdown};

use super::{Materials, Parts};
use crate::compute::Compute;
use crate::store::StoreErrorKind;
use crate::store::memory::{Call, Cut, Direct, Link, MemoryDatabase};
use crate::test_ledger::TestLedger;
use crate::{Ledger, system_clock};

/// Fails the first question for the position.
struct Failing(Mutex<Option<StoreErrorKind>>);

#[async_trait]
impl Link for Failing {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        let Call::Read("position") = call else { return Ok(()) };
        self.0.lock().expect("not poisoned").take().map_or(Ok(()), |kind| Err(Cut::Now(kind)))
    }

    async fn reply(&self, _call: Call<'_>) -> Result<(), StoreErrorKind> {
        Ok(())
    }
}

/// Begins an empty chain; returns how that ended, and how many entries it has.
async fn begin(kind: StoreErrorKind) -> (anyhow::Result<()>, u64) {
    let test_ledger = TestLedger::new("parts");
    let memory = MemoryDatabase::new(system_clock());
    let open = |link| memory.open(&test_ledger.id(), link).expect("opens");
    let moment = Duration::from_millis(1);
    let (parts, mut tasks) = Parts::new(Materials {
        store: open(Arc::new(Failing(Mutex::new(Some(kind))))),
        ledger: Ledger::new(test_ledger.genesis.clone(), test_ledger.grants.clone()).expect("valid"),
        log_key: None,
        topic: None,
        clock: system_clock(),
        compute: Compute::Threads,
        checkpoint_every: moment,
        heads_every: moment,
        backoff: Backoff::new(moment, moment),
        health: Health::new(),
    });
    let worker = tokio::spawn(tasks.chain.remove(0));
    let (stop, (serving, served)) = (Shutdown::new(), mpsc::channel());
    let stop_when_served = stop.clone();
    let serve = move || {
        serving.send(()).expect("waited for");
        stop_when_served.cancel();
    };
    let result = parts.lead(serve, stop).await;
    assert_eq!(served.try_recv().is_ok(), result.is_ok(), "served once it began, and only then");
    parts.stop_chain.cancel();
    worker.await.expect("no panic").expect("ends well");
    let size = open(Arc::new(Direct)).position().await.expect("reads").map_or(0, |position| position.next_seq);
    (result, size)
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_waited_for_and_one_that_must_not_be_used_is_not() {
    let (result, size) = begin(StoreErrorKind::Unavailable).await;
    assert_eq!((result.map_err(|error| error.to_string()), size), (Ok(()), 2));
    let (result, size) = begin(StoreErrorKind::Refused).await;
    assert!(result.is_err() && size == 0);
}
