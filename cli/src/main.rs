//! The `streamseal` command: the services, alone or in one process, and the tools around them.

mod config;
mod config_reference;
mod demo;
mod event_position;
mod export;
mod init;
mod key;
mod keygen;
mod ledger;
mod logging;
mod metrics_reference;
mod operator;
mod output;
mod prove;
mod services;
mod verify_batch;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use service::logging::LevelFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Makes Kafka topics tamper-evident: sealed in batches, chained, anchored in Git, verified offline
#[derive(Debug, Parser)]
#[command(name = "streamseal", version, max_term_width = 100)]
struct Cli {
    /// The default command is `demo`
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Up(services::UpArgs),
    Committer(services::CommitterArgs),
    Ingest(services::IngestArgs),
    Anchor(services::AnchorArgs),
    Export(export::Args),
    Verify(verifier::cli::Args),
    VerifyBatch(verify_batch::Args),
    Prove(prove::Args),
    Keygen(keygen::Args),
    Key(key::Args),
    Epoch(operator::EpochArgs),
    Gap(operator::GapArgs),
    /// Prints the reference of the configuration file as Markdown
    ConfigReference,
    /// Prints the reference of all metrics as Markdown
    MetricsReference,
}

/// The exit code of a command that failed; verdicts have codes of their own.
const FAILED: u8 = 2;

/// How long blocking threads may still take once everything else has ended.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or_else(|| Command::Demo(demo::Args::default()));
    match init_log(&command).and_then(|()| run(command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::problem(in_words(&error));
            ExitCode::from(FAILED)
        }
    }
}

fn init_log(command: &Command) -> anyhow::Result<()> {
    match command {
        // The demo prints its own output; its services log only errors.
        Command::Demo(args) => args.log.init(LevelFilter::ERROR),
        Command::Up(args) => args.log.init(LevelFilter::INFO),
        Command::Committer(args) => args.log.init(LevelFilter::INFO),
        Command::Ingest(args) => args.log.init(LevelFilter::INFO),
        Command::Anchor(args) => args.log.init(LevelFilter::INFO),
        _ => {
            service::logging::init(LevelFilter::INFO);
            Ok(())
        }
    }
}

/// The error and its causes. An error that already includes the text of its cause does not repeat it.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.ends_with(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Init(args) => init::run(&args).map(|()| 0),
        Command::Verify(args) => Ok(verifier::cli::run(args, &mut std::io::stdout())),
        Command::Keygen(args) => keygen::run(&args).map(|()| 0),
        Command::ConfigReference => {
            config_reference::run();
            Ok(0)
        }
        Command::MetricsReference => {
            metrics_reference::run();
            Ok(0)
        }
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let result = runtime.block_on(run_async(command));
            // Do not wait for a thread whose remote does not answer.
            runtime.shutdown_timeout(SHUTDOWN_MAX);
            result
        }
    }
}

async fn run_async(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Demo(args) => demo::run(&args).await?,
        Command::Up(args) => services::up(&args).await?,
        Command::Committer(args) => return services::committer(&args).await,
        Command::Ingest(args) => services::ingest(&args).await?,
        Command::Anchor(args) => services::anchor(&args).await?,
        Command::Export(args) => export::run(&args).await?,
        Command::VerifyBatch(args) => return verify_batch::run(&args).await,
        Command::Prove(args) => prove::run(&args).await?,
        Command::Key(args) => key::run(args).await?,
        Command::Epoch(args) => operator::epoch(&args).await?,
        Command::Gap(args) => operator::gap(&args).await?,
        Command::Init(_)
        | Command::Verify(_)
        | Command::Keygen(_)
        | Command::ConfigReference
        | Command::MetricsReference => {
            unreachable!("needs no runtime and was run without one")
        }
    }
    Ok(0)
}
