//! Remotes that are reached over SSH or HTTP.

use std::cell::RefCell;

use anyhow::{Context, anyhow, bail, ensure};
use committer_client::http;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, FetchOptions, Oid, ProxyOptions,
    PushOptions, RemoteCallbacks, RemoteRedirect,
};

use crate::address::Address;
use crate::config;
use crate::git_options;
use crate::known_hosts;
use crate::repository::Repository;

/// A remote that is reached over the network. Both sides authenticate.
#[derive(Debug)]
pub(crate) struct NetworkRemote {
    remote: config::Remote,
    address: Address,
}

impl NetworkRemote {
    pub(crate) fn new(remote: config::Remote, address: Address) -> Self {
        git_options::set_up();
        Self { remote, address }
    }

    /// The commit that the remote's branch is at.
    pub(crate) fn tip(&self, ours: &Repository) -> anyhow::Result<Option<Oid>> {
        let reason = RefCell::new(None);
        let list = || {
            let mut remote = ours.git().remote_anonymous(&self.remote.url)?;
            let callbacks = Some(self.callbacks(&reason));
            let connection = remote.connect_auth(Direction::Fetch, callbacks, Some(self.proxy_options()))?;
            let heads = connection.list()?;
            Ok(heads.iter().find(|head| head.name() == ours.reference()).map(git2::RemoteHead::oid))
        };
        self.explain(list(), &reason).context("ask for the branch")
    }

    /// Fetches the remote's branch; it becomes `reference` of our repository. Gives up after `bytes_max`.
    pub(crate) fn fetch(&self, ours: &Repository, reference: &str, bytes_max: usize) -> anyhow::Result<()> {
        let reason = RefCell::new(None);
        let fetch = || {
            let mut callbacks = self.callbacks(&reason);
            callbacks.transfer_progress(|progress| progress.received_bytes() <= bytes_max);
            let mut options = FetchOptions::new();
            options
                .remote_callbacks(callbacks)
                .proxy_options(self.proxy_options())
                .follow_redirects(RemoteRedirect::None)
                .download_tags(AutotagOption::None)
                .update_fetchhead(false);
            let refspec = format!("+{}:{reference}", ours.reference());
            ours.git().remote_anonymous(&self.remote.url)?.fetch(&[refspec], Some(&mut options), None)
        };
        self.explain(fetch(), &reason).context("fetch the branch")
    }

    /// Moves the remote's branch from `theirs` to our newest commit, which must come after it.
    pub(crate) fn push(&self, ours: &Repository, theirs: Option<Oid>) -> anyhow::Result<()> {
        let reason = RefCell::new(None);
        let refused = RefCell::new(None);
        let push = || {
            let mut callbacks = self.callbacks(&reason);
            callbacks.push_update_reference(|_, status| {
                *refused.borrow_mut() = status.map(str::to_owned);
                Ok(())
            });
            callbacks.push_negotiation(|updates| {
                // The decision to push holds only for the commit that was seen a moment ago.
                let moved = updates.iter().any(|update| update.src() != theirs.unwrap_or(Oid::ZERO_SHA1));
                if moved { Err(git2::Error::from_str("the branch moved while it was pushed to")) } else { Ok(()) }
            });
            let mut options = PushOptions::new();
            options
                .remote_callbacks(callbacks)
                .proxy_options(self.proxy_options())
                .follow_redirects(RemoteRedirect::None)
                .packbuilder_parallelism(1);
            // Without a plus sign: never forced.
            let refspec = format!("{0}:{0}", ours.reference());
            ours.git().remote_anonymous(&self.remote.url)?.push(&[refspec], Some(&mut options))
        };
        self.explain(push(), &reason).context("push")?;
        match refused.into_inner() {
            None => Ok(()),
            Some(reason) => bail!("the remote refused the push: {reason}"),
        }
    }

