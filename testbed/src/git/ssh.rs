//! A Git remote over SSH: Debian's sshd with its own keys, port and account.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{BareRepository, git};
use crate::cache::cache;
use crate::ports::free_port;
use crate::process::{Process, run};
use crate::scratch::Scratch;
use crate::user::{as_server, give_to_server, server_login};
use crate::wait::until;

const READY_WITHIN: Duration = Duration::from_secs(30);
const INSTALLED: &str = "/usr/sbin/sshd";

/// An SSH server on loopback that accepts one key, and the folder of its repositories.
#[derive(Debug)]
pub struct GitSsh {
    port: u16,
    process: Process,
    /// Declared after the process, because fields drop in this order.
    folder: Scratch,
}

impl GitSsh {
    /// Starts a server with a new host key and a new key for its only user.
    ///
    /// # Panics
    /// When sshd is missing or does not start.
    pub fn start() -> Self {
        let folder = Scratch::new("ssh");
        let port = free_port();
        for key in ["host_key", "user_key"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
                .arg(folder.join(key)));
        }
        let settings = folder.join("sshd_config");
        fs::write(&settings, config(folder.path(), port)).expect("a new folder can be written to");
        let (program, libraries) = install(folder.path());
        give_to_server(folder.path());
        // The user's key belongs to the account that runs the test: ssh refuses a key that others can read.
        own(&folder.join("user_key"));
        let mut command = as_server("KILL", &program);
        command.env("LD_LIBRARY_PATH", libraries).args(["-D", "-e", "-f"]).arg(&settings);
        let process = Process::start("sshd", folder.join("log"), command);
        let server = Self { port, process, folder };
        until("sshd answers", READY_WITHIN, || {
            server.process.assert_running();
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    /// A new empty repository on the server.
    ///
    /// # Panics
    /// When Git does not make it.
    pub fn repository(&self, name: &str) -> BareRepository {
        let repository = BareRepository::new(self.folder.join(name));
        give_to_server(repository.path());
        repository
    }

    /// The URL of a repository, by the name given to [`repository`](Self::repository).
    pub fn url(&self, repository: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", server_login(), self.port, self.folder.join(repository).display())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that the server accepts.
    pub fn key(&self) -> PathBuf {
        self.folder.join("user_key")
    }

    /// A `known_hosts` file with the server's key, at `path`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_known_hosts(&self, path: &Path) {
        let key = fs::read_to_string(self.folder.join("host_key.pub")).expect("ssh-keygen wrote it");
        fs::write(path, format!("[127.0.0.1]:{} {key}", self.port))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Git with this server's host key and the user's key.
    ///
    /// # Panics
    /// As [`write_known_hosts`](Self::write_known_hosts).
    pub fn git(&self) -> Command {
        let known_hosts = self.folder.join("known_hosts");
        self.write_known_hosts(&known_hosts);
        let mut command = git();
        command.env(
            "GIT_SSH_COMMAND",
            format!(
                "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={} -i {}",
                known_hosts.display(),
                self.key().display()
            ),
        );
        command
    }

    /// Stops it.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Starts it again on the same port and keys after [`stop`](Self::stop).
    pub fn start_again(&self) {
        self.process.start_again();
    }
}

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
AuthenticationMethods publickey
# The files are below a world-writable folder (/tmp).
StrictModes no
UsePAM no
PidFile none
AllowTcpForwarding no
X11Forwarding no
"
    )
}

/// An sshd that the server account may run, and the folder of its library. `./test` only unpacks Debian's packages,
/// because installing them would set up an SSH server on the machine.
fn install(folder: &Path) -> (PathBuf, PathBuf) {
    if Path::new(INSTALLED).exists() {
        return (INSTALLED.into(), folder.into());
    }
    let unpacked = cache().join("openssh-server");
    assert!(
        unpacked.is_dir(),
        "no {INSTALLED}; Debian has it in the package openssh-server (./test unpacks it into {})",
        unpacked.display()
    );
    // The server account cannot read the cache of the user who runs the test.
    run(Command::new("cp").arg("-R").arg(&unpacked).arg(folder));
    let copy = folder.join("openssh-server");
    (copy.join("sshd"), copy)
}

fn own(key: &Path) {
    let user = run(Command::new("id").arg("-u"));
    run(Command::new("chown").arg(user.trim()).arg(key));
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("an own file's mode can be set");
}
