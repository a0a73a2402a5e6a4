//! Looks at the database now and then: other committers may have appended, or it may be away.

use std::sync::Arc;
use std::time::Duration;

use evidence::chain::Position;
use service::{Component, Shutdown};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::store::{Store, StoreError, StoreErrorKind};

const EVERY: Duration = Duration::from_secs(1);

/// Announces changes of the chain's position, keeps the largest in `seen`, and shows whether the database answers, until
/// `stop`.
///
/// # Errors
/// When the disk failed under the database: the service ends.
pub(crate) async fn watch(
    store: Arc<dyn Store>,
    changes: Changes,
    seen: watch::Sender<Option<Position>>,
    health: Component,
    stop: Shutdown,
) -> Result<(), StoreError> {
    let mut known = None;
    let mut away = false;
    while !stop.is_cancelled() {
        match store.position().await {
            Ok(position) => {
                if std::mem::take(&mut away) {
                    tracing::info!("the database answers again");
                }
                health.ready();
                if known != position {
                    known = position;
                    seen.send_if_modified(|seen| {
                        let is_more = size(position) > size(*seen);
                        if is_more {
                            *seen = position;
                        }
                        is_more
                    });
                    changes.announce();
                }
            }
            Err(error) if error.kind == StoreErrorKind::Broken => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::error!("{error}; trying again");
                }
                health.not_ready(error.to_string());
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    Ok(())
}

fn size(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.next_seq)
}

#[cfg(test)]
mod tests {
    use service::Health;

    use super::*;
    use crate::failing::Failing;
    use crate::store::memory::{Link, MemoryDatabase};
    use crate::system_clock;
    use crate::test_ledger::{ORIGIN, TestLedger};

    #[tokio::test]
    async fn the_largest_position_is_kept_and_a_failed_disk_ends_it() {
        let ledger = TestLedger::new("watcher");
        let (memory, link) = (MemoryDatabase::new(system_clock()), Arc::new(Failing::default()));
        let store = memory.open(&ledger.id(), Arc::<Failing>::clone(&link) as Arc<dyn Link>).expect("opens");
        let (changes, health, (seen, mut largest)) = (Changes::new(), Health::new(), watch::channel(None));
        let mut changed = changes.subscribe();
        let watching = tokio::spawn(watch(store, changes, seen, health.component("database"), Shutdown::new()));
        let stands_at = |next_seq| {
            let mut tables = memory.tables(ORIGIN);
            tables.position = Some(Position { next_seq, head: ledger.genesis.hash(), time: 0 });
            memory.replace(ORIGIN, tables);
        };
        for (next_seq, expected) in [(3, 3), (2, 3), (5, 5)] {
            stands_at(next_seq);
            tokio::time::timeout(30 * EVERY, changed.changed()).await.expect("announced").expect("watched");
            assert_eq!(size(*largest.borrow_and_update()), expected, "{next_seq}");
        }
        link.plan("position", 0, StoreErrorKind::Unavailable);
        let shown = async {
            while health.not_ready().is_empty() {
                assert!(!watching.is_finished(), "that the database is away is no reason to end");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(30 * EVERY, shown).await.expect("shown");
        link.plan("position", 0, StoreErrorKind::Broken);
        let error = watching.await.expect("no panic").expect_err("the disk failed");
        assert_eq!(error.kind, StoreErrorKind::Broken);
    }
}
