//! The contract of `Store` in memory, and the errors of its link.

use std::sync::Arc;

use super::Database;
use super::store::Writer;
use async_trait::async_trait;
use committer::store::memory::{Call, Cut, Direct, Link, MemoryDatabase};
use committer::store::{Lookup, Store, StoreErrorKind};
use committer::system_clock;
use evidence::SignedStatement;
use testbed::statements::TestLedger;

super::all::store_suite!(Database::memory());

/// Fails every commit before or after it is carried out.
#[derive(Clone, Copy)]
enum CutCommits {
    Before(Cut),
    After,
}

#[async_trait]
impl Link for CutCommits {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        match (self, call) {
            (Self::Before(cut), Call::Commit(_)) => Err(*cut),
            _ => Ok(()),
        }
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        match (self, call) {
            (Self::After, Call::Commit(_)) => Err(StoreErrorKind::Unavailable),
            _ => Ok(()),
        }
    }
}

struct Place {
    memory: MemoryDatabase,
    ledger: TestLedger,
    statement: SignedStatement,
    writer: Writer,
}

impl Place {
    fn new() -> Self {
        let ledger = TestLedger::new("memory");
        let writer = Writer::new(&ledger);
        Self { memory: MemoryDatabase::new(system_clock()), statement: ledger.genesis.clone(), ledger, writer }
    }

    fn store(&self, link: impl Link + 'static) -> Arc<dyn Store> {
        self.memory.open(&self.ledger.id(), Arc::new(link)).expect("opens")
    }

    /// Commits a genesis through a link. Returns the client's error.
    async fn commit(&mut self, link: impl Link + 'static) -> Option<StoreErrorKind> {
        let append = self.writer.append(std::slice::from_ref(&self.statement));
        let begun = self.store(link).begin(&[]).await.expect("begins");
        begun.transaction.commit(&append).await.err().map(|error| error.kind)
    }

    /// Whether the chain holds it.
    async fn is_there(&self) -> bool {
        let begun = self.store(Direct).begin(&[Lookup::from(&self.statement)]).await.expect("begins");
        !begun.known.is_empty()
    }
}

#[tokio::test]
async fn undelivered_commit_writes_nothing() {
    for kind in [StoreErrorKind::Conflict, StoreErrorKind::Unavailable, StoreErrorKind::Unknown] {
        let mut place = Place::new();
        assert_eq!(place.commit(CutCommits::Before(Cut::Now(kind))).await, Some(kind));
        assert!(!place.is_there().await);
    }
}

#[tokio::test]
async fn commit_with_a_lost_reply_is_unknown() {
    let mut place = Place::new();
    assert_eq!(place.commit(CutCommits::After).await, Some(StoreErrorKind::Unknown));
    assert!(place.is_there().await);
}

#[tokio::test]
async fn pending_commit_keeps_the_lock() {
    for carried_out in [true, false] {
        let mut place = Place::new();
        assert_eq!(place.commit(CutCommits::Before(Cut::Later)).await, Some(StoreErrorKind::Unknown));
        assert_eq!(place.memory.orphans(), 1);
        {
            let store = place.store(Direct);
            let mut next = std::pin::pin!(store.begin(&[]));
            assert!(poll_once(next.as_mut()).is_none(), "the outcome of the commit is not known yet");
            place.memory.settle_orphans(carried_out);
            assert_eq!(poll_once(next.as_mut()).expect("free").expect("begins").position.is_some(), carried_out);
        }
        assert_eq!(place.is_there().await, carried_out);
    }
}

#[tokio::test]
async fn ended_session_commits_nothing() {
    let mut place = Place::new();
    let append = place.writer.append(std::slice::from_ref(&place.statement));
    let store = place.store(Direct);
    let mut lease = store.publisher_lease().await.expect("asks").expect("free");
    let begun = store.begin(&[]).await.expect("begins");
    place.memory.end_sessions();
    let other = place.store(Direct).begin(&[]).await.expect("the lock is free");
    let error = begun.transaction.commit(&append).await.expect_err("the session ended");
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    drop(other);
    assert!(!place.is_there().await);
    assert!(!lease.is_held().await);
    let newer = store.publisher_lease().await.expect("asks");
    drop(lease);
    assert!(newer.expect("free").is_held().await, "the older one's end does not touch it");
}

/// One poll.
fn poll_once<T>(future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
