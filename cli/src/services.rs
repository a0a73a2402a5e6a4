//! Runs the services, each alone or all in one process.

use std::net::SocketAddr;

use anyhow::Context;
use indicatif::ProgressBar;
use kafka::{EmbeddedBroker, Properties};
use service::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigFile};
use crate::logging::LogArgs;
use crate::output;

/// The librdkafka property that says where the brokers are.
pub(crate) const BOOTSTRAP_SERVERS: &str = "bootstrap.servers";

/// Runs ingest-consumer, committer and anchor in one process
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs the ingest-consumer: batches, hashes, signs and submits events
#[derive(Debug, clap::Args)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs the committer: appends to the chain, signs checkpoints, serves and publishes the log
#[derive(Debug, clap::Args)]
pub(crate) struct CommitterArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    command: Option<CommitterCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum CommitterCommand {
    /// Checks the whole database: hashes and applies every entry again, and names the first that is wrong
    Fsck,
    /// Continues from the database: use it when the committer refuses because the log key's high-water file was lost.
    /// Check first that the database is not behind the newest anchor
    Adopt,
}

/// Runs the anchor: cosigns checkpoints and publishes them in Git
#[derive(Debug, clap::Args)]
pub(crate) struct AnchorArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    command: Option<AnchorCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum AnchorCommand {
    /// Continues from a branch that you trust: use it when the anchor refuses because its repository or state was lost.
    /// The committer must run, and the anchor must not
    Adopt {
        /// `repository` for the branch of the anchor's own repository, or a remote's name in the configuration
        #[arg(value_name = "repository|REMOTE")]
        source: String,
    },
}

/// The listeners of all services.
pub(crate) struct Listeners {
    pub committer: TcpListener,
    pub ingest: TcpListener,
    pub anchor: TcpListener,
}

/// The services that run in this process. Dropping it ends them.
pub(crate) struct Running {
    tasks: JoinSet<anyhow::Result<()>>,
    shutdown: Shutdown,
}

/// `streamseal up`
pub(crate) async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let mut config = args.config.load()?;
    let broker = start_broker_if_none(&mut config)?;
    if let Some(broker) = &broker {
        output::line(format_args!(
            "in-process broker at {}: loses everything at a restart, and keeps 5 MiB of each partition",
            broker.bootstrap_servers()
        ));
    }
    let listeners = Listeners {
        committer: listen(section(&config.committer, "committer")?.listen).await?,
        ingest: listen(section(&config.ingest, "ingest")?.listen).await?,
        anchor: listen(section(&config.anchor, "anchor")?.listen).await?,
    };
    let running = Running::start(config, listeners)?;
    running.until_signal().await
}

/// `streamseal ingest`
pub(crate) async fn ingest(args: &IngestArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let listener = listen(section(&config.ingest, "ingest")?.listen).await?;
    let mut running = Running::new();
    running.ingest(&config, listener)?;
    running.until_signal().await
}

/// `streamseal committer`; the exit code of `fsck` is 1 when it found an error.
pub(crate) async fn committer(args: &CommitterArgs) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    match args.command {
        Some(CommitterCommand::Fsck) => return fsck(&config).await,
        Some(CommitterCommand::Adopt) => return adopt_database(&config).await.map(|()| 0),
        None => {}
    }
    let listener = listen(section(&config.committer, "committer")?.listen).await?;
    let mut running = Running::new();
    running.committer(&config, listener)?;
    running.until_signal().await.map(|()| 0)
}

/// `streamseal anchor`
pub(crate) async fn anchor(args: &AnchorArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    if let Some(AnchorCommand::Adopt { source }) = &args.command {
        return adopt_branch(&config, source).await;
    }
    let listener = listen(section(&config.anchor, "anchor")?.listen).await?;
    let mut running = Running::new();
    running.anchor(&config, listener)?;
    running.until_signal().await
}

/// Starts the in-process broker when the configuration names no other.
pub(crate) fn start_broker_if_none(config: &mut Config) -> anyhow::Result<Option<EmbeddedBroker>> {
    if config.kafka.is_some() {
        return Ok(None);
    }
    let broker = EmbeddedBroker::start()?;
    config.kafka = Some(Properties::new([(BOOTSTRAP_SERVERS, broker.bootstrap_servers())])?);
    Ok(Some(broker))
}

