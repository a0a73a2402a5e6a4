//! Records the commit and the compiler for the results.

use std::env::{var, var_os};
use std::path::Path;
use std::process::Command;

/// The file that Git writes at each commit, checkout and merge.
const HEAD: &str = "../.git/logs/HEAD";

fn main() {
    let said = |command: &mut Command| {
        let output = command.output().ok().filter(|output| output.status.success());
        let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
        text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let rustc = said(Command::new(var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"));
    println!("cargo::rustc-env=BENCH_RUSTC={rustc}");
    // An image is built without the repository.
    let given = var("STREAMSEAL_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit =
        given.unwrap_or_else(|| said(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"])));
    println!("cargo::rustc-env=BENCH_COMMIT={commit}");
    println!("cargo::rerun-if-env-changed=STREAMSEAL_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    if Path::new(HEAD).exists() {
        println!("cargo::rerun-if-changed={HEAD}");
    }
}
