use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use evidence::statement::LedgerId;
use evidence::{Hash, Head, SignedCheckpoint};
use git2::Oid;
use service::{Backoff, Health, Shutdown};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::anchor::{Anchor, head};
use crate::blocking::blocking;
use crate::config::Config;
use crate::decide::{self, Action, Anchored, LogIncident};
use crate::fork_check::ForkCheck;
use crate::incidents::Incidents;
use crate::log::{Log, LogError, prove};
use crate::metrics::{self, show_anchored};
use crate::publisher::{self, Publisher, lock};
use crate::push::keep_pushed;
use crate::remote::Remote;
use crate::reporter::Reporter;
use crate::unix_seconds;
use crate::witness::Cosignature;
use crate::witnesses::Witnesses;

const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Makes anchors: looks at the log, and anchors its head when that is due.
pub(crate) struct Maker {
    config: Config,
    log: Log,
    witnesses: Witnesses,
    publisher: Arc<Mutex<Publisher>>,
    incidents: Arc<Incidents>,
    remotes: Vec<Arc<Remote>>,
    tip: watch::Sender<Option<Oid>>,
    reporter: Reporter,
}

/// Why a look at the log anchored nothing.
enum LookError {
    /// The process must end.
    Fatal(anyhow::Error),
    /// Nothing can be anchored now; the next look may succeed.
    Later(LogError),
    /// The log contradicts what it signed before.
    Incident(String),
}

impl From<LogError> for LookError {
    fn from(error: LogError) -> Self {
        Self::Later(error)
    }
}

impl From<publisher::Error> for LookError {
    fn from(error: publisher::Error) -> Self {
        match error {
            publisher::Error::Fatal(error) => Self::Fatal(error),
            publisher::Error::Retry(error) => Self::Later(LogError::Unavailable(format!("{error:#}"))),
        }
    }
}

impl Maker {
    pub(crate) async fn new(config: Config, ledger: LedgerId, health: &Health) -> anyhow::Result<Self> {
        let remotes = config.remotes.iter().enumerate().map(|(i, remote)| {
            let remote = Remote::new(remote, &config.key).with_context(|| format!("anchor.remotes[{i}]"))?;
            Ok(Arc::new(remote))
        });
        let remotes = remotes.collect::<anyhow::Result<Vec<_>>>()?;
        let log = Log::new(&config.committer, ledger.clone()).context("anchor.committer")?;
        let publisher = {
            let config = config.clone();
            blocking(move || Publisher::open(&config, &ledger.origin)).await?
        };
        let last = publisher.last()?;
        let witnesses = Witnesses::new(&config.witnesses, last.as_ref().map(|last| last.signed()), health)?;
        Ok(Self {
            log,
            witnesses,
            publisher: Arc::new(Mutex::new(publisher)),
            incidents: Arc::new(Incidents::beside(&config.key)),
            remotes,
            tip: watch::Sender::new(None),
            reporter: Reporter::new(health),
            config,
        })
    }

