//! The start of a committer whose database does not answer.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use service::{Backoff, Health, Shutdown};

use super::{Committer, CommitterParts};
use crate::compute::Compute;
use crate::failing_link::FailingLink;
use crate::store::StoreErrorKind;
use crate::store::memory::{Direct, Link, MemoryDatabase};
use crate::{Ledger, system_clock};
use testbed::statements::TestLedger;

/// Begins an empty chain; returns how that ended, and how many entries it has.
async fn begin(kind: StoreErrorKind) -> (anyhow::Result<()>, u64) {
    let test_ledger = TestLedger::new("parts");
    let memory = MemoryDatabase::new(system_clock());
    let open = |link: Arc<dyn Link>| memory.open(&test_ledger.id(), link).expect("opens");
    let moment = Duration::from_millis(1);
    let (committer, mut tasks) = Committer::new(CommitterParts {
        store: open(FailingLink::new("position", 0, kind)),
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
    let result = committer.lead(serve, stop).await;
    assert_eq!(served.try_recv().is_ok(), result.is_ok(), "served once it began, and only then");
    committer.stop_chain.cancel();
    worker.await.expect("no panic").expect("ends well");
    let size = open(Arc::new(Direct)).position().await.expect("reads").map_or(0, |position| position.next_seq);
    (result, size)
}

#[tokio::test]
async fn unreachable_database_is_awaited_refused_one_ends() {
    let (result, size) = begin(StoreErrorKind::Unavailable).await;
    assert_eq!((result.map_err(|error| error.to_string()), size), (Ok(()), 2));
    let (result, size) = begin(StoreErrorKind::Refused).await;
    assert!(result.is_err() && size == 0);
}
