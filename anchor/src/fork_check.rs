use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::Oid;

use crate::anchor::head;
use crate::blocking::blocking;
use crate::incidents::Incidents;
use crate::log::{Log, LogError};
use crate::publisher::{Publisher, lock};

/// How long a process that is about to end may look for a contradiction.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Checks anchors that this anchor did not make or no longer expects: does the log contradict what it signed there?
#[derive(Clone)]
pub(crate) struct ForkCheck {
    pub(crate) log: Log,
    pub(crate) publisher: Arc<Mutex<Publisher>>,
    pub(crate) incidents: Arc<Incidents>,
}

impl ForkCheck {
    /// Compares the anchor in a commit of our repository with the head that the log shows now. Returns the contradiction
    /// and where both heads are kept, or `None`. A commit without a head that the log signed contradicts nothing.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub(crate) async fn check(&self, commit: Oid) -> anyhow::Result<Option<String>> {
        let publisher = Arc::clone(&self.publisher);
        // An unreadable anchor proves nothing.
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

    /// Adds to `error` whether the log contradicts the repository's newest anchor.
    pub(crate) async fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let publisher = Arc::clone(&self.publisher);
        match blocking(move || lock(&publisher).repository().tip()).await {
            Ok(Some(tip)) => self.explain_at(error, tip).await,
            _ => error,
        }
    }

    /// Adds to `error` whether the log contradicts the anchor in a commit of our repository.
    pub(crate) async fn explain_at(&self, error: anyhow::Error, commit: Oid) -> anyhow::Error {
        match tokio::time::timeout(LAST_LOOK, self.check(commit)).await {
            Ok(Ok(Some(incident))) => anyhow::anyhow!("{error:#}. INCIDENT: {incident}"),
            _ => error,
        }
    }
}