    /// Logs what this anchor is, once at the start.
    pub(crate) fn announce(&self, listen: SocketAddr) -> anyhow::Result<()> {
        let publisher = lock(&self.publisher);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            ledger = self.log.ledger().origin,
            key = publisher.key_name(),
            size = publisher.last()?.map_or(0, |last| last.head().size),
            committer = self.log.place(),
            repository = %self.config.repository.display(),
            remotes = self.remotes.iter().map(|remote| remote.name()).collect::<Vec<_>>().join(","),
            witnesses = self.witnesses.names().collect::<Vec<_>>().join(","),
            %listen,
            "anchor started"
        );
        Ok(())
    }

    /// Commits what was cosigned before this start, and makes sure that no remote knows more than this anchor.
    pub(crate) async fn recover(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let is_first = lock(&self.publisher).cosigned().is_none();
        match self.publisher(|publisher| publisher.recover()).await {
            Ok(tip) => drop(self.tip.send_replace(tip)),
            Err(publisher::Error::Fatal(error)) => return Err(self.fork_check().explain(error).await),
            // Every look tries it again first.
            Err(publisher::Error::Retry(error)) => tracing::warn!("the last anchor is not committed yet: {error:#}"),
        }
        if is_first {
            self.ask_remotes(shutdown).await?;
        }
        Ok(())
    }

    /// Makes sure, before the very first cosignature, that no remote holds a branch that is unknown here. A key that lost
    /// both its state and its repository would otherwise cosign a second history.
    async fn ask_remotes(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        for remote in self.remotes.clone() {
            let mut backoff = Backoff::new(RETRY_FIRST, self.interval());
            loop {
                let (remote, publisher) = (Arc::clone(&remote), Arc::clone(&self.publisher));
                let name = remote.name().to_owned();
                let foreign = blocking(move || foreign_branch(&remote, &lock(&publisher))).await;
                match foreign {
                    Ok(None) => break,
                    Ok(Some(tip)) => {
                        let error = anyhow::anyhow!(
                            "{name} holds the branch {:?} already, at {tip}, and nothing here knows of it: this key's \
                             state was lost, or the remote belongs to another anchor. Say where to continue (`streamseal \
                             anchor --config FILE adopt SOURCE`)",
                            self.config.branch
                        );
                        return Err(self.fork_check().explain_at(error, tip).await);
                    }
                    Err(error) => {
                        self.reporter.report_unasked(&name, &error);
                    }
                }
                if !backoff.wait(shutdown).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn start_pushing(&self, health: &Health, shutdown: &Shutdown) -> JoinSet<anyhow::Result<()>> {
        let mut tasks = JoinSet::new();
        for remote in &self.remotes {
            tasks.spawn(keep_pushed(
                Arc::clone(remote),
                self.config.repository.clone(),
                self.config.reference(),
                self.fork_check(),
                self.tip.subscribe(),
                health.component(format!("remote {}", remote.name())),
                shutdown.clone(),
            ));
        }
        tasks
    }

    /// The check for anchors that this anchor does not expect.
    fn fork_check(&self) -> ForkCheck {
        ForkCheck {
            log: self.log.clone(),
            publisher: Arc::clone(&self.publisher),
            incidents: Arc::clone(&self.incidents),
        }
    }

    /// Looks at the log every interval until `shutdown`.
    pub(crate) async fn watch(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(RETRY_FIRST, self.interval());
        loop {
            let looked = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                looked = self.look() => looked,
            };
            let wait = match looked {
                Ok(()) => {
                    self.reporter.report_good();
                    backoff.reset();
                    self.interval()
                }
                Err(LookError::Fatal(error)) => return Err(self.fork_check().explain(error).await),
                Err(LookError::Later(error)) => {
                    self.reporter.report_error(&error);
                    backoff.next_delay()
                }
                Err(LookError::Incident(what)) => {
                    self.reporter.report_incident(what);
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                completed = self.complete_until(Instant::now() + wait) => completed?,
            }
        }
    }

    /// Asks for missing cosignatures until the next look. The last anchor is committed again with each that comes.
    ///
    /// # Errors
    /// When the process must end.
    async fn complete_until(&mut self, next_look: Instant) -> anyhow::Result<()> {
        loop {
            match self.witnesses.due().filter(|due| *due < next_look) {
                None => {
                    tokio::time::sleep_until(next_look).await;
                    return Ok(());
                }
                Some(due) => tokio::time::sleep_until(due).await,
            }
            match self.complete().await {
                Ok(()) => {}
                Err(publisher::Error::Fatal(error)) => return Err(self.fork_check().explain(error).await),
                // The state file has it: the next look commits it.
                Err(publisher::Error::Retry(error)) => tracing::warn!("the last anchor is not completed: {error:#}"),
            }
        }
    }

    /// Asks for the cosignatures that the last anchor lacks, and commits it again with those that come.
    async fn complete(&mut self) -> Result<(), publisher::Error> {
        let last = self.publisher(|publisher| publisher.last().map_err(publisher::Error::Fatal)).await?;
        let Some(last) = last else { return Ok(()) };
        let cosignatures = self.witnesses.ask_missing(last.signed(), &self.log).await;
        if cosignatures.is_empty() {
            return Ok(());
        }
        let size = last.head().size;
        let completed = self.publisher(|publisher| publisher.complete(cosignatures)).await;
        if completed.is_err() {
            self.witnesses.claim(last.signed());
        }
        if let Some(tip) = completed? {
            self.tip.send_replace(Some(tip));
            self.reporter.count_completion();
            tracing::info!(size, commit = %tip, "anchored again, with cosignatures that came late");
        }
        Ok(())
    }

    /// Looks at the log once, and anchors its head if it is time.
    async fn look(&mut self) -> Result<(), LookError> {
        let (tip, cosigned, last) = self
            .publisher(|publisher| {
                let tip = publisher.recover()?;
                Ok((tip, publisher.cosigned(), publisher.last().map_err(publisher::Error::Fatal)?))
            })
            .await?;
        self.tip.send_if_modified(|known| std::mem::replace(known, tip) != tip);
        let now = unix_seconds();
        let anchored = last.as_ref().map(Anchor::anchored);
        self.reporter.report_clock(now, anchored.and_then(|anchored| anchored.time));
        if let Some(anchored) = anchored {
            show_anchored(anchored.head.size, anchored.time.unwrap_or_default());
        }
        let checkpoint = self.log.checkpoint().await?;
        let offered = head(&checkpoint);
        metrics::LOG_SIZE.with([]).set(offered.size as f64);
        metrics::LAG.with([]).set(offered.size.saturating_sub(anchored.map_or(0, |a| a.head.size)) as f64);
        let proof = match self.proof(cosigned, anchored, &checkpoint, now).await {
            Ok(Some(proof)) => proof,
            Ok(None) => return Ok(()),
            Err(LogError::Incident(incident)) => {
                let known = last.as_ref().map(Anchor::signed).filter(|last| head(last) == incident.known());
                return Err(LookError::Incident(self.keep(incident, known.cloned(), checkpoint).await?));
            }
            Err(error) => return Err(error.into()),
        };
        let last = last.as_ref().map(Anchor::signed);
        // A cosignature from before stays valid when the witness does not answer now.
        let mut cosignatures =
            last.filter(|last| head(last) == offered).map_or_else(Vec::new, |last| self.witnesses.lines_on(last));
        cosignatures.extend(self.witnesses.ask_all(&checkpoint, last, &self.log).await);
        self.publish(checkpoint, proof, cosignatures).await
    }

    /// The proof from the last anchor to the head that the log offers; `None` when that head is not to be anchored now.
    async fn proof(
        &self,
        cosigned: Option<Head>,
        anchored: Option<Anchored>,
        checkpoint: &SignedCheckpoint,
        now: u64,
    ) -> Result<Option<Vec<Hash>>, LogError> {
        let offered = head(checkpoint);
        match decide::about_head(cosigned, anchored, offered, now, self.config.heartbeat_s.into())? {
            Action::Wait => return Ok(None),
            Action::Anchor => {}
        }
        let before = anchored.map(|anchored| anchored.head);
        let sizes: Vec<u64> = before.iter().chain(&cosigned).map(|head| head.size).collect();
        let tiles = self.log.tiles(offered, &sizes).await?;
        if let Some(cosigned) = cosigned {
            prove(&tiles, cosigned, offered)?;
        }
        before.map_or(Ok(Vec::new()), |before| prove(&tiles, before, offered)).map(Some)
    }

    /// Stores both heads of an incident, and returns the message about it.
    async fn keep(
        &self,
        incident: LogIncident,
        known: Option<SignedCheckpoint>,
        found: SignedCheckpoint,
    ) -> Result<String, LookError> {
        let (incidents, ledger) = (Arc::clone(&self.incidents), self.log.ledger().clone());
        let keep = move || Ok(incidents.keep_both(&ledger, &incident, known, found));
        blocking(keep).await.map_err(LookError::Fatal)
    }

    async fn publish(
        &self,
        checkpoint: SignedCheckpoint,
        proof: Vec<Hash>,
        cosignatures: Vec<Cosignature>,
    ) -> Result<(), LookError> {
        let size = head(&checkpoint).size;
        let now = unix_seconds();
        let tip = self.publisher(move |publisher| publisher.publish(&checkpoint, proof, cosignatures, now)).await?;
        self.tip.send_replace(Some(tip));
        show_anchored(size, now);
        metrics::LAG.with([]).set(0.0);
        self.reporter.count_anchor();
        tracing::info!(size, commit = %tip, "anchored");
        Ok(())
    }

    /// Calls the publisher on a blocking thread.
    async fn publisher<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Publisher) -> Result<T, publisher::Error> + Send + 'static,
    ) -> Result<T, publisher::Error> {
        let publisher = Arc::clone(&self.publisher);
        let called = tokio::task::spawn_blocking(move || call(&mut lock(&publisher))).await;
        called.map_err(|panic| publisher::Error::Fatal(anyhow::anyhow!("the publisher panicked: {panic}")))?
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.config.interval_s.into())
    }
}

/// The newest commit of a remote's branch, if our branch does not have it. It is fetched then, where possible.
fn foreign_branch(remote: &Remote, publisher: &Publisher) -> anyhow::Result<Option<Oid>> {
    let ours = publisher.repository();
    let Some(theirs) = remote.tip(ours, &remote.seen(ours)?)? else {
        return Ok(None);
    };
    let known = ours.tip()?.map_or(Ok(false), |tip| ours.is_in_history(theirs, tip))?;
    if known {
        return Ok(None);
    }
    remote.fetch_foreign(ours, theirs);
    Ok(Some(theirs))
}
