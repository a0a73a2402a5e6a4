//! A client of the committer's HTTP interface.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{self, Server};
use crate::types::{
    CoveringQuery, Cursor, CursorQuery, ErrorView, Heads, HeadsQuery, Keys, Status, StreamEntries, StreamEntriesQuery,
    SubmitRequest, SubmitResponse, code,
};

/// No answer may be longer than this: 1,000 entries of 16 KiB with their JSON escapes, or a full entry bundle.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer. The variants differ in what the caller does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The committer understood the request and refuses it. Sending it again is pointless.
    #[error("{url}: refused: {code}: {message}")]
    Refused {
        /// The URL of the request.
        url: String,
        /// One of [`crate::code`].
        code: String,
        /// The committer's reason.
        message: String,
    },
    /// Nothing is known about the outcome: no connection, no answer in time, or the committer is overloaded or cannot
    /// reach its database. Send the same request again later.
    #[error("{url}: unavailable: {message}")]
    Unavailable {
        /// The URL of the request.
        url: String,
        /// What happened.
        message: String,
        /// How long the committer asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer breaks the interface: the server is no committer, or one of another version.
    #[error("{url}: not a committer's answer: {message}")]
    Malformed {
        /// The URL of the request.
        url: String,
        /// What is wrong with the answer.
        message: String,
    },
}

/// Talks to one committer. Cheap to clone; connections are shared and kept open.
#[derive(Clone, Debug)]
pub struct Client {
    server: Server,
    base: Url,
}

impl Client {
    /// `base` is the committer's address, such as `http://127.0.0.1:7380` or `https://host/prefix`.
    ///
    /// # Errors
    /// [`Error::Refused`] when `base` is not an http or https address.
    pub fn new(base: &str) -> Result<Client, Error> {
        let refused =
            |message: String| Error::Refused { url: base.to_owned(), code: code::BAD_REQUEST.to_owned(), message };
        let mut url = Url::parse(base).map_err(|e| refused(format!("not a committer's address: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("a committer's address starts with http:// or https://".to_owned()));
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        let server = http::server(&url, |client| client.connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT))
            .map_err(|e| refused(format!("the HTTP client cannot be set up: {e}")))?;
        Ok(Client { server, base: url })
    }

    /// The address given to [`Client::new`], with a final `/`.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// The address for people to read: without user and password, in case it holds them.
    pub fn place(&self) -> String {
        let mut place = self.base.clone();
        // These fail for addresses without a host only.
        let _ = place.set_username("");
        let _ = place.set_password(None);
        place.into()
    }

    /// Submits statements (the texts of signed notes) in order. A refused statement is an `Ok` answer with
    /// [`SubmitResponse::refused`]. After [`Error::Unavailable`] submit the same texts again: for each that was appended,
    /// the answer has its entry.
    ///
    /// # Errors
    /// [`Error`]. After [`Error::Unavailable`], the statements may or may not have been appended.
    pub async fn submit(&self, statements: Vec<String>) -> Result<SubmitResponse, Error> {
        let url = self.url("v1/statements");
        let sent = statements.len();
        let request = self.server.client().post(url.clone()).json(&SubmitRequest { statements });
        let answer: SubmitResponse = json(&url, required(&url, self.send(&url, request).await?)?)?;
        let decided = answer.accepted.len() + usize::from(answer.refused.is_some());
        let is_prefix = answer.refused.as_ref().is_none_or(|s| s.index == answer.accepted.len());
        if !is_prefix || decided > sent || (answer.refused.is_none() && decided != sent) {
            let message = format!("{decided} of {sent} statements decided, or not as a prefix");
            return Err(Error::Malformed { url: url.into(), message });
        }
        Ok(answer)
    }

    /// A partition's cursor. If it was never sealed, that is epoch 0, offset 0.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn cursor(&self, query: &CursorQuery) -> Result<Cursor, Error> {
        self.get_json(self.url_with("v1/cursors", query)).await
    }

    /// The genesis entry and every key entry, in order.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn keys(&self) -> Result<Keys, Error> {
        self.get_json(self.url("v1/keys")).await
    }

