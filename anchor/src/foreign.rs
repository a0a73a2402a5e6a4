use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::Oid;

use crate::anchored::head;
use crate::blocking::blocking;
use crate::incidents::Incidents;
use crate::log::{Log, LogError};
use crate::publisher::{Publisher, lock};

/// How long the process may look for a contradiction before it ends.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Looks at anchors that this anchor did not make, or no longer expects: does the log contradict what it signed there?
#[derive(Clone)]
pub(crate) struct Foreign {
    pub(crate) log: Log,
    pub(crate) publisher: Arc<Mutex<Publisher>>,
    pub(crate) incidents: Arc<Incidents>,
}

impl Foreign {
    /// Compares the anchor in a commit of our repository with the head that the log shows now. Returns what contradicts
    /// and where both heads are kept; `None` when nothing does, also when the commit holds no head that the log signed.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub(crate) async fn compare(&self, commit: Oid) -> anyhow::Result<Option<String>> {
        let publisher = Arc::clone(&self.publisher);
        // What cannot be read shows nothing.
        let Ok(Some(anchor)) = blocking(move || lock(&publisher).anchor_at(commit)).await else {
            return Ok(None);
        };
        if !anchor.is_by_log(&self.log.keys().await?) {
            return Ok(None);
        }
        let (known, found) = (anchor.signed().clone(), self.log.checkpoint().await?);
        match self.log.compare(head(&known), &found).await {
            Ok(()) => Ok(None),
            Err(LogError::Incident(incident)) => {
                let (incidents, ledger) = (Arc::clone(&self.incidents), self.log.ledger().clone());
                blocking(move || Ok(Some(incidents.keep_both(&ledger, &incident, Some(known), found)))).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to the reason why the process ends what the newest anchor of the repository contradicts, if it does.
    pub(crate) async fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let publisher = Arc::clone(&self.publisher);
        match blocking(move || lock(&publisher).repository().tip()).await {
            Ok(Some(tip)) => self.explain_by(error, tip).await,
            _ => error,
        }
    }

    /// The same with the anchor in a commit of our repository.
    pub(crate) async fn explain_by(&self, error: anyhow::Error, commit: Oid) -> anyhow::Error {
        match tokio::time::timeout(LAST_LOOK, self.compare(commit)).await {
            Ok(Ok(Some(contradiction))) => anyhow::anyhow!("{error:#}. INCIDENT: {contradiction}"),
            _ => error,
        }
    }
}
