//! Requests to the committer, and their outcomes.

use evidence::Statement;

use super::phase::{HaltUntil, Phase, UnexplainedRefusal};
use super::resume::FurthestCursor;
use super::{Action, Refusal, Sealed, Stream, SubmitOutcome, next_delay_ms};
use crate::halt::Halt;

impl Stream {
    /// When to send the next request; `None` if there is nothing to send or a request is in flight.
    pub(super) fn submit_due_ms(&self) -> Option<u64> {
        if self.in_flight > 0 || self.pending.is_empty() {
            return None;
        }
        let is_urgent =
            self.pending.len() >= self.limits.request_statements || matches!(self.phase, Phase::Draining(_));
        Some(if is_urgent { self.submit_at_ms } else { self.submit_at_ms.max(self.next_flush_ms) })
    }

    pub(super) fn submit(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let interval_ms = self.limits.flush_interval_ms();
        self.next_flush_ms = (now_ms / interval_ms + 1) * interval_ms;
        self.in_flight = self.pending.len().min(self.limits.request_statements);
        let statements = self.pending.iter().take(self.in_flight).map(|pending| pending.statement.clone()).collect();
        actions.push(Action::Submit { topic_id: self.topic_id.clone(), statements });
    }

    pub(super) fn submitted(&mut self, now_ms: u64, outcome: SubmitOutcome, actions: &mut Vec<Action>) {
        let sent = std::mem::take(&mut self.in_flight);
        match outcome {
            SubmitOutcome::Decided { accepted, refused } => {
                self.unavailable_backoff.reset();
                if self.problem.take().is_some() {
                    actions.push(Action::Resumed);
                }
                self.accept(accepted.min(sent), actions);
                if let Some(refusal) = refused {
                    self.refused(now_ms, refusal, actions);
                }
            }
            SubmitOutcome::Unknown { problem, retry_after_ms } => {
                let delay_ms = next_delay_ms(&mut self.unavailable_backoff).max(retry_after_ms.unwrap_or(0));
                self.submit_at_ms = now_ms + delay_ms;
                self.block(problem, actions);
            }
            SubmitOutcome::OtherTopic => {
                self.pending.clear();
                self.phase = Phase::InspectAt(self.retry_at_ms(now_ms));
            }
        }
    }

    fn accept(&mut self, count: usize, actions: &mut Vec<Action>) {
        let mut sealed = Sealed::default();
        for pending in self.pending.drain(..count) {
            let advance =
                pending.statement.advance().expect("a stream makes only summaries and gaps, which advance it");
            sealed.next = advance.next;
            self.furthest =
                Some(FurthestCursor { epoch: advance.stream.epoch, next: advance.next, statement: Some(pending.hash) });
            if let Statement::Summary(summary) = &pending.statement {
                sealed.batches += 1;
                sealed.events += summary.events;
                sealed.bytes += summary.bytes;
            }
        }
        if count > 0 {
            self.retry_backoff.reset();
            actions.push(Action::Sealed(sealed));
        }
    }

    /// Drops all pending statements, as none that follows a refused one can be accepted. Their events are read again:
    /// a root that was computed after one statement is never signed after another.
    fn refused(&mut self, now_ms: u64, refusal: Refusal, actions: &mut Vec<Action>) {
        let prev = self.pending.front().and_then(|pending| pending.statement.advance()?.prev);
        self.pending.clear();
        match refusal.code.as_str() {
            "wrong-cursor" | "wrong-prev" | "wrong-epoch" | "wrong-topic-id" => {
                self.unexplained = Some(UnexplainedRefusal { refusal, prev });
                self.phase = Phase::InspectAt(self.retry_at_ms(now_ms));
            }
            "unknown-key" | "revoked-key" | "wrong-role" | "out-of-scope" => {
                let halt = Halt::KeyNotGranted { problem: refusal.message };
                self.halt_until(now_ms, halt, HaltUntil::CleanInspection, actions);
            }
            _ => {
                let Refusal { code, message } = refusal;
                self.halt_until(now_ms, Halt::Refused { code, message }, HaltUntil::CleanInspection, actions);
            }
        }
    }
}
