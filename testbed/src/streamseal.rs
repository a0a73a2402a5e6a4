//! The `streamseal` binary of this work tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The path of the built `streamseal`, beside the workspace's other binaries. The first call builds it, because cargo
/// does not build other packages' binaries for a test, and a test must not run an old one.
///
/// # Panics
/// When it does not build.
pub fn streamseal() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(build);
    &BINARY
}

fn build() -> PathBuf {
    // Read at run time, not at build time. Without cargo around this program, rustup's cargo keeps one toolchain even
    // if a dependency has a rust-toolchain file.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // The whole workspace, with the same features as in `./test`, so that nothing is built twice.
        .args(["build", "--locked", "--quiet", "--workspace", "--bins"])
        .arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {cargo}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "streamseal")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.unwrap_or_else(|| panic!("{command:?} built no binary named streamseal"))
}
