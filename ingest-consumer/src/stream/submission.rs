//! What becomes of the statements that were made.

use evidence::Statement;

use super::resume::Furthest;
use super::{Action, Answer, Doubt, Phase, Refused, Sealed, Stream, Until};
use crate::halt::Halt;

impl Stream {
    /// When the next request is to be made, if there is something for it and none is under way.
    pub(super) fn submit_due_ms(&self) -> Option<u64> {
        if self.in_flight > 0 || self.made.is_empty() {
            return None;
        }
        let is_urgent = self.made.len() >= self.limits.request_statements || matches!(self.phase, Phase::Draining(_));
        Some(if is_urgent { self.submit_at_ms } else { self.submit_at_ms.max(self.gather_until_ms) })
    }

    pub(super) fn submit(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let beat_ms = self.limits.beat_ms();
        self.gather_until_ms = (now_ms / beat_ms + 1) * beat_ms;
        self.in_flight = self.made.len().min(self.limits.request_statements);
        let statements = self.made.iter().take(self.in_flight).map(|made| made.statement.clone()).collect();
        actions.push(Action::Submit { topic_id: self.topic_id.clone(), statements });
    }

    pub(super) fn answered(&mut self, now_ms: u64, answer: Answer, actions: &mut Vec<Action>) {
        let sent = std::mem::take(&mut self.in_flight);
        match answer {
            Answer::Decided { accepted, refused } => {
                self.outage.reset();
                if self.trouble.take().is_some() {
                    actions.push(Action::Cleared);
                }
                self.accept(accepted.min(sent), actions);
                if let Some(refused) = refused {
                    self.refused(now_ms, refused, actions);
                }
            }
            Answer::Unknown { problem, retry_after_ms } => {
                let delay = self.outage.next_ms().max(retry_after_ms.unwrap_or(0));
                self.submit_at_ms = now_ms + delay;
                self.be_troubled(problem, actions);
            }
            Answer::OtherTopic => {
                self.made.clear();
                self.phase = Phase::Waiting(now_ms + self.again.next_ms());
            }
        }
    }

    fn accept(&mut self, count: usize, actions: &mut Vec<Action>) {
        let mut sealed = Sealed::default();
        for made in self.made.drain(..count) {
            let advance = made.statement.advance().expect("only summaries and gaps are made here");
            sealed.next = advance.next;
            self.furthest =
                Some(Furthest { epoch: advance.stream.epoch, next: advance.next, statement: Some(made.hash) });
            if let Statement::Summary(summary) = &made.statement {
                sealed.batches += 1;
                sealed.events += summary.events;
                sealed.bytes += summary.bytes;
            }
        }
        if count > 0 {
            self.again.reset();
            actions.push(Action::Sealed(sealed));
        }
    }

    /// Nothing that follows a refused statement can be accepted. What it was made of is read again: a root that was
    /// made after one statement is never signed after another.
    fn refused(&mut self, now_ms: u64, refused: Refused, actions: &mut Vec<Action>) {
        let prev = self.made.front().and_then(|made| made.statement.advance()?.prev);
        self.made.clear();
        let Refused { code, message } = refused;
        match code.as_str() {
            "wrong-cursor" | "wrong-prev" | "wrong-epoch" | "wrong-topic-id" => {
                self.doubt = Some(Doubt { refused: Refused { code, message }, prev });
                self.phase = Phase::Waiting(now_ms + self.again.next_ms());
            }
            "unknown-key" | "revoked-key" | "wrong-role" | "out-of-scope" => {
                self.stop(now_ms, Halt::KeyNotGranted { problem: message }, Until::GoodInspection, actions);
            }
            _ => self.stop(now_ms, Halt::Refused { code, message }, Until::GoodInspection, actions),
        }
    }
}
