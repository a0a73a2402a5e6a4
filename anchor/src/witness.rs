//! One witness: requests to it, and its answers.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use committer_client::http::{self, Server};
use evidence::witness::{AddCheckpoint, parse_cosignatures, parse_size};
use evidence::{Head, NoteSignature, SignedCheckpoint, VerifierKey};
use reqwest::{Response, StatusCode, Url, redirect};

use crate::anchor::head;
use crate::config;
use crate::log::Log;

/// The longest answer that is read: a few signature lines.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// A witness's signature line, verified, and its key.
#[derive(Debug)]
pub(crate) struct Cosignature {
    pub(crate) key: VerifierKey,
    pub(crate) line: NoteSignature,
}

/// A witness (C2SP tlog-witness). After any answer it may be asked again.
#[derive(Debug)]
pub(crate) struct Witness {
    server: Server,
    url: Url,
    key: VerifierKey,
    /// The size of the last checkpoint that it cosigned, as far as we know. A wrong guess costs one more request.
    size: u64,
    /// The last request, so that asking again does not need the committer.
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    head: Head,
    old_size: u64,
    body: Vec<u8>,
}

impl Witness {
    /// `size` is that of the last anchor, which the witness most likely saw last.
    pub(crate) fn new(config: &config::Witness, size: u64) -> anyhow::Result<Self> {
        let url = format!("{}/add-checkpoint", config.url.trim_end_matches('/'));
        let url = Url::parse(&url).with_context(|| format!("url: {:?}", config.url))?;
        let server = http::server(&url, |client| client.redirect(redirect::Policy::none())).context("set up HTTP")?;
        Ok(Self { server, url, key: config.key()?, size, request: None })
    }

    pub(crate) fn name(&self) -> &str {
        self.key.name()
    }

    /// Its line on a checkpoint, if there is a valid one.
    pub(crate) fn line_on(&self, checkpoint: &SignedCheckpoint) -> Option<Cosignature> {
        self.time_on(checkpoint)?;
        let line = checkpoint.note().signatures().find(|line| self.is_own(line))?.clone();
        Some(Cosignature { key: self.key.clone(), line })
    }

    fn time_on(&self, checkpoint: &SignedCheckpoint) -> Option<u64> {
        checkpoint.note().verify_cosignature(&self.key).ok()
    }

    fn is_own(&self, line: &NoteSignature) -> bool {
        line.name() == self.key.name() && line.id() == self.key.id()
    }

    /// Asks for a cosignature of a checkpoint. `last` is the last anchor's: along the anchors its times must not decrease
    /// (SPEC.md section 13.4).
    pub(crate) async fn ask(
        &mut self,
        checkpoint: &SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
        log: &Log,
        timeout: Duration,
    ) -> anyhow::Result<Cosignature> {
        let asked = tokio::time::timeout(timeout, self.ask_twice(checkpoint, log)).await;
        let asked = asked.unwrap_or_else(|_| bail!("no answer within {} s{}", timeout.as_secs(), self.server.way()));
        let (line, time) = asked?;
        if let Some(before) = last.and_then(|last| self.time_on(last)).filter(|before| time < *before) {
            bail!(
                "its cosignature is of {time} s since 1970, and the one on the last anchor of {before} s: its clock went back"
            );
        }
        Ok(Cosignature { key: self.key.clone(), line })
    }

    /// The witness may have cosigned a newer size for somebody else. It then answers with that size, and is asked once more.
    async fn ask_twice(&mut self, checkpoint: &SignedCheckpoint, log: &Log) -> anyhow::Result<(NoteSignature, u64)> {
        let size = head(checkpoint).size;
        for _ in 0..2 {
            let response = self.request(checkpoint, log).await?;
            let status = response.status();
            let body = body(response).await?;
            match status {
                StatusCode::OK => {
                    let cosignature = self.verified(checkpoint, &body)?;
                    self.size = size;
                    return Ok(cosignature);
                }
                StatusCode::CONFLICT => {
                    let seen = parse_size(&body)?;
                    // Not stored: the witness may be wrong now and right the next time.
                    ensure!(seen <= size, "it says it has seen size {seen}, but the log has signed {size}");
                    self.size = seen;
                }
                _ => bail!("HTTP status {status}{}: {}", self.server.way(), String::from_utf8_lossy(&body).trim_end()),
            }
        }
        bail!("it answered twice that it has seen another size")
    }

    async fn request(&mut self, checkpoint: &SignedCheckpoint, log: &Log) -> anyhow::Result<Response> {
        let (head, old_size) = (head(checkpoint), self.size);
        let body = match &self.request {
            Some(request) if (request.head, request.old_size) == (head, old_size) => request.body.clone(),
            _ => {
                let proof = log.tiles(head, &[old_size]).await?.consistency_proof(old_size)?;
                let body = AddCheckpoint { old_size, proof, checkpoint: checkpoint.clone() }.to_bytes();
                self.request = Some(Request { head, old_size, body: body.clone() });
                body
            }
        };
        let sent = self.server.client().post(self.url.clone()).body(body).send().await;
        sent.map_err(|error| anyhow::anyhow!("{}", self.server.explain(&error)))
    }

    /// The line by the witness's key, which must be valid for the checkpoint, and its time. Other lines are ignored.
    fn verified(&self, checkpoint: &SignedCheckpoint, body: &[u8]) -> anyhow::Result<(NoteSignature, u64)> {
        let own = parse_cosignatures(body)?.into_iter().find(|line| self.is_own(line));
        let own = own.with_context(|| format!("no line by {}", self.key))?;
        let time = checkpoint.clone().add_cosignature(&self.key, own.clone())?;
        Ok((own, time))
    }
}

async fn body(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        ensure!(body.len() + chunk.len() <= ANSWER_BYTES_MAX, "an answer of more than {ANSWER_BYTES_MAX} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
