//! All witnesses: who owes a line on the newest anchor, and when it is asked again.

use std::time::Duration;

use anyhow::Context;
use evidence::SignedCheckpoint;
use futures::future::join_all;
use service::metrics::Counter;
use service::{Backoff, Condition, Health};
use tokio::time::Instant;

use crate::anchored::head;
use crate::config;
use crate::log::Log;
use crate::metrics;
use crate::witness::{Cosignature, Witness};

/// How long a new anchor waits for its witnesses, a second request after a refused one included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a witness that owes a line may take.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// With [`RETRY_TIMEOUT`], an anchor has its line at most 13 seconds after the witness is back. One that is away for a day
/// is sent ten thousand requests of a kilobyte.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The witnesses that are asked for cosignatures (C2SP tlog-witness).
#[derive(Debug)]
pub(crate) struct Witnesses {
    witnesses: Vec<Member>,
    retry: Backoff,
    /// When those that owe a line are asked again; `None` while nobody does.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    witness: Witness,
    /// Whether it was asked for a line on the newest anchor and has not given it.
    owes: bool,
    condition: Condition,
    cosignatures: Counter,
}

impl Witnesses {
    /// `last` is the checkpoint of the last anchor; who has no line on it owes one.
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
            Ok::<_, anyhow::Error>(Member { witness, owes: false, condition, cosignatures })
        };
        let witnesses: Vec<Member> = configs.iter().enumerate().map(member).collect::<Result<_, _>>()?;
        let mut this = Self { witnesses, retry: Backoff::new(RETRY_FIRST, RETRY_MAX), due: None };
        if let Some(last) = last {
            this.claim(last);
        }
        Ok(this)
    }

    /// Who has no line on the last anchor owes one, whatever was answered: it may not have come as far as the anchor.
    pub(crate) fn claim(&mut self, last: &SignedCheckpoint) {
        for member in &mut self.witnesses {
            member.owes |= member.witness.line_on(last).is_none();
        }
        self.plan();
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.witnesses.iter().map(|member| member.witness.name())
    }

    /// When to call [`Witnesses::ask_owing`]; `None` while nobody owes a line.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The lines that the checkpoint has already.
    pub(crate) fn lines_on(&self, checkpoint: &SignedCheckpoint) -> Vec<Cosignature> {
        self.witnesses.iter().filter_map(|member| member.witness.line_on(checkpoint)).collect()
    }

    /// Asks all for a cosignature of the checkpoint that is anchored next; `last` is the last anchor's. Each that is
    /// returned was verified. Who does not give one in time owes it from now on.
    pub(crate) async fn ask_all(
        &mut self,
        checkpoint: &SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
        log: &Log,
    ) -> Vec<Cosignature> {
        self.witnesses.iter_mut().for_each(|member| member.owes = true);
        self.ask(checkpoint, last, log, TIMEOUT).await
    }

    /// Asks those that owe a line on the last anchor again.
    pub(crate) async fn ask_owing(&mut self, last: &SignedCheckpoint, log: &Log) -> Vec<Cosignature> {
        self.ask(last, Some(last), log, RETRY_TIMEOUT).await
    }

    async fn ask(
        &mut self,
        checkpoint: &SignedCheckpoint,
        last: Option<&SignedCheckpoint>,
        log: &Log,
        timeout: Duration,
    ) -> Vec<Cosignature> {
        let owing = self.witnesses.iter_mut().filter(|member| member.owes);
        let answers = owing.map(|member| async move {
            let answer = member.witness.ask(checkpoint, last, log, timeout).await;
            member.report(answer, head(checkpoint).size)
        });
        let cosignatures = join_all(answers).await.into_iter().flatten().collect();
        self.plan();
        cosignatures
    }

    fn plan(&mut self) {
        if self.witnesses.iter().any(|member| member.owes) {
            self.due = Some(Instant::now() + self.retry.next_delay());
        } else {
            self.due = None;
            self.retry.reset();
        }
    }
}

impl Member {
    /// Tells people and machines how the witness stands; the same problem is logged once.
    fn report(&mut self, answer: anyhow::Result<Cosignature>, size: u64) -> Option<Cosignature> {
        let witness = self.witness.name();
        self.owes = answer.is_err();
        metrics::WITNESS_OWES.with([witness]).set(f64::from(u8::from(self.owes)));
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
