//! Submissions to a committer, signed in advance so that no case measures signing.

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use committer::Opened;
use committer_client::SubmitRequest;
use evidence::SignedStatement;

use testbed::statements::{TestLedger, stream, text};

/// The bodies of submissions, in order for each stream.
#[derive(Debug, Clone)]
pub(crate) struct Submissions {
    streams: Vec<Vec<Bytes>>,
    /// Statements in all of them.
    pub(crate) statements: usize,
}

impl Submissions {
    /// At least one statement per stream, with `per_request` statements in a body.
    pub(crate) fn make(ledger: &TestLedger, statements: usize, streams: usize, per_request: usize) -> Self {
        let each = (statements / streams).max(1);
        let bodies = |number: usize| -> Vec<Bytes> {
            let statements = ledger.summaries(&stream("t", number as u32), 0, 1_000, each, None);
            statements.chunks(per_request).map(body).collect()
        };
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        let numbers: Vec<usize> = (0..streams).collect();
        let made = std::thread::scope(|scope| {
            let share = streams.div_ceil(threads);
            let shares: Vec<_> = numbers
                .chunks(share)
                .map(|numbers| scope.spawn(move || numbers.iter().map(|&number| bodies(number)).collect::<Vec<_>>()))
                .collect();
            shares.into_iter().flat_map(|share| share.join().expect("signing does not panic")).collect()
        });
        Self { streams: made, statements: each * streams }
    }

    /// These statements of one stream, in one body.
    pub(crate) fn of(statements: &[SignedStatement]) -> Self {
        Self { streams: vec![vec![body(statements)]], statements: statements.len() }
    }

    /// Submits all in this process, in order for each stream, until they are committed.
    ///
    /// # Errors
    /// When a statement is not accepted.
    pub(crate) async fn submit(&self, opened: &Opened) -> anyhow::Result<()> {
        let opened = opened.clone();
        self.each(move |_, body| {
            let opened = opened.clone();
            async move {
                let answer = opened.submit(body).await.map_err(|failure| anyhow::anyhow!(failure.message))?;
                ensure!(answer.refused.is_none(), "{:?}", answer.refused);
                Ok(())
            }
        })
        .await
    }

    /// Submits all over HTTP. The committers at these addresses share the streams.
    ///
    /// # Errors
    /// When a statement is not accepted.
    pub(crate) async fn post(&self, client: &reqwest::Client, committers: &[String]) -> anyhow::Result<()> {
        let (client, committers) = (client.clone(), committers.to_vec());
        self.each(move |stream, body| {
            let url = format!("{}/v1/statements", committers[stream % committers.len()]);
            let request = client.post(url).header("content-type", "application/json").body(body);
            async move {
                let response = request.send().await?.error_for_status()?;
                let answer = response.bytes().await?;
                // Client and committer share the processors, so the client does not parse the answers.
                let accepted = answer.windows(STOPPED_NOWHERE.len()).any(|part| part == STOPPED_NOWHERE);
                ensure!(accepted, "{}", String::from_utf8_lossy(&answer));
                Ok(())
            }
        })
        .await
    }

    async fn each<F>(&self, submit: impl Fn(usize, Bytes) -> F + Clone + Send + 'static) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, bodies) in self.streams.iter().cloned().enumerate() {
            let submit = submit.clone();
            tasks.spawn(async move {
                for body in bodies {
                    submit(number, body).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a submitter")??;
        }
        Ok(())
    }
}

fn body(statements: &[SignedStatement]) -> Bytes {
    let request = SubmitRequest { statements: statements.iter().map(text).collect() };
    serde_json::to_vec(&request).expect("strings are JSON").into()
}

/// The mark near the end of an answer without a refusal.
const STOPPED_NOWHERE: &[u8] = b"\"stopped\":null";
