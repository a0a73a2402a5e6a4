use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use git2::Oid;
use service::{Backoff, Component, Shutdown};
use tokio::sync::watch;

use crate::foreign::Foreign;
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
    let mut reporter = Reporter { remote: remote.name().to_owned(), component, last: None };
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
        tracing::warn!("cannot compare the anchor in commit {theirs} with the log, trying again later: {error:#}");
        None
    })
}

/// Tells people and machines how a remote stands; an incident is logged once, not at every look.
struct Reporter {
    remote: String,
    component: Component,
    last: Option<(Report, Option<String>)>,
}

impl Reporter {
    /// Whether the remote is as it should be.
    fn report(&mut self, standing: anyhow::Result<Standing>, contradiction: Option<String>) -> bool {
        let remote = self.remote.clone();
        match standing {
            Ok(Standing::Incident(report)) => {
                self.report_incident(report, contradiction);
                return false;
            }
            Err(error) => {
                metrics::counter!("streamseal_anchor_push_failures_total", "remote" => remote).increment(1);
                tracing::warn!(remote = self.remote, "not pushed, trying again later: {error:#}");
                self.component.not_ready(format!("{error:#}"));
                return false;
            }
            Ok(Standing::Pushed) => {
                metrics::counter!("streamseal_anchor_pushes_total", "remote" => remote).increment(1);
            }
            Ok(Standing::UpToDate | Standing::Nothing) => {}
        }
        // When the remote was last known to hold all anchors.
        metrics::gauge!("streamseal_anchor_remote_time_seconds", "remote" => self.remote.clone())
            .set(crate::unix_seconds() as f64);
        if self.last.take().is_some() {
            tracing::info!(remote = self.remote, "the remote holds our branch again");
        }
        self.component.ready();
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
        let is_new = !self.last.as_ref().is_some_and(is_same);
        self.last = Some((report, contradiction));
        if is_new {
            metrics::counter!("streamseal_anchor_incidents_total", "remote" => self.remote.clone()).increment(1);
            tracing::error!(
                remote = self.remote,
                "INCIDENT: {what}. Nothing is pushed there until it holds our branch again; other remotes are not affected"
            );
        }
        // Whoever reads this finds it counted.
        self.component.not_ready(format!("incident: {what}"));
    }
}
