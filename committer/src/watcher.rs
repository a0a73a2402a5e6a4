//! Polls the database: other committers may have appended, it may be unreachable, or its checkpoint may be forged.

use std::sync::Arc;
use std::time::Duration;

use evidence::chain::Position;
use service::{Component, Condition, Shutdown};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::checkpoints::Checkpoints;
use crate::store::{Store, StoreError, StoreErrorKind};

const EVERY: Duration = Duration::from_secs(1);

/// What the watcher is made of.
pub(crate) struct WatcherParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) checkpoints: Checkpoints,
    /// Told when the position changed.
    pub(crate) changes: Changes,
    /// The largest position seen.
    pub(crate) seen: watch::Sender<Option<Position>>,
    /// Ready while the database answers and its checkpoint is good.
    pub(crate) health: Component,
}

/// Polls until `stop`.
///
/// # Errors
/// If the database's disk failed: the service ends.
pub(crate) async fn watch(parts: WatcherParts, stop: Shutdown) -> Result<(), StoreError> {
    let WatcherParts { store, checkpoints, changes, seen, health } = parts;
    let mut known = None;
    let mut condition = Condition::new(health);
    while !stop.is_cancelled() {
        let position = store.position().await;
        let checkpoint = checkpoints.newest().await;
        // A bad checkpoint does not hold up those who wait for entries.
        let problem = position.as_ref().err().or(checkpoint.as_ref().err());
        match problem {
            None => condition.works(|| tracing::info!("the database works again")),
            Some(error) => condition.fails(error.to_string(), |error| tracing::error!("{error}; trying again")),
        }
        match (position, checkpoint) {
            (Err(error), _) | (_, Err(error)) if error.kind == StoreErrorKind::DiskFailed => return Err(error),
            (Ok(position), _) => {
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
            (Err(_), _) => {}
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
    use crate::failing_link::FailingLink;
    use crate::store::memory::{Link, MemoryDatabase};
    use crate::system_clock;
    use testbed::statements::{ORIGIN, TestLedger};

    #[tokio::test]
    async fn largest_position_is_kept_until_disk_error() {
        let ledger = TestLedger::new("watcher");
        let (memory, link) = (MemoryDatabase::new(system_clock()), Arc::new(FailingLink::default()));
        let store = memory.open(&ledger.id(), Arc::<FailingLink>::clone(&link) as Arc<dyn Link>).expect("opens");
        let (changes, health, (seen, mut largest)) = (Changes::new(), Health::new(), watch::channel(None));
        let mut changed = changes.subscribe();
        let checkpoints = Checkpoints::new(Arc::clone(&store), ledger.id());
        let parts = WatcherParts { store, checkpoints, changes, seen, health: health.component("database") };
        let watching = tokio::spawn(watch(parts, Shutdown::new()));
        let stands_at = |next_seq| {
            let mut tables = memory.tables(ORIGIN);
            tables.position = Some(Position { next_seq, last_leaf: ledger.genesis.hash(), time: 0 });
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
                assert!(!watching.is_finished(), "an unreachable database does not end it");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(30 * EVERY, shown).await.expect("shown");
        link.plan("position", 0, StoreErrorKind::DiskFailed);
        let error = watching.await.expect("no panic").expect_err("the disk failed");
        assert_eq!(error.kind, StoreErrorKind::DiskFailed);
    }
}
