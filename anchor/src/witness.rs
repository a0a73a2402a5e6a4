use std::time::Duration;

use anyhow::{Context, bail, ensure};
use evidence::tile::Tiles;
use evidence::witness::{AddCheckpoint, parse_cosignatures, parse_size};
use evidence::{NoteSignature, SignedCheckpoint, VerifierKey};
use futures::future::join_all;
use reqwest::{Response, StatusCode, Url, redirect};

use crate::anchored::head;
use crate::config;
use crate::log::Log;

/// How long a witness may take, a second request after a refused one included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read: a few signature lines.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// A witness's signature line, which was found valid, and the key.
#[derive(Debug)]
pub(crate) struct Cosignature {
    pub(crate) key: VerifierKey,
    pub(crate) line: NoteSignature,
}

/// The witnesses that are asked for cosignatures (C2SP tlog-witness).
#[derive(Debug)]
pub(crate) struct Witnesses {
    http: reqwest::Client,
    witnesses: Vec<Witness>,
}

#[derive(Debug)]
struct Witness {
    url: Url,
    key: VerifierKey,
    /// The size of the last checkpoint that it cosigned, as far as known. A wrong guess costs one more request.
    size: u64,
}

impl Witnesses {
    /// `size` is that of the last anchor: what the witnesses saw last, most likely.
    pub(crate) fn new(configs: &[config::Witness], size: u64) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().context("set up HTTP")?;
        let witness = |(i, config): (usize, &config::Witness)| {
            let url = format!("{}/add-checkpoint", config.url.trim_end_matches('/'));
            let url = Url::parse(&url).with_context(|| format!("anchor.witnesses[{i}].url: {:?}", config.url))?;
            Ok::<_, anyhow::Error>(Witness { url, key: config.key()?, size })
        };
        Ok(Self { http, witnesses: configs.iter().enumerate().map(witness).collect::<Result<_, _>>()? })
    }

    /// The cosignatures of those that answer in time; each was verified. Who does not answer, or not with a valid one,
    /// is left out and logged.
    pub(crate) async fn cosignatures(&mut self, checkpoint: &SignedCheckpoint, log: &Log) -> Vec<Cosignature> {
        let http = &self.http;
        let answers = self.witnesses.iter_mut().map(|witness| async move {
            let answer = tokio::time::timeout(TIMEOUT, witness.ask(http, checkpoint, log)).await;
            match answer.unwrap_or_else(|_| bail_late()) {
                Ok(line) => {
                    metrics::counter!("streamseal_anchor_cosignatures_total", "witness" => witness.name()).increment(1);
                    Some(Cosignature { key: witness.key.clone(), line })
                }
                Err(error) => {
                    metrics::counter!("streamseal_anchor_witness_failures_total", "witness" => witness.name())
                        .increment(1);
                    tracing::warn!(witness = witness.key.name(), "no cosignature: {error:#}");
                    None
                }
            }
        });
        join_all(answers).await.into_iter().flatten().collect()
    }
}

fn bail_late() -> anyhow::Result<NoteSignature> {
    bail!("no answer within {} s", TIMEOUT.as_secs())
}

impl Witness {
    fn name(&self) -> String {
        self.key.name().to_owned()
    }

    async fn ask(
        &mut self,
        http: &reqwest::Client,
        checkpoint: &SignedCheckpoint,
        log: &Log,
    ) -> anyhow::Result<NoteSignature> {
        let size = head(checkpoint).size;
        // It may have cosigned for somebody else meanwhile; it says what it has, and is asked once more.
        for _ in 0..2 {
            ensure!(self.size <= size, "it has seen size {}, and the log offers {size}: who is behind?", self.size);
            let response = self.request(http, checkpoint, log).await?;
            let status = response.status();
            let body = body(response).await?;
            match status {
                StatusCode::OK => {
                    let cosignature = self.verified(checkpoint, &body)?;
                    self.size = size;
                    return Ok(cosignature);
                }
                StatusCode::CONFLICT => self.size = parse_size(&body)?,
                _ => bail!("HTTP status {status}: {}", String::from_utf8_lossy(&body).trim_end()),
            }
        }
        bail!("it changed its mind about what it has seen")
    }

    async fn request(
        &self,
        http: &reqwest::Client,
        checkpoint: &SignedCheckpoint,
        log: &Log,
    ) -> anyhow::Result<Response> {
        let tiles: Tiles = log.tiles(head(checkpoint), &[self.size]).await?;
        let proof = tiles.consistency_proof(self.size)?;
        let request = AddCheckpoint { old_size: self.size, proof, checkpoint: checkpoint.clone() };
        Ok(http.post(self.url.clone()).body(request.to_bytes()).send().await?)
    }

    /// The line by the witness's key, which must be valid for the checkpoint. Other lines are nobody's.
    fn verified(&self, checkpoint: &SignedCheckpoint, body: &[u8]) -> anyhow::Result<NoteSignature> {
        let is_own = |line: &NoteSignature| line.name() == self.key.name() && line.id() == self.key.id();
        let own = parse_cosignatures(body)?.into_iter().find(is_own);
        let own = own.with_context(|| format!("no line by {}", self.key))?;
        checkpoint.clone().add_cosignature(&self.key, own.clone())?;
        Ok(own)
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
