//! Prometheus' own linter of metrics.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::cache::cache;

/// The findings of Prometheus' own linter in a text of metrics; empty if it finds nothing.
///
/// # Panics
/// When promtool is missing.
pub fn promtool(metrics: &str) -> String {
    let unpacked = cache().join("prometheus/promtool");
    let program = if unpacked.exists() { unpacked.as_os_str() } else { "promtool".as_ref() };
    let mut command = Command::new(program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("no promtool ({error}); Debian has it in the package prometheus, ./test unpacks it into {unpacked:?}")
    });
    let written = child.stdin.take().expect("a pipe").write_all(metrics.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    written.expect("it reads everything");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() || !said.is_empty(), "promtool ended with {}", output.status);
    said
}
