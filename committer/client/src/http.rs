//! HTTP clients for all services of the project, with proxies.
//!
//! The environment names the proxies (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`). Requests to this machine never
//! use a proxy: one on another machine would reach another server. Errors name the proxy, as it often causes them.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, ClientBuilder, Url};

/// A server, with the client that reaches it.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
    proxy: Option<String>,
}

/// Builds a client for the server at an address; `set` configures it.
///
/// # Errors
/// If the client cannot be built.
pub fn server(url: &Url, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Server, reqwest::Error> {
    let proxy = proxy(url);
    let builder = set(Client::builder());
    let builder = if proxy.is_none() { builder.no_proxy() } else { builder };
    Ok(Server { client: builder.build()?, proxy })
}

impl Server {
    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What to add to an error: ` (by way of the proxy http://host:port)`, or nothing.
    pub fn way(&self) -> String {
        way(self.proxy.as_deref())
    }

    /// An error with all its sources, and the proxy if one was used.
    pub fn explain(&self, error: &reqwest::Error) -> String {
        // reqwest's own text stops at "error sending request"; the reason is in its sources.
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            message = format!("{message}: {error}");
            source = error.source();
        }
        message + &self.way()
    }
}

/// What to add to an error about a server behind `proxy`.
pub fn way(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" (by way of the proxy {proxy})")).unwrap_or_default()
}

/// The environment's proxy for an address, without its password; `None` if there is none.
pub fn proxy(url: &Url) -> Option<String> {
    if is_of_this_machine(url) {
        return None;
    }
    let intercept = Matcher::from_env().intercept(&url.as_str().parse().ok()?)?;
    let proxy = intercept.uri();
    let authority = proxy.authority()?.as_str();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    Some(format!("{}://{place}", proxy.scheme_str().unwrap_or("http")))
}

fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_use_no_proxy() {
        let is_of_this_machine = |url: &str| is_of_this_machine(&Url::parse(url).expect("an address"));
        for url in [
            "http://127.0.0.1:7380",
            "http://127.1.2.3/x",
            "http://127.1",
            "https://[::1]:7380/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:7380",
            "http://LOCALHOST./",
            "http://committer.localhost/",
            "http://0.0.0.0:7380",
        ] {
            assert!(is_of_this_machine(url), "{url}");
        }
        for url in [
            "http://128.0.0.1",
            "http://[::2]/",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com/",
            "http://notlocalhost/",
            "http://192.0.2.1/localhost",
        ] {
            assert!(!is_of_this_machine(url), "{url}");
        }
    }
}