    /// `reason` keeps the cause when a callback fails, because libgit2 loses it.
    fn callbacks<'a>(&'a self, reason: &'a RefCell<Option<String>>) -> RemoteCallbacks<'a> {
        let fail = |error: anyhow::Error| {
            let text = format!("{error:#}");
            *reason.borrow_mut() = Some(text.clone());
            git2::Error::from_str(&text)
        };
        let mut asked = CredentialType::empty();
        let mut callbacks = RemoteCallbacks::new();
        callbacks.credentials(move |url, _, allowed| {
            // libgit2 asks again after a refusal, for ever.
            let again = asked.intersects(allowed & !CredentialType::USERNAME);
            asked |= allowed;
            let credential =
                if again { Err(anyhow!("the remote refused the credentials")) } else { self.credential(url, allowed) };
            credential.map_err(fail)
        });
        callbacks.certificate_check(move |certificate, host| {
            let Some(hostkey) = certificate.as_hostkey() else {
                // A TLS certificate: OpenSSL has checked it.
                return Ok(CertificateCheckStatus::CertificatePassthrough);
            };
            let kind = hostkey.hostkey_type().map_or("unknown", |kind| kind.name());
            let check = hostkey
                .hostkey()
                .context("the server shows no host key")
                .and_then(|key| self.check_host(host, kind, key));
            check.map(|()| CertificateCheckStatus::CertificateOk).map_err(fail)
        });
        callbacks
    }

    /// Makes libgit2 use the same proxy as all other requests; by default it uses none.
    fn proxy_options(&self) -> ProxyOptions<'static> {
        let mut options = ProxyOptions::new();
        if self.proxy().is_some() {
            options.auto();
        }
        options
    }

    /// The proxy that the environment names for a server over HTTP.
    fn proxy(&self) -> Option<String> {
        match self.address {
            Address::Http { .. } => http::proxy(&self.remote.url.parse().ok()?),
            _ => None,
        }
    }

    /// The result with the reason that a callback gave.
    fn explain<T>(&self, result: Result<T, git2::Error>, reason: &RefCell<Option<String>>) -> anyhow::Result<T> {
        result.map_err(|error| match reason.take() {
            Some(reason) => anyhow!(reason),
            None => anyhow!("{}{}", error.message(), http::way(self.proxy().as_deref())),
        })
    }

    fn credential(&self, url: &str, allowed: CredentialType) -> anyhow::Result<Cred> {
        let remote = &self.remote;
        match &self.address {
            Address::Ssh { user, .. } => {
                if allowed.contains(CredentialType::USERNAME) {
                    return Ok(Cred::username(user)?);
                }
                ensure!(allowed.contains(CredentialType::SSH_KEY), "the server does not take keys");
                let key = remote.ssh_key.as_deref().context("no ssh_key is configured")?;
                keystore::check_private(key)?;
                Ok(Cred::ssh_key(user, None, key, None)?)
            }
            _ => {
                let file = remote.password_file.as_deref().context("the server wants a password: set password_file")?;
                ensure!(allowed.contains(CredentialType::USER_PASS_PLAINTEXT), "the server does not take passwords");
                // libgit2 follows a first redirect; the password must go to the configured server only.
                ensure!(same_server(url, &remote.url), "the server redirects to {url}");
                let password = keystore::read_secret(file)?;
                Ok(Cred::userpass_plaintext(remote.user.as_deref().unwrap_or("git"), &password)?)
            }
        }
    }

    fn check_host(&self, host: &str, kind: &str, key: &[u8]) -> anyhow::Result<()> {
        let Address::Ssh { port, .. } = self.address else {
            bail!("a host key from a server that is not reached by SSH");
        };
        let path = self.remote.known_hosts.as_deref().context("no known_hosts is configured")?;
        let file = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        known_hosts::check(&file, host, port, kind, key).map_err(|e| anyhow!("{e} ({})", path.display()))
    }
}

/// Whether two addresses have the same scheme, host and port.
fn same_server(a: &str, b: &str) -> bool {
    let server = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let default = if scheme == "https" { ":443" } else { ":80" };
        Some((scheme.to_owned(), place.strip_suffix(default).unwrap_or(place).to_ascii_lowercase()))
    };
    server(a).is_some() && server(a) == server(b)
}

