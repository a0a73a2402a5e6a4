use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use evidence::VerifierKey;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::address::Address;

/// The anchor: proves the chain's head consistent, cosigns it and publishes it in Git.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The anchor's cosigning key, a file of mode 0600. The anchor keeps its state in files beside it, whose names begin
    /// with this one's. Keep them together, on a disk that is not restored from old backups. The folder `incidents`
    /// beside it keeps signed heads of the log that contradict each other.
    pub key: PathBuf,
    /// Address of the committer, such as `http://127.0.0.1:7380`. The anchor reaches other hosts, Git servers
    /// too, through the proxies that the environment names.
    pub committer: String,
    /// The anchor's own bare Git repository, created when it does not exist. Several anchors of one machine may share it.
    pub repository: PathBuf,
    /// The branch that anchors are committed to, in the own repository and in all remotes. Nothing else may use it.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// Repositories that every anchor is pushed to, each independently of the others.
    #[serde(default)]
    pub remotes: Vec<Remote>,
    /// Witnesses (C2SP tlog-witness) that are asked for a cosignature on every anchor. An anchor is published without a
    /// witness that does not answer in time. That witness is asked again every few seconds, and the anchor committed again
    /// with its cosignature.
    #[serde(default)]
    pub witnesses: Vec<Witness>,
    /// Seconds between two looks at the chain's head.
    #[serde(default = "default_interval_s")]
    pub interval_s: u32,
    /// Seconds after which an unchanged head is cosigned and committed again, to show that the ledger is alive.
    #[serde(default = "default_heartbeat_s")]
    pub heartbeat_s: u32,
    /// Address for health and metrics.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// A Git repository to push to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// A path, or an `ssh://`, `https://` or `user@host:path` address. A path that does not exist becomes a new
    /// bare repository. Git's hooks do not run in repositories reached by path.
    pub url: String,
    /// Name in logs and metrics; the default is the address.
    pub name: Option<String>,
    /// SSH: private key file.
    pub ssh_key: Option<PathBuf>,
    /// SSH: file with the server's host keys in the plain form that `ssh-keyscan` prints (names are not hashed).
    pub known_hosts: Option<PathBuf>,
    /// HTTPS: user name, where the server needs one; many accept any name with a token.
    pub user: Option<String>,
    /// HTTPS: file of mode 0600 with the password or access token in one line. It is read again for every push.
    pub password_file: Option<PathBuf>,
}

/// A witness that cosigns checkpoints.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Prefix of its interface: requests go to `<url>/add-checkpoint`.
    pub url: String,
    /// Its vkey, of type 0x04. Only cosignatures by this key are published.
    pub vkey: String,
}

fn default_branch() -> String {
    "anchors".to_owned()
}

const fn default_interval_s() -> u32 {
    60
}

const fn default_heartbeat_s() -> u32 {
    3600
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7382).into()
}

impl Config {
    /// Makes relative paths relative to `folder`, that of the configuration file.
    pub fn resolve(&mut self, folder: &Path) {
        let remotes = self.remotes.iter_mut();
        let optional = remotes.flat_map(|r| [&mut r.ssh_key, &mut r.known_hosts, &mut r.password_file]).flatten();
        for path in [&mut self.key, &mut self.repository].into_iter().chain(optional) {
            *path = folder.join(&*path);
        }
        for remote in &mut self.remotes {
            if let Ok(Address::Path(path)) = Address::parse(&remote.url) {
                remote.url = folder.join(path).display().to_string();
            }
        }
    }

    /// Checks what the types cannot express. The error names the field.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.interval_s > 0, "anchor.interval_s: must be at least 1");
        ensure!(self.heartbeat_s >= self.interval_s, "anchor.heartbeat_s: must be at least interval_s");
        ensure!(
            git2::Reference::is_valid_name(&self.reference()),
            "anchor.branch: {:?} cannot be the name of a branch",
            self.branch
        );
        for (i, remote) in self.remotes.iter().enumerate() {
            remote.check().with_context(|| format!("anchor.remotes[{i}]"))?;
            let repeated = self.remotes[..i].iter().any(|r| r.url == remote.url || r.name() == remote.name());
            ensure!(!repeated, "anchor.remotes[{i}]: {} appears twice", remote.name());
        }
        for (i, witness) in self.witnesses.iter().enumerate() {
            witness.key().with_context(|| format!("anchor.witnesses[{i}].vkey"))?;
        }
        Ok(())
    }

    /// The full name of the branch.
    pub(crate) fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

