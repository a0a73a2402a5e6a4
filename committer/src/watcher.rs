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
