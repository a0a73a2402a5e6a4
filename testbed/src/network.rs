//! Running a program where there is no network.

use std::path::Path;
use std::process::Command;

/// A command line for `program` in a network namespace of its own, where even loopback is down.
pub fn without_network(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        // Whoever is not root may make a network namespace inside a user namespace.
        command.args(["--user", "--map-current-user"]);
    }
    command.arg("--net").arg(program.as_ref());
    command
}
