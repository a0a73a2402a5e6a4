//! `streamseal-verify`: the verifier alone, for auditors.

use std::process::ExitCode;

use clap::Parser;
use verifier::cli::{Args, run};

#[derive(Parser)]
#[command(name = "streamseal-verify", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    ExitCode::from(run(Cli::parse().args, &mut std::io::stdout().lock()))
}
