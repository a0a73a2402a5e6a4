//! All witnesses: whose cosignature the newest anchor lacks, and when they are asked again.

use std::time::Duration;

use anyhow::Context;
use evidence::SignedCheckpoint;
use futures::future::join_all;
use service::metrics::Counter;
use service::{Backoff, Condition, Health};
use tokio::time::Instant;

use crate::anchor::head;
use crate::config;
use crate::log::Log;
use crate::metrics;
use crate::witness::{Cosignature, Witness};

/// How long a new anchor waits for its witnesses, including a second request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a witness may take that is asked again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Together with [`RETRY_TIMEOUT`], an anchor has its line at most 13 seconds after the witness is back. A witness that is
/// away for a day is sent ten thousand requests of a kilobyte.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The witnesses that are asked for cosignatures (C2SP tlog-witness).
#[derive(Debug)]
pub(crate) struct Witnesses {
    witnesses: Vec<Member>,
    retry: Backoff,
    /// When to ask again for missing lines; `None` while none is missing.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    witness: Witness,
    /// Whether its line on the newest anchor is missing.
    missing: bool,
    condition: Condition,
    cosignatures: Counter,
}

impl Witnesses {
    /// `last` is the checkpoint of the last anchor. A witness without a line on it is asked again.
    pub(crate) fn new(
        configs: &[config::Witness],
        last: Option<&SignedCheckpoint>,
        health: &Health,
    ) -> anyhow::Result<Self> {
        let member = |(i, config): (usize, &config::Witness)| {
            let witness = Witness::new(config, last.map_or(0, |last| head(last).size));
            let witness = witness.with_context(|| format!("anchor.witnesses[{i}]"))?;
            let component = health.component(format!("witness {}", witness.name()));
            component.ready();
            let condition = Condition::counting(component, metrics::WITNESS_FAILURES.with([witness.name()]));
            let cosignatures = metrics::COSIGNATURES.with([witness.name()]);
            Ok::<_, anyhow::Error>(Member { witness, missing: false, condition, cosignatures })
        };
        let witnesses: Vec<Member> = configs.iter().enumerate().map(member).collect::<Result<_, _>>()?;
        let mut this = Self { witnesses, retry: Backoff::new(RETRY_FIRST, RETRY_MAX), due: None };
        if let Some(last) = last {
            this.claim(last);
        }
        Ok(this)
    }

    /// Asks again for each line that the last anchor lacks. A line that was given may not have reached the anchor.
    pub(crate) fn claim(&mut self, last: &SignedCheckpoint) {
        for member in &mut self.witnesses {
            member.missing |= member.witness.line_on(last).is_none();
        }
        self.plan();
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.witnesses.iter().map(|member| member.witness.name())
    }

    /// When to call [`Witnesses::ask_missing`]; `None` while no line is missing.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The lines that the checkpoint has already.
    pub(crate) fn lines_on(&self, checkpoint: &SignedCheckpoint) -> Vec<Cosignature> {
        self.witnesses.iter().filter_map(|member| member.witness.line_on(checkpoint)).collect()
    }

    /// Asks all for a cosignature of the checkpoint that is anchored next; `last` is the last anchor's. All that are
    /// returned were verified. Those that do not come in time are asked for again later.
    pub(crate) async fn ask_all(
        &mut self,
        checkpoint: &SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
        log: &Log,
    ) -> Vec<Cosignature> {
        self.witnesses.iter_mut().for_each(|member| member.missing = true);
        self.ask(checkpoint, last, log, TIMEOUT).await
    }

    /// Asks again for the lines that the last anchor lacks.
    pub(crate) async fn ask_missing(&mut self, last: &SignedCheckpoint, log: &Log) -> Vec<Cosignature> {
        self.ask(last, Some(last), log, RETRY_TIMEOUT).await
    }

    async fn ask(
        &mut self,
        checkpoint: &SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
        log: &Log,
        timeout: Duration,
    ) -> Vec<Cosignature> {
        let owing = self.witnesses.iter_mut().filter(|member| member.missing);
        let answers = owing.map(|member| async move {
            let answer = member.witness.ask(checkpoint, last, log, timeout).await;
            member.report(answer, head(checkpoint).size)
        });
        let cosignatures = join_all(answers).await.into_iter().flatten().collect();
        self.plan();
        cosignatures
    }

    fn plan(&mut self) {
        if self.witnesses.iter().any(|member| member.missing) {
            self.due = Some(Instant::now() + self.retry.next_delay());
        } else {
            self.due = None;
            self.retry.reset();
        }
    }
}

impl Member {
    /// Reports the answer: to people in the log, to machines in health and metrics. The same problem is logged once.
    fn report(&mut self, answer: anyhow::Result<Cosignature>, size: u64) -> Option<Cosignature> {
        let witness = self.witness.name();
        self.missing = answer.is_err();
        metrics::WITNESS_OWES.with([witness]).set(f64::from(u8::from(self.missing)));
        match answer {
            Ok(cosignature) => {
                self.cosignatures.increment(1);
                self.condition.works(|| tracing::info!(witness, "it cosigns again"));
                Some(cosignature)
            }
            Err(error) => {
                let problem = format!("{error:#}");
                // The service does not wait: it publishes the anchor without this line.
                let shown = format!("no cosignature of size {size} yet: {problem}");
                self.condition.lacks(problem, shown, |problem| {
                    tracing::warn!(witness, "no cosignature, asking again every few seconds: {problem}");
                });
                None
            }
        }
    }
}
