use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use git2::Oid;
use service::{Backoff, Component, Shutdown};
use tokio::sync::watch;

use crate::publisher::Error;
use crate::remote::{Remote, Report, Standing};
use crate::repository::Repository;

const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Also how often a remote with an incident is looked at again.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Keeps one remote up to date with the branch until `shutdown`. `tip` changes whenever the branch does.
///
/// # Errors
/// When it cannot be remembered what the remote holds.
pub(crate) async fn keep_pushed(
    remote: Arc<Remote>,
    repository: PathBuf,
    reference: String,
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
        if reporter.report(standing) {
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

/// Tells people and machines how a remote stands; an incident is logged once, not at every look.
struct Reporter {
    remote: String,
    component: Component,
    last: Option<Report>,
}

impl Reporter {
    /// Whether the remote is as it should be.
    fn report(&mut self, standing: anyhow::Result<Standing>) -> bool {
        let remote = self.remote.clone();
        match standing {
            Ok(Standing::Incident(report)) => {
                self.report_incident(report);
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

    fn report_incident(&mut self, report: Report) {
        let is_new = self.last.is_none_or(|last| (last.incident, last.theirs) != (report.incident, report.theirs));
        self.last = Some(report);
        if is_new {
            metrics::counter!("streamseal_anchor_incidents_total", "remote" => self.remote.clone()).increment(1);
            tracing::error!(
                remote = self.remote,
                "INCIDENT: {report}. Nothing is pushed there until it holds our branch again; other remotes are not affected"
            );
        }
        // Whoever reads this finds it counted.
        self.component.not_ready(format!("incident: {report}"));
    }
}
