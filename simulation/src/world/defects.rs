//! Deliberate defects at work.

use evidence::{SignedStatement, Statement};
use ingest_consumer::stream::SubmitOutcome;

use crate::assignments::{Assignment, Request};
use crate::committers::Question;
use crate::defect::Defect;
use crate::ledger::{ORIGIN, partition};
use crate::world::World;

impl World<'_> {
    /// Applies a defect of the database to its tables.
    pub(crate) fn apply_defect(&mut self) {
        match self.defect {
            Some(Defect::CommitForgotten) => {
                let now = self.database.tables(ORIGIN);
                // Not at the beginning of a chain: that loss is too easy to notice.
                let grew = self
                    .remembered
                    .as_ref()
                    .is_some_and(|before| (2..now.entries.len()).contains(&before.entries.len()));
                match self.remembered.take() {
                    Some(before) if grew && self.random.one_in(8) => {
                        self.database.replace(ORIGIN, before.clone());
                        self.remembered = Some(before);
                    }
                    _ => self.remembered = Some(now),
                }
            }
            Some(Defect::CursorWithoutEntry) if self.random.one_in(40) => {
                let mut tables = self.database.tables(ORIGIN);
                if let Some(row) = tables.streams.values_mut().next() {
                    row.state.next += 1;
                    self.database.replace(ORIGIN, tables);
                }
            }
            _ => {}
        }
    }

    /// Signs the refused summary again with a new `prev`. `true` if it was sent.
    pub(crate) fn sign_again(&mut self, which: usize, signed: &[SignedStatement], answer: &SubmitOutcome) -> bool {
        let SubmitOutcome::Decided { accepted, refused: Some(refused) } = answer else { return false };
        let assignment = &self.assignments[which];
        let (Some(refused), true) = (signed.get(*accepted), refused.code.starts_with("wrong-")) else { return false };
        let (Statement::Summary(summary), Some(stream)) =
            (refused.statement(), self.newest_stream(assignment.partition))
        else {
            return false;
        };
        if stream.id != partition(assignment.partition).stream(summary.stream.epoch)
            || stream.next + summary.events > summary.next
            || summary.last.as_ref().is_none_or(|last| last.offset < stream.next)
        {
            return false;
        }
        let mut summary = summary.clone();
        (summary.first, summary.prev) = (stream.next, Some(stream.statement));
        let (signed, body) = Assignment::sign(vec![Statement::Summary(summary)], &self.keys.ingest[assignment.key]);
        let call = self.network.send(0, Question::Submit(body));
        self.assignments[which].request = Some(Request::Sent(call, signed));
        true
    }
}
