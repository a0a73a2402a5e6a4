use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use git2::Oid;
use service::metrics::Counter;
use service::{Backoff, Component, Condition, Shutdown};
use tokio::sync::watch;

use crate::foreign::Foreign;
use crate::metrics;
use crate::publisher::Error;
use crate::remote::{Remote, Report, Standing};
use crate::repository::Repository;

const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Also how often a remote with an incident is looked at again.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Keeps one remote up to date with the branch until `shutdown`. `tip` changes whenever the branch does. Where the remote
/// holds something else, `foreign` looks at it.
///
/// # Errors
/// When it cannot be remembered what the remote holds.
pub(crate) async fn keep_pushed(
    remote: Arc<Remote>,
    repository: PathBuf,
    reference: String,
    foreign: Foreign,
    mut tip: watch::Receiver<Option<Oid>>,
    component: Component,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut reporter = Reporter::new(remote.name(), component);
    loop {
        tip.mark_unchanged();
        let (remote, path, reference) = (Arc::clone(&remote), repository.clone(), reference.clone());
        let sync = tokio::task::spawn_blocking(move || remote.sync(&Repository::open(&path, &reference)?));
        let standing = match sync.await {
            Ok(Err(Error::Fatal(error))) => return Err(error),
            Ok(Err(Error::Retry(error))) => Err(error),
            Ok(Ok(standing)) => Ok(standing),
            Err(panic) => Err(anyhow::anyhow!("the push panicked: {panic}")),
        };
        let contradiction = match &standing {
            Ok(Standing::Incident(Report { theirs: Some(theirs), .. })) => contradiction(&foreign, *theirs).await,
            _ => None,
        };
        if reporter.report(standing, contradiction) {
            backoff.reset();
            tokio::select! {
                // What was committed is still pushed, once, when the end comes at the same time.
                biased;
                changed = tip.changed() => if changed.is_err() { return Ok(()) },
                () = shutdown.cancelled() => return Ok(()),
            }
        } else if !backoff.wait(&shutdown).await {
            return Ok(());
        }
    }
}

/// What the log contradicts that it signed in the remote's newest anchor.
async fn contradiction(foreign: &Foreign, theirs: Oid) -> Option<String> {
    let compared = foreign.compare(theirs).await;
    compared.unwrap_or_else(|error| {
        tracing::warn!(commit = %theirs, "cannot compare the anchor with the log, trying again later: {error:#}");
        None
    })
}

/// Tells people and machines how a remote stands.
struct Reporter {
    remote: String,
    condition: Condition,
    failures: Counter,
    pushes: Counter,
    incidents: Counter,
    /// The incident that was counted last, until the remote is as it should be.
    incident: Option<(Report, Option<String>)>,
}

impl Reporter {
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

    /// Whether the remote is as it should be.
    fn report(&mut self, standing: anyhow::Result<Standing>, contradiction: Option<String>) -> bool {
        let remote = &self.remote;
        match standing {
            Ok(Standing::Incident(report)) => {
                self.report_incident(report, contradiction);
                return false;
            }
            Err(error) => {
                self.failures.increment(1);
                self.condition.fails(format!("{error:#}"), |error| {
                    tracing::warn!(remote, "not pushed, trying again later: {error}");
                });
                return false;
            }
            Ok(Standing::Pushed) => self.pushes.increment(1),
            Ok(Standing::UpToDate | Standing::Nothing) => {}
        }
        metrics::REMOTE_TIME.with([remote]).set(crate::unix_seconds() as f64);
        self.incident = None;
        self.condition.works(|| tracing::info!(remote, "the remote holds our branch again"));
        true
    }

    fn report_incident(&mut self, report: Report, contradiction: Option<String>) {
        let what = match &contradiction {
            Some(contradiction) => format!("{report}. And {contradiction}"),
            None => report.to_string(),
        };
        let is_same = |(last, said): &(Report, Option<String>)| {
            (last.incident, last.theirs, said) == (report.incident, report.theirs, &contradiction)
        };
        if !self.incident.as_ref().is_some_and(is_same) {
            self.incidents.increment(1);
        }
        self.incident = Some((report, contradiction));
        self.condition.fails_as(what.clone(), format!("incident: {what}"), |what| {
            tracing::error!(
                remote = self.remote,
                "INCIDENT: {what}. Nothing is pushed there until it holds our branch again; other remotes are not affected"
            );
        });
    }
}