impl Running {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), shutdown: Shutdown::new() }
    }

    /// Starts all services.
    pub(crate) fn start(config: Config, listeners: Listeners) -> anyhow::Result<Self> {
        let mut running = Self::new();
        running.committer(&config, listeners.committer)?;
        running.ingest(&config, listeners.ingest)?;
        running.anchor(&config, listeners.anchor)?;
        Ok(running)
    }

    /// Runs until a signal, or until a service ends. Then ends the other services too.
    pub(crate) async fn until_signal(mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            signal = signal() => signal,
            ended = self.failed() => ended,
        };
        let stopped = self.stop().await;
        ended.and(stopped)
    }

    /// Returns when a service ends, which happens only after an error.
    pub(crate) async fn failed(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => ended.context("a service panicked")?,
            None => std::future::pending().await,
        }
    }

    /// Ends all services and waits for them.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(ended.context("a service panicked").and_then(|ended| ended));
        }
        result
    }

    fn committer(&mut self, config: &Config, listener: TcpListener) -> anyhow::Result<()> {
        let section = section(&config.committer, "committer")?.clone();
        let parts = committer::ServiceParts {
            ledger: ledger(config)?,
            kafka: config.kafka.clone(),
            clock: committer::system_clock(),
            listener,
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn(async move { committer::run(section, parts).await.context("committer") });
        Ok(())
    }

    fn ingest(&mut self, config: &Config, listener: TcpListener) -> anyhow::Result<()> {
        let section = section(&config.ingest, "ingest")?.clone();
        let ledger = ledger(config)?.id().clone();
        let (kafka, shutdown) = (config.kafka()?.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            ingest_consumer::run(section, ledger, kafka, listener, shutdown).await.context("ingest")
        });
        Ok(())
    }

    fn anchor(&mut self, config: &Config, listener: TcpListener) -> anyhow::Result<()> {
        let section = section(&config.anchor, "anchor")?.clone();
        let (ledger, shutdown) = (ledger(config)?.id().clone(), self.shutdown.clone());
        self.tasks.spawn(async move { anchor::run(section, ledger, listener, shutdown).await.context("anchor") });
        Ok(())
    }
}

async fn adopt_branch(config: &Config, source: &str) -> anyhow::Result<()> {
    let source = match source {
        "repository" => anchor::Source::Repository,
        remote => anchor::Source::Remote(remote.to_owned()),
    };
    let ledger = ledger(config)?.id().clone();
    let held = anchor::adopt(section(&config.anchor, "anchor")?, ledger, &source).await?;
    match held {
        Some(head) => output::line(format_args!("the anchor continues from {head}")),
        None => output::line("the anchor continues from a branch without an anchor of this ledger"),
    }
    Ok(())
}

async fn fsck(config: &Config) -> anyhow::Result<u8> {
    let ledger = ledger(config)?;
    let database = &section(&config.committer, "committer")?.database;
    let store = committer::store::open_existing(&database.0, ledger.id()).await?;
    let progress = ProgressBar::no_length();
    let report = committer::fsck(&*store, ledger.id(), |checked, of| show(&progress, checked, of)).await;
    let closed = store.close().await;
    let report = report?;
    closed?;
    progress.finish_and_clear();
    output::line(&report);
    Ok(if report.is_sound() { 0 } else { 1 })
}

async fn adopt_database(config: &Config) -> anyhow::Result<()> {
    let progress = ProgressBar::no_length();
    let section = section(&config.committer, "committer")?;
    let head = committer::adopt(section, &ledger(config)?, |checked, of| show(&progress, checked, of)).await?;
    progress.finish_and_clear();
    output::line(format_args!("the committer continues from {head}"));
    Ok(())
}

fn show(progress: &ProgressBar, checked: u64, of: u64) {
    progress.set_length(of);
    progress.set_position(checked);
}

fn ledger(config: &Config) -> anyhow::Result<committer::Ledger> {
    committer::Ledger::new(config.ledger.read_genesis()?, config.ledger.read_grants()?).context("ledger")
}

fn section<'a, T>(section: &'a Option<T>, name: &str) -> anyhow::Result<&'a T> {
    section.as_ref().with_context(|| format!("the configuration has no section [{name}]"))
}

/// Listens on an address of the configuration.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}: choose another `listen`"))
}

/// SIGINT or SIGTERM.
async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
