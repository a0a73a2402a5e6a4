//! `streamseal demo`: the whole pipeline in one process, with nothing to install.

mod feed;
mod tamper;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use committer_client::Client;
use evidence::statement::{HeadsLine, Statement};
use evidence::{Entry, SignedCheckpoint};
use kafka::EmbeddedBroker;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::config::{Config, ConfigFile};
use crate::init::{self, Addresses, Settings};
use crate::logging::LogArgs;
use crate::services::{Listeners, Running};
use crate::{export, output};
use feed::Events;

const TOPIC: &str = "orders";

/// How long the demo waits for sealing or anchoring before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the demo polls for progress.
const LOOK: Duration = Duration::from_millis(50);

/// The most entries that are printed as they come.
const SHOWN_MAX: u64 = 20;

/// Shows the whole pipeline: events are sealed, chained, anchored, exported and verified, and tampering is detected
///
/// There is nothing to install: the demo uses librdkafka's in-process broker, SQLite and a Git repository in a folder. The
/// broker keeps events in memory only, and supports neither transactions nor topic ids. Everything else is what a real
/// installation runs.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Seal the lines of this file instead of made-up orders, one event per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many made-up orders to seal
    #[arg(long, value_name = "N", conflicts_with = "input")]
    events: Option<u64>,
    /// Folder to work in, new or empty; by default one in the system's temporary folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep everything running at the end, for kcat, curl and your own events
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs the demo.
///
/// # Errors
/// When a step fails, or a verdict is not the expected one.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let events = Events::read(args.input.as_deref(), args.events)?;
    let dir = folder(args.dir.as_deref())?;
    let broker = EmbeddedBroker::start()?;
    broker.create_topic(TOPIC, events.partitions())?;
    let (config, listeners) = prepare(&dir, &broker).await?;
    let client = Client::new(&config.committer_url()?)?;
    let mut running = Running::start(config.clone(), listeners)?;
    let shown = tokio::select! {
        shown = show(&config, &client, &events, &dir) => shown,
        ended = running.failed() => ended.and_then(|()| bail!("a service ended unexpectedly")),
    };
    if shown.is_ok() {
        next_steps(&dir, &config, args.stay);
        if args.stay {
            return running.until_signal().await;
        }
    }
    shown.and(running.stop().await)
}

fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match given {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(std::env::temp_dir().join(format!("streamseal-demo-{}", std::process::id()))),
    }
}

/// A new ledger in the folder, and listeners on free ports for its services.
async fn prepare(dir: &Path, broker: &EmbeddedBroker) -> anyhow::Result<(Config, Listeners)> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { committer: bind().await?, ingest: bind().await?, anchor: bind().await? };
    let settings = Settings {
        origin: None,
        topics: &[TOPIC.to_owned()],
        scope: &["*".parse()?],
        bootstrap_servers: Some(broker.bootstrap_servers()),
        database: "sqlite:chain.db",
        remotes: &["anchors.git".to_owned()],
        addresses: Addresses {
            committer: listeners.committer.local_addr()?,
            ingest: listeners.ingest.local_addr()?,
            anchor: listeners.anchor.local_addr()?,
        },
    };
    init::write_ledger(dir, &settings)?;
    let mut config = ConfigFile { path: dir.join("streamseal.toml") }.load()?;
    // Somebody is watching: heads and anchors come every second, not every minute.
    if let (Some(committer), Some(anchor)) = (&mut config.committer, &mut config.anchor) {
        committer.heads_s = std::num::NonZeroU32::MIN;
        anchor.interval_s = 1;
    }
    Ok((config, listeners))
}

/// Runs and prints the steps, from the first event to the two verdicts.
async fn show(config: &Config, client: &Client, events: &Events, dir: &Path) -> anyhow::Result<()> {
    step(1, format_args!("a new ledger in {}", dir.display()));
    step(2, format_args!("produce {} to topic {TOPIC}, {} partitions", events.describe(), events.partitions()));
    let entries = tokio::spawn(show_entries(client.clone()));
    let produced = events.produce(config, client, TOPIC).await?;
    step(3, format_args!("sealed: {produced} events; waiting for the anchor"));
    let anchored = wait_until_anchored(config, client, produced).await?;
    entries.abort();
    let head = anchored.checkpoint();
    let anchors = dir.join("anchors.git");
    step(4, format_args!("anchored in {}: {} entries, root {}", anchors.display(), head.size, head.root));

    let bundle = dir.join("bundle");
    let selection = export::Args::everything(&bundle);
    let found = export::export(&selection, config).await?;
    step(5, format_args!("exported {} events of {} batches to {}", found.events, found.batches, bundle.display()));

    step(6, format_args!("verify, with nothing but the bundle, the Git repository and the trust file:"));
    let (code, report) = verify(dir, &bundle);
    output::line(report.trim_end());
    ensure!(code == 0, "the verdict should be proven (0), but is {code}");

    let copy = dir.join("bundle-tampered");
    let place = tamper::copy_with_one_byte_changed(&bundle, &copy)?;
    step(7, format_args!("change one byte of a copy ({place}) and verify again:"));
    let (code, report) = verify(dir, &copy);
    // The rest repeats the first report.
    output::line(report.split("\n\n").next().unwrap_or_default());
    ensure!(code == 1, "the verdict should be tampered (1), but is {code}");
    Ok(())
}

