//! The arrival of messages, and of the answers to consumers and operator.

use evidence::SignedStatement;
use ingest_consumer::stream::{Input, SubmitOutcome};

use super::World;
use crate::assignments::{Assignment, Inspecting, Request, answered, inspected};
use crate::committers::Reply;
use crate::defect::Defect;
use crate::link::Fate;
use crate::model::Check;

impl World<'_> {
    pub(crate) fn gate(&mut self, index: usize, fate: Fate) -> Check {
        let what = self.gates.look(index);
        self.note(|| format!("committer {} {} {:?}: {fate:?}", what.node, what.call, what.direction));
        self.gates.decide(index, fate);
        self.settle_tasks()
    }

    /// A message of the network arrives.
    pub(crate) fn arrive(&mut self, nth: usize) -> Check {
        let arrived = self.network.arrive(nth, &self.nodes, &mut self.executor);
        if let Some((call, reply)) = arrived {
            if let Some(refusal) = reply.unavailable().and_then(refusal_name) {
                self.counts.add(refusal, 1);
            }
            self.deliver(call, reply)?;
        }
        self.settle_tasks()
    }

    /// Delivers an answer to the consumer or operator that still waits for it.
    pub(super) fn deliver(&mut self, call: u64, reply: Reply) -> Check {
        if self.operator.as_ref().is_some_and(|request| request.sent == Some(call)) {
            self.operator_answered(reply);
            return Ok(());
        }
        let waits = |assignment: &Assignment| match (&assignment.inspecting, &assignment.request) {
            (Some(Inspecting::Sent(number)), _) if *number == call => true,
            (_, Some(Request::Sent(number, _))) => *number == call,
            _ => false,
        };
        let Some(which) = self.assignments.iter().position(waits) else { return Ok(()) };
        let assignment = &mut self.assignments[which];
        match (assignment.request.take(), reply) {
            (Some(Request::Sent(number, signed)), reply) if number == call => {
                let answer = answered(&signed, reply);
                self.answer(which, &signed, answer)
            }
            (request, reply) => {
                assignment.request = request;
                let key = &self.keys.ingest[assignment.key];
                match inspected(self.keys.id(), assignment.partition, key, reply) {
                    Ok(answer) => {
                        assignment.inspecting = Some(Inspecting::Answered(Box::new(answer)));
                        Ok(())
                    }
                    Err(error) => {
                        assignment.inspecting = None;
                        self.step(which, Input::Inspected(Err(error)))
                    }
                }
            }
        }
    }

    pub(super) fn answer(&mut self, which: usize, signed: &[SignedStatement], answer: SubmitOutcome) -> Check {
        if let SubmitOutcome::Decided { refused: Some(refused), .. } = &answer {
            let code = refused.code.clone();
            self.counts.add("refused statements", 1);
            self.note(|| format!("refused: {code}"));
        }
        if self.defect == Some(Defect::SignsAgain) && self.sign_again(which, signed, &answer) {
            return Ok(());
        }
        self.step(which, Input::Submitted(answer))
    }
}

/// The count for the reason why a committer does not append.
fn refusal_name(why: &str) -> Option<&'static str> {
    [
        ("behind what was signed", "refusals: the database is behind what was signed"),
        ("contradicts what was signed", "refusals: the database contradicts what was signed"),
        ("went back", "refusals: the database went back"),
        ("another chain", "refusals: the database has another chain"),
        ("differ by more than", "refusals: clocks apart"),
        ("has not compared", "refusals: not compared yet"),
    ]
    .into_iter()
    .find_map(|(part, name)| why.contains(part).then_some(name))
}
