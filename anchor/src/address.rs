use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// The address of a remote, as far as the way to reach it depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A repository of this machine.
    Path(PathBuf),
    /// A server that authenticates itself by a host key.
    Ssh { user: String, host: String, port: u16 },
    /// A server that authenticates itself by a certificate, if it is `secure`.
    Http { secure: bool, loopback: bool },
}

impl Address {
    /// Parses the forms that Git accepts: `scheme://[user@]host[:port]/path`, `[user@]host:path` and paths.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Self::parse_short(url);
        };
        if scheme == "file" {
            ensure!(rest.starts_with('/'), "a file:// address needs an absolute path");
            return Ok(Self::Path(PathBuf::from(rest)));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        ensure!(!user.contains(':'), "an address must not hold a password; put it into a password_file");
        let (host, port) = split_port(place)?;
        ensure!(!host.is_empty(), "no host in the address");
        match scheme {
            "ssh" => Ok(Self::Ssh { user: user_or_git(user), host: host.to_owned(), port: port.unwrap_or(22) }),
            "https" => Ok(Self::Http { secure: true, loopback: is_loopback(host) }),
            "http" => Ok(Self::Http { secure: false, loopback: is_loopback(host) }),
            other => bail!("{other}:// is not supported; use a path, ssh:// or https://"),
        }
    }

    /// `[user@]host:path` as in SSH, when there is no slash before the colon; otherwise a path.
    fn parse_short(url: &str) -> anyhow::Result<Self> {
        ensure!(!url.is_empty(), "the address is empty");
        match url.split_once(':') {
            Some((place, _)) if !place.contains('/') => {
                let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
                ensure!(!host.is_empty(), "no host in the address");
                Ok(Self::Ssh { user: user_or_git(user), host: host.to_owned(), port: 22 })
            }
            _ => Ok(Self::Path(Path::new(url).to_owned())),
        }
    }
}

fn user_or_git(user: &str) -> String {
    if user.is_empty() { "git".to_owned() } else { user.to_owned() }
}

/// `host`, `host:port` or `[v6 address]:port`.
fn split_port(place: &str) -> anyhow::Result<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').context("expected `:` after `]`")?)),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|p| p.parse().context("the port is not a number up to 65535")).transpose()?;
    Ok((host, port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(user: &str, host: &str, port: u16) -> Address {
        Address::Ssh { user: user.into(), host: host.into(), port }
    }

    #[test]
    fn forms_of_git_are_parsed() {
        let path = |p: &str| Address::Path(p.into());
        for (url, wanted) in [
            ("/srv/a.git", path("/srv/a.git")),
            ("anchors.git", path("anchors.git")),
            ("./odd:name.git", path("./odd:name.git")),
            ("file:///srv/a.git", path("/srv/a.git")),
            ("ssh://me@example.com:2222/a.git", ssh("me", "example.com", 2222)),
            ("ssh://example.com/a.git", ssh("git", "example.com", 22)),
            ("ssh://git@[::1]:2222/a.git", ssh("git", "::1", 2222)),
            ("git@example.com:a.git", ssh("git", "example.com", 22)),
            ("https://example.com/a.git", Address::Http { secure: true, loopback: false }),
            ("http://127.0.0.1:3000/a.git", Address::Http { secure: false, loopback: true }),
        ] {
            assert_eq!(Address::parse(url).expect(url), wanted, "{url}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "",
            "git://example.com/a.git",
            "https:///a.git",
            "https://me:pw@example.com/a",
            "ssh://h:x/a",
            "file://host/a",
            "@:a",
        ] {
            assert!(Address::parse(url).is_err(), "{url:?}");
        }
    }
}