#[cfg(test)]
mod tests {
    use ::testbed::{BareRepository, GitHttp, Scratch};

    use super::*;

    /// Our repository with two commits, and a server with the first of them and a foreign one.
    struct Fixture {
        ours: Repository,
        first: Oid,
        foreign: Oid,
        network: NetworkRemote,
        theirs: BareRepository,
        _server: GitHttp,
        _folder: Scratch,
    }

    fn fixture() -> Fixture {
        let folder = Scratch::new("network");
        let theirs = BareRepository::new(folder.join("theirs.git"));
        theirs.git(&["config", "http.receivepack", "true"]);
        let server = GitHttp::start(folder.path());
        let remote = config::Remote {
            url: server.url("theirs.git"),
            name: None,
            ssh_key: None,
            known_hosts: None,
            user: None,
            password_file: None,
        };
        let network = NetworkRemote::new(remote, Address::Http { secure: false, loopback: true });
        let ours = Repository::open_or_init(&folder.join("ours.git"), "refs/heads/anchors").expect("made");
        let commit =
            |parent, text: &[u8]| ours.commit(parent, "logs/a", &[("checkpoint", text)], 1, "m").expect("made");
        let first = commit(None, b"1");
        network.push(&ours, None).expect("pushed");
        commit(Some(first), b"2");
        let tree = theirs.git(&["rev-parse", "anchors^{tree}"]);
        let foreign = theirs.git(&["commit-tree", "-m", "foreign", &tree]).parse().expect("an id");
        Fixture { ours, first, foreign, network, theirs, _server: server, _folder: folder }
    }

    impl Fixture {
        fn set(&self, commit: Oid) {
            self.theirs.git(&["update-ref", "refs/heads/anchors", &commit.to_string()]);
        }

        fn tip(&self) -> Option<Oid> {
            self.network.tip(&self.ours).expect("answers")
        }
    }

    #[test]
    fn moved_branch_is_not_pushed_to() {
        let f = fixture();
        let second = f.ours.tip().expect("read").expect("there");
        for seen in [None, Some(f.foreign), Some(second)] {
            let error = f.network.push(&f.ours, seen).expect_err("it is elsewhere");
            assert!(format!("{error:#}").contains("moved"), "{error:#}");
            assert_eq!(f.tip(), Some(f.first));
        }
        f.network.push(&f.ours, Some(f.first)).expect("it is there");
        assert_eq!(f.tip(), Some(second));
    }

    #[test]
    fn nothing_is_ever_forced() {
        let f = fixture();
        f.set(f.foreign);
        f.network.push(&f.ours, Some(f.foreign)).expect_err("unknown here");
        f.network.fetch(&f.ours, "refs/streamseal/fetched/x", usize::MAX).expect("fetched");
        f.network.push(&f.ours, Some(f.foreign)).expect_err("another history");
        assert_eq!(f.tip(), Some(f.foreign));
    }

    #[test]
    fn fetch_ends_at_its_limit() {
        let f = fixture();
        f.set(f.foreign);
        f.network.fetch(&f.ours, "refs/streamseal/fetched/x", 0).expect_err("too much");
        assert!(f.ours.git().find_reference("refs/streamseal/fetched/x").is_err());
    }

    #[test]
    fn password_is_sent_to_its_server_only() {
        assert!(same_server("https://example.com/a.git", "https://me@example.com:443/b.git"));
        assert!(same_server("http://127.0.0.1:3000/a", "http://127.0.0.1:3000/b"));
        for (a, b) in [
            ("https://example.com/a", "https://evil.example/a"),
            ("https://example.com/a", "http://example.com/a"),
            ("https://example.com/a", "https://example.com:444/a"),
            ("https://example.com@evil.example/a", "https://example.com/a"),
            ("x", "x"),
        ] {
            assert!(!same_server(a, b), "{a} {b}");
        }
    }
}
