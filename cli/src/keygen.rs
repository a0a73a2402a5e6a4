//! `streamseal keygen`: a new signing key.

use std::path::PathBuf;

use anyhow::Context;
use evidence::statement::Role;

use crate::output;

/// Makes a signing key for a role, writes it to a file of mode 0600 and prints its vkey, the public key
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write; an existing one is never overwritten
    pub file: PathBuf,
    /// The key's name, such as ingest-b; never reuse one within a ledger
    #[arg(long)]
    pub name: String,
    /// The key's role: ingest, operator, log or anchor
    #[arg(long)]
    pub role: Role,
}

/// Writes the key and prints the vkey, which `streamseal key grant` takes.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = keystore::generate(&args.name, args.role.algorithm()).context("--name")?;
    keystore::write_signing_key(&args.file, &key)?;
    output::line(key.verifier_key());
    Ok(())
}
