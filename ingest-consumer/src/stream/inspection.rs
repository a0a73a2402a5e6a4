//! What an inspection changes: the stream resumes, halts, or stays halted.

use evidence::Statement;

use super::open_batch::OpenBatch;
use super::phase::{HaltUntil, Phase, UnexplainedRefusal};
use super::read_state::ReadState;
use super::resume::{self, FurthestCursor, ResumePlan};
use super::{Action, InspectError, Inspection, Refusal, Stream, next_delay_ms};
use crate::halt::Halt;

impl Stream {
    pub(super) fn inspected(
        &mut self,
        now_ms: u64,
        result: Result<Inspection, InspectError>,
        actions: &mut Vec<Action>,
    ) {
        let awaiting_operator = match &self.phase {
            Phase::Inspecting => None,
            Phase::Halted(halted) => {
                let until = halted.until;
                let retry_at_ms = self.retry_at_ms(now_ms);
                self.set_next_inspection(retry_at_ms);
                match until {
                    HaltUntil::NewStatement(statement) => Some(statement),
                    HaltUntil::CleanInspection => None,
                }
            }
            _ => return,
        };
        let inspection = match result {
            Ok(inspection) => inspection,
            Err(InspectError::Unavailable(problem)) => return self.unavailable(now_ms, problem, actions),
            Err(InspectError::Invalid(_)) if awaiting_operator.is_some() => return,
            Err(InspectError::Invalid(problem)) => {
                return self.halt_until(now_ms, Halt::BadCursor { problem }, HaltUntil::CleanInspection, actions);
            }
        };
        self.unavailable_backoff.reset();
        let statement = inspection.cursor.statement;
        let is_other_cluster = inspection.log.cluster != self.partition.cluster;
        let is_deleted = self.halt().and_then(Halt::record).is_some_and(|offset| offset < inspection.log.low);
        if awaiting_operator == Some(statement) && !is_other_cluster && !is_deleted {
            return;
        }
        if let Some(UnexplainedRefusal { refusal: Refusal { code, message }, .. }) =
            self.unexplained.take_if(|refused| refused.prev == statement)
        {
            return self.halt_until(now_ms, Halt::Refused { code, message }, HaltUntil::CleanInspection, actions);
        }
        self.unexplained = None;
        let plan = FurthestCursor::advance(&mut self.furthest, &inspection.cursor)
            .and_then(|()| resume::plan(&self.ledger, &self.partition, inspection));
        match plan {
            Ok(plan) => self.resume(plan, actions),
            // Other problems are found again when the old cluster is back.
            Err(halt @ Halt::OtherCluster { .. }) => {
                self.halt_until(now_ms, halt, HaltUntil::CleanInspection, actions);
            }
            Err(halt @ (Halt::KeyNotGranted { .. } | Halt::CursorWentBack { .. })) => {
                let until = awaiting_operator.map_or(HaltUntil::CleanInspection, HaltUntil::NewStatement);
                self.halt_until(now_ms, halt, until, actions);
            }
            Err(halt) => self.halt_until(now_ms, halt, HaltUntil::NewStatement(statement), actions),
        }
    }

    /// The committer or Kafka is unreachable: inspects again later.
    fn unavailable(&mut self, now_ms: u64, problem: String, actions: &mut Vec<Action>) {
        let at_ms = now_ms + next_delay_ms(&mut self.unavailable_backoff);
        if !self.set_next_inspection(at_ms) {
            self.phase = Phase::InspectAt(at_ms);
            self.block(problem, actions);
        }
    }

    /// Sets when a halted stream inspects again; `false` if it is not halted.
    fn set_next_inspection(&mut self, at_ms: u64) -> bool {
        match &mut self.phase {
            Phase::Halted(halted) => {
                halted.inspect_at_ms = Some(at_ms);
                true
            }
            _ => false,
        }
    }

    fn resume(&mut self, plan: ResumePlan, actions: &mut Vec<Action>) {
        let ResumePlan { tip, topic_id, low, high, gap, from, tail } = plan;
        let was_blocked = self.problem.take().is_some();
        if was_blocked || matches!(self.phase, Phase::Halted(_)) {
            actions.push(Action::Resumed);
        }
        if self.topic_id.is_some() && self.topic_id != topic_id {
            self.phase = Phase::Retired;
            return actions.push(Action::NewClient);
        }
        self.topic_id = topic_id;
        self.submit_at_ms = 0;
        let is_below = from < tip.next;
        let read = Box::new(ReadState { tip, position: from, batch: OpenBatch::default(), low, high });
        if let Some(pending) = gap {
            if let Statement::Gap(gap) = &pending.statement {
                actions.push(Action::Gap(Box::new(gap.clone())));
            }
            self.pending.push_back(pending);
        }
        actions.push(Action::Read(from));
        self.phase = if is_below { Phase::Comparing(read, tail) } else { Phase::Sealing(read) };
    }
}