impl Remote {
    /// Its name in logs and metrics.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.url)
    }

    fn check(&self) -> anyhow::Result<()> {
        match Address::parse(&self.url).context("url")? {
            Address::Path(_) => {}
            Address::Ssh { .. } => {
                ensure!(self.ssh_key.is_some(), "ssh_key: an SSH address needs a private key file");
                ensure!(
                    self.known_hosts.is_some(),
                    "known_hosts: an SSH address needs a file with the server's host key"
                );
            }
            Address::Http { secure, loopback } => {
                if self.password_file.is_some() && !secure && !loopback {
                    bail!("url: http:// would show the password to the network; use https://");
                }
            }
        }
        Ok(())
    }
}

impl Witness {
    pub(crate) fn key(&self) -> anyhow::Result<VerifierKey> {
        let key: VerifierKey = self.vkey.parse()?;
        ensure!(key.algorithm() == evidence::Algorithm::Cosignature, "not a cosigning key (type 0x04)");
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "key = 'keys/anchor.key'\ncommitter = 'http://127.0.0.1:1'\nrepository = 'anchor.git'\n";

    fn config(more: &str) -> Config {
        service::config::parse(&format!("{MINIMAL}{more}"), Path::new("test.toml")).expect("valid TOML")
    }

    #[test]
    fn only_paths_are_relative_to_the_file() {
        let mut config = config(
            "[[remotes]]\nurl = 'anchors.git'\n[[remotes]]\nurl = 'https://example.com/a.git'\npassword_file = 'token'\n\
             [[remotes]]\nurl = '/srv/a.git'\n[[remotes]]\nurl = 'git@example.com:a.git'\n",
        );
        config.resolve(Path::new("/etc/streamseal"));
        assert_eq!(config.key, Path::new("/etc/streamseal/keys/anchor.key"));
        let urls: Vec<&str> = config.remotes.iter().map(|r| r.url.as_str()).collect();
        assert_eq!(
            urls,
            ["/etc/streamseal/anchors.git", "https://example.com/a.git", "/srv/a.git", "git@example.com:a.git"]
        );
        assert_eq!(config.remotes[1].password_file.as_deref(), Some(Path::new("/etc/streamseal/token")));
    }

    #[test]
    fn defaults_are_valid() {
        let config = config("");
        config.check().expect("valid");
        assert_eq!((config.interval_s, config.heartbeat_s, config.branch.as_str()), (60, 3600, "anchors"));
    }

    #[test]
    fn invalid_field_is_named() {
        let ssh = "[[remotes]]\nurl = 'ssh://git@example.com/a.git'\n";
        for (more, wanted) in [
            ("interval_s = 0".to_owned(), "anchor.interval_s"),
            ("interval_s = 60\nheartbeat_s = 59".to_owned(), "anchor.heartbeat_s"),
            ("branch = 'a..b'".to_owned(), "anchor.branch"),
            (ssh.to_owned(), "ssh_key"),
            (format!("{ssh}ssh_key = 'k'"), "known_hosts"),
            ("[[remotes]]\nurl = 'ftp://example.com/a.git'".to_owned(), "anchor.remotes[0]: url"),
            ("[[remotes]]\nurl = 'http://example.com/a.git'\npassword_file = 'x'".to_owned(), "https://"),
            ("[[remotes]]\nurl = 'https://me:secret@example.com/a.git'".to_owned(), "password_file"),
            ("[[remotes]]\nurl = '/a'\n[[remotes]]\nurl = '/a'".to_owned(), "anchor.remotes[1]"),
            ("[[witnesses]]\nurl = 'http://w'\nvkey = 'x'".to_owned(), "anchor.witnesses[0].vkey"),
        ] {
            let problem = format!("{:#}", config(&more).check().expect_err("invalid"));
            assert!(problem.contains(wanted), "{problem:?} should name {wanted:?}");
            assert!(!problem.contains("secret"), "{problem:?}");
        }
    }
}
