//! Runs a program without a network.

use std::path::Path;
use std::process::Command;

/// A command line for `program` in its own network namespace, where even loopback is down.
pub fn without_network(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        // Without root, a network namespace needs a user namespace around it.
        command.args(["--user", "--map-current-user"]);
    }
    command.arg("--net").arg(program.as_ref());
    command
}
