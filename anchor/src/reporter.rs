use service::metrics::Counter;
use service::{Condition, Health};

use crate::decide;
use crate::log::LogError;
use crate::metrics::{ANCHORS, COMPLETIONS, LOG_FAULTS};

/// Reports how anchoring goes: to people in the log, to machines in health and metrics.
pub(crate) struct Reporter {
    /// Whether the log can be anchored.
    log: Condition,
    /// Whether the clock has reached the time of the last cosignature.
    clock: Condition,
    anchors: Counter,
    completions: Counter,
    /// Counts how often the log served something that must not be trusted.
    untrusted: Counter,
    /// Counts how often the log contradicted what it signed before.
    incidents: Counter,
}

impl Reporter {
    pub(crate) fn new(health: &Health) -> Self {
        Self {
            log: Condition::new(health.component("log")),
            clock: Condition::new(health.component("clock")),
            anchors: ANCHORS.with([]),
            completions: COMPLETIONS.with([]),
            untrusted: LOG_FAULTS.with(["untrusted"]),
            incidents: LOG_FAULTS.with(["contradiction"]),
        }
    }

    pub(crate) fn count_anchor(&self) {
        self.anchors.increment(1);
    }

    pub(crate) fn count_completion(&self) {
        self.completions.increment(1);
    }

    /// Reports that a remote did not answer yet, which must be asked once before the first anchor.
    pub(crate) fn report_unasked(&mut self, remote: &str, error: &anyhow::Error) {
        let problem = format!("{remote} must be asked once before the first anchor: {error:#}");
        self.log.fails(problem, |problem| tracing::warn!("{problem}"));
    }

    /// Anchoring continues with a wrong clock: no time is lower than the last one, and an old anchor is better than none.
    pub(crate) fn report_clock(&mut self, now: u64, last: Option<u64>) {
        let Some(last) = decide::time_to_come(now, last) else {
            self.clock.works(|| {});
            return;
        };
        let problem = format!(
            "the last cosignature is of {last} s since 1970, {} s ahead of the clock here, and the next one cannot be \
             earlier: to auditors every anchor is stale until then. If the clock is wrong now, set it right; if it was wrong \
             then, wait, or let a new anchor key take over (docs/operations.md, Keys)",
            last - now
        );
        // The text changes with the clock, so it cannot identify the problem.
        self.clock.fails_as("behind", &problem, |_| tracing::error!("{problem}"));
    }

    pub(crate) fn report_good(&mut self) {
        self.log.works(|| tracing::info!("the log can be anchored again"));
    }

    pub(crate) fn report_error(&mut self, error: &LogError) {
        self.log.fails(error.to_string(), |text| {
            if let LogError::Unavailable(_) = error {
                tracing::warn!("nothing is anchored for now: {text}");
            } else {
                self.untrusted.increment(1);
                tracing::error!("nothing is anchored: {text}");
            }
        });
    }

    pub(crate) fn report_incident(&mut self, what: String) {
        self.log.fails(what, |what| {
            self.incidents.increment(1);
            tracing::error!("INCIDENT: {what}. Nothing is cosigned that contradicts what was");
        });
    }
}