    /// The text of an entry; `None` if the chain is shorter.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn entry(&self, seq: u64) -> Result<Option<String>, Error> {
        self.get_text(self.url(&format!("v1/entries/{seq}"))).await
    }

    /// The text of the entry whose range covers an offset; `None` if no entry covers it.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn covering_entry(&self, query: &CoveringQuery) -> Result<Option<String>, Error> {
        self.get_text(self.url_with("v1/entries", query)).await
    }

    /// The entries of a stream whose range ends after `query.from`, in order.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn stream_entries(&self, query: &StreamEntriesQuery) -> Result<StreamEntries, Error> {
        self.get_json(self.url_with("v1/streams/entries", query)).await
    }

    /// The newest heads entry below a chain size, with its lines; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn heads(&self, size: u64) -> Result<Option<Heads>, Error> {
        let url = self.url_with("v1/heads", &HeadsQuery { size });
        let Some(body) = self.get(&url).await? else {
            return Ok(None);
        };
        json(&url, body).map(Some)
    }

    /// The committer's status.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get_json(self.url("v1/status")).await
    }

    /// The newest signed checkpoint, as its note's bytes; None when nothing is signed yet.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn checkpoint(&self) -> Result<Option<Vec<u8>>, Error> {
        self.get(&self.url("checkpoint")).await
    }

    /// A hash tile or an entry bundle, by its path in C2SP tlog-tiles (`tile/0/x001/234.p/5`, `tile/entries/000`);
    /// `None` if it is beyond the newest checkpoint.
    ///
    /// # Errors
    /// [`Error`] says whether to ask again.
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.get(&self.url(path)).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}{path}", url.path());
        url.set_path(&joined);
        url
    }

    fn url_with(&self, path: &str, query: &impl Serialize) -> Url {
        let mut url = self.url(path);
        let fields = serde_json::to_value(query).expect("the queries of this crate are structs of strings and numbers");
        // Sorted, because serde_json's order depends on its features.
        let fields: BTreeMap<_, _> = fields.as_object().expect("a struct serializes as an object").iter().collect();
        let mut pairs = url.query_pairs_mut();
        for (name, value) in fields {
            match value.as_str() {
                Some(text) => pairs.append_pair(name, text),
                None => pairs.append_pair(name, &value.to_string()),
            };
        }
        drop(pairs);
        url
    }

    async fn get(&self, url: &Url) -> Result<Option<Vec<u8>>, Error> {
        self.send(url, self.server.client().get(url.clone())).await
    }

    async fn get_json<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        json(&url, required(&url, self.get(&url).await?)?)
    }

    async fn get_text(&self, url: Url) -> Result<Option<String>, Error> {
        let Some(body) = self.get(&url).await? else {
            return Ok(None);
        };
        let text = String::from_utf8(body).map_err(|e| malformed(&url, format!("an entry is not text: {e}")))?;
        Ok(Some(text))
    }

    /// The body of a 200; `None` for the committer's own "not found".
    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Option<Vec<u8>>, Error> {
        let response = request.send().await.map_err(|e| self.unavailable(url, &e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = self.read_bounded(url, response).await?;
        if status == StatusCode::OK {
            return Ok(Some(body));
        }
        let view = serde_json::from_slice::<ErrorView>(&body).ok();
        let message = view
            .as_ref()
            .map_or_else(|| format!("HTTP status {status}{}", self.server.way()), |view| view.message.clone());
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) || status.is_server_error() {
            return Err(Error::Unavailable { url: url.to_string(), message, retry_after });
        }
        match view {
            Some(view) if status == StatusCode::NOT_FOUND && view.code == code::NOT_FOUND => Ok(None),
            Some(view) if status.is_client_error() => {
                Err(Error::Refused { url: url.to_string(), code: view.code, message: view.message })
            }
            _ => Err(malformed(url, message)),
        }
    }

    async fn read_bounded(&self, url: &Url, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unavailable(url, &e))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(malformed(url, format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unavailable(&self, url: &Url, error: &reqwest::Error) -> Error {
        Error::Unavailable { url: url.to_string(), message: self.server.explain(error), retry_after: None }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn required(url: &Url, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
    body.ok_or_else(|| malformed(url, "answered \"not found\" where there is always an answer".to_owned()))
}

fn json<T: DeserializeOwned>(url: &Url, body: Vec<u8>) -> Result<T, Error> {
    serde_json::from_slice(&body).map_err(|e| malformed(url, format!("unexpected JSON: {e}")))
}

fn malformed(url: &Url, message: String) -> Error {
    Error::Malformed { url: url.to_string(), message }
}