/// The exit code, and the report as it is printed.
fn verify(dir: &Path, bundle: &Path) -> (u8, String) {
    let args = verifier::cli::Args {
        bundle: bundle.to_owned(),
        trust: dir.join("trust"),
        clones: vec![dir.join("anchors.git")],
        streams: Vec::new(),
        accept_gap: Vec::new(),
        pin: None,
        branch: "anchors".to_owned(),
        json: false,
        now: None,
    };
    let mut report = Vec::new();
    let code = verifier::cli::run(args, &mut report);
    (code, String::from_utf8_lossy(&report).into_owned())
}

/// Prints entries as they are appended, until aborted.
async fn show_entries(client: Client) {
    let mut next = 0;
    while next < SHOWN_MAX {
        match client.entry(next).await {
            Ok(Some(text)) => {
                show_entry(&text);
                next += 1;
            }
            Ok(None) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
    output::line("   ...");
}

fn show_entry(text: &str) {
    let Ok(entry) = Entry::parse(text.as_bytes()) else { return };
    let seq = entry.seq;
    match entry.statement.statement() {
        Statement::Summary(s) => output::line(format_args!(
            "   entry {seq}: summary of {}, offsets {} to {}, {} events, root {}",
            s.stream.partition.topic.clone() + "/" + &s.stream.partition.number.to_string(),
            s.first,
            s.next - 1,
            s.events,
            s.root
        )),
        Statement::Heads(heads) => output::line(format_args!("   entry {seq}: heads of {} streams", heads.streams)),
        Statement::Key(key) => {
            output::line(format_args!("   entry {seq}: grant of {} key {}", key.role, key.key.name()))
        }
        statement @ (Statement::Genesis(_) | Statement::Gap(_) | Statement::Epoch(_)) => {
            output::line(format_args!("   entry {seq}: {}", statement.kind()))
        }
    }
}

/// Waits for an anchor whose newest heads statement covers all produced events.
async fn wait_until_anchored(config: &Config, client: &Client, produced: u64) -> anyhow::Result<SignedCheckpoint> {
    let (repository, branch) = config.anchors(None)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The anchor makes its repository when it first has something to commit.
        if let Ok(Some(note)) = anchor::newest_checkpoint(&repository, &branch, &config.ledger.origin) {
            let checkpoint = SignedCheckpoint::parse(&note).context("the anchor's checkpoint")?;
            if stated(client, checkpoint.checkpoint().size).await? == produced {
                return Ok(checkpoint);
            }
        }
        ensure!(Instant::now() < deadline, "nothing was anchored for {} s", PATIENCE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// How many offsets the newest heads statement below `size` covers.
async fn stated(client: &Client, size: u64) -> anyhow::Result<u64> {
    let Some(heads) = client.heads(size).await? else { return Ok(0) };
    let mut offsets = 0;
    for line in heads.lines {
        offsets += line.parse::<HeadsLine>()?.next;
    }
    Ok(offsets)
}

fn step(number: u32, what: std::fmt::Arguments<'_>) {
    output::line(format_args!("\n{number}. {what}"));
}

fn next_steps(dir: &Path, config: &Config, stay: bool) {
    let dir = dir.display();
    output::line("\nTry next:");
    output::line(format_args!("  cat {dir}/genesis.note"));
    output::line(format_args!("  git -C {dir}/anchors.git log --stat anchors"));
    output::line(format_args!("  streamseal verify --trust {dir}/trust --clone {dir}/anchors.git {dir}/bundle --json"));
    if !stay {
        output::line("  streamseal demo --stay               keeps everything running, for kcat and curl");
        output::line("  streamseal demo --input FILE         seals your own lines");
        output::line("  streamseal init --help               a ledger on your own Kafka and PostgreSQL");
        return;
    }
    let servers =
        config.kafka.as_ref().and_then(|kafka| kafka.get(crate::services::BOOTSTRAP_SERVERS)).unwrap_or_default();
    let committer = config.committer_url().unwrap_or_default();
    output::line(format_args!("  kcat -b {servers} -C -t commitments -e | head -1"));
    output::line(format_args!("  echo hello | kcat -b {servers} -P -t {TOPIC}"));
    output::line(format_args!("  curl {committer}/checkpoint"));
    output::line(format_args!("  curl {committer}/v1/entries/3"));
    output::line(format_args!("  streamseal verify-batch --config {dir}/streamseal.toml {TOPIC}/0@0"));
    output::line("Press Ctrl-C to end it.");
}
