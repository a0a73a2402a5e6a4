//! The account for servers that refuse to run as root (PostgreSQL) or that root would have to set up (sshd).

use std::path::Path;
use std::process::Command;

use crate::process::run;

/// Debian's package `postgresql` creates this account.
const SERVER_ACCOUNT: &str = "postgres";

/// The server account, if it differs from the account that runs the test.
pub(crate) fn server_account() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some(SERVER_ACCOUNT)
}

/// The login name of the server account.
pub(crate) fn server_login() -> String {
    match server_account() {
        Some(name) => name.to_owned(),
        None => run(Command::new("id").arg("-un")).trim().to_owned(),
    }
}

/// A command line that runs `program` as the server account. The kernel sends it `signal` when this process dies.
pub(crate) fn as_server(signal: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if let Some(account) = server_account() {
        command.arg(format!("--reuid={account}"));
        command.arg(format!("--regid={account}"));
        command.arg("--clear-groups");
    }
    command.arg(program);
    command
}

/// Gives `path` and everything below it to the server account.
pub(crate) fn give_to_server(path: &Path) {
    if let Some(account) = server_account() {
        run(Command::new("chown").arg("-R").arg(account).arg(path));
    }
}
