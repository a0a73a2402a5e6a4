//! The command `streamseal-bench`.
#![allow(clippy::print_stdout)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bench::{Addresses, Servers, compare, line, load, report};
use clap::{Parser, Subcommand};

/// The same allocator as in the measured programs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures streamseal
#[derive(Debug, Parser)]
#[command(name = "streamseal-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Load(load::Args),
    /// Writes report.md and plots beside the raw results of a run
    Report {
        /// The folder of the run
        dir: PathBuf,
    },
    /// Lists measurements that got worse beyond noise; exits with 1 if any did
    Compare {
        /// The folder of the older run
        old: PathBuf,
        /// The folder of the newer run
        new: PathBuf,
    },
    /// Starts a Kafka and a PostgreSQL for several runs, prints their addresses, and stops them at its end
    Servers,
    /// Lists the cases
    Cases,
}

/// Measures cases, adds their raw results to a folder, and writes its report
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Names of cases; by default all
    cases: Vec<String>,
    /// Samples of each measurement
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Runs everything small, as a test; the values mean nothing
    #[arg(long)]
    quick: bool,
    /// Only measurements whose names contain these words
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Folder for results; by default bench/runs/<date>-<machine>
    #[allow(rustdoc::invalid_html_tags, reason = "a help text, not Markdown")]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    line: line::Options,
    #[command(flatten)]
    addresses: Addresses,
}

/// The exit code if something got worse.
const WORSE: u8 = 1;

/// The exit code of an error.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("streamseal-bench: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => measure(&args)?,
        Command::Load(args) => load::run(&args)?,
        Command::Report { dir } => report::write(&dir)?,
        Command::Compare { old, new } => {
            let comparison = compare::compare_folders(&old, &new)?;
            // A reader that stops early, such as `head`, is not an error.
            write!(std::io::stdout(), "{comparison}").context("the comparison")?;
            return Ok(if comparison.is_worse() { WORSE } else { 0 });
        }
        Command::Servers => Servers::new(Addresses::default())?.keep(&mut std::io::stdout())?,
        Command::Cases => bench::cases::ALL.iter().for_each(|case| println!("{}: {}", case.name, case.about)),
    }
    Ok(0)
}

fn measure(args: &RunArgs) -> anyhow::Result<()> {
    let cases = match &args.cases[..] {
        [] => bench::cases::ALL.iter().collect(),
        names => names
            .iter()
            .map(|name| {
                bench::cases::named(name).with_context(|| format!("no case {name}: see `streamseal-bench cases`"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?,
    };
    let plan =
        bench::Plan { cases, runs: args.runs, quick: args.quick, only: args.only.clone(), line: args.line.clone() };
    let folder = args.out.clone().unwrap_or_else(|| Path::new("bench/runs").join(bench::folder_name()));
    plan.run(&Servers::new(args.addresses.clone())?, &folder)?;
    println!("{}", folder.join("report.md").display());
    Ok(())
}
