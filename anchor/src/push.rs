use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use git2::Oid;
use service::metrics::Counter;
use service::{Backoff, Component, Condition, Shutdown};
use tokio::sync::watch;

use crate::fork_check::ForkCheck;
use crate::metrics;
use crate::publisher::Error;
use crate::remote::{IncidentDetails, Remote, SyncOutcome};
use crate::repository::Repository;

const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Also how often a remote with an incident is checked again.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Keeps one remote up to date with the branch until `shutdown`. `tip` changes whenever the branch does. Where the remote
/// holds something else, `fork_check` looks at it.
///
/// # Errors
/// When the commit last seen at the remote cannot be stored.
pub(crate) async fn keep_pushed(
    remote: Arc<Remote>,
    repository: PathBuf,
    reference: String,
    fork_check: ForkCheck,
    mut tip: watch::Receiver<Option<Oid>>,
    component: Component,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut reporter = RemoteReporter::new(remote.name(), component);
    loop {
        tip.mark_unchanged();
        let (remote, path, reference) = (Arc::clone(&remote), repository.clone(), reference.clone());
        let sync = tokio::task::spawn_blocking(move || remote.sync(&Repository::open(&path, &reference)?));
        let outcome = match sync.await {
            Ok(Err(Error::Fatal(error))) => return Err(error),
            Ok(Err(Error::Retry(error))) => Err(error),
            Ok(Ok(outcome)) => Ok(outcome),
            Err(panic) => Err(anyhow::anyhow!("the push panicked: {panic}")),
        };
        let log_incident = match &outcome {
            Ok(SyncOutcome::Incident(IncidentDetails { theirs: Some(theirs), .. })) => {
                log_incident(&fork_check, *theirs).await
            }
            _ => None,
        };
        if reporter.report(outcome, log_incident) {
            backoff.reset();
            tokio::select! {
                // A commit that comes together with shutdown is still pushed once.
                biased;
                changed = tip.changed() => if changed.is_err() { return Ok(()) },
                () = shutdown.cancelled() => return Ok(()),
            }
        } else if !backoff.wait(&shutdown).await {
            return Ok(());
        }
    }
}

/// Whether the log contradicts the remote's newest anchor, in words.
async fn log_incident(fork_check: &ForkCheck, theirs: Oid) -> Option<String> {
    let compared = fork_check.check(theirs).await;
    compared.unwrap_or_else(|error| {
        tracing::warn!(commit = %theirs, "cannot compare the anchor with the log, trying again later: {error:#}");
        None
    })
}

/// Reports the state of a remote: to people in the log, to machines in health and metrics.
struct RemoteReporter {
    remote: String,
    condition: Condition,
    failures: Counter,
    pushes: Counter,
    incidents: Counter,
    /// The incident that was counted last; `None` once the remote holds our branch again.
    incident: Option<(IncidentDetails, Option<String>)>,
}

impl RemoteReporter {
    fn new(remote: &str, component: Component) -> Self {
        Self {
            remote: remote.to_owned(),
            condition: Condition::new(component),
            failures: metrics::PUSH_FAILURES.with([remote]),
            pushes: metrics::PUSHES.with([remote]),
            incidents: metrics::REMOTE_INCIDENTS.with([remote]),
            incident: None,
        }
    }

    /// Returns whether the remote holds our branch.
    fn report(&mut self, outcome: anyhow::Result<SyncOutcome>, log_incident: Option<String>) -> bool {
        let remote = &self.remote;
        match outcome {
            Ok(SyncOutcome::Incident(details)) => {
                self.report_incident(details, log_incident);
                return false;
            }
            Err(error) => {
                self.failures.increment(1);
                self.condition.fails(format!("{error:#}"), |error| {
                    tracing::warn!(remote, "not pushed, trying again later: {error}");
                });
                return false;
            }
            Ok(SyncOutcome::Pushed) => self.pushes.increment(1),
            Ok(SyncOutcome::UpToDate | SyncOutcome::Empty) => {}
        }
        metrics::REMOTE_TIME.with([remote]).set(crate::unix_seconds() as f64);
        self.incident = None;
        self.condition.works(|| tracing::info!(remote, "the remote holds our branch again"));
        true
    }

    fn report_incident(&mut self, details: IncidentDetails, log_incident: Option<String>) {
        let what = match &log_incident {
            Some(log_incident) => format!("{details}. And {log_incident}"),
            None => details.to_string(),
        };
        let is_same = |(last, said): &(IncidentDetails, Option<String>)| {
            (last.incident, last.theirs, said) == (details.incident, details.theirs, &log_incident)
        };
        if !self.incident.as_ref().is_some_and(is_same) {
            self.incidents.increment(1);
        }
        self.incident = Some((details, log_incident));
        self.condition.fails_as(what.clone(), format!("incident: {what}"), |what| {
            tracing::error!(
                remote = self.remote,
                "INCIDENT: {what}. Nothing is pushed there until it holds our branch again; other remotes are not affected"
            );
        });
    }
}
