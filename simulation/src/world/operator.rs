//! The operator changes keys and resolves halts.

use evidence::statement::{Action as KeyAction, StatementKind};
use evidence::{SignedStatement, Statement};
use ingest_consumer::Halt;

use super::{NODES, World};
use crate::assignments::body;
use crate::committers::{Question, Reply};
use crate::ledger::{self, ORIGIN};

/// A statement that the operator submits until it is answered.
pub(crate) struct OperatorRequest {
    pub(crate) signed: SignedStatement,
    pub(super) sent: Option<u64>,
}

impl World<'_> {
    /// Submits the pending statement again, or signs an epoch that a halted stream needs.
    pub(crate) fn operate(&mut self) {
        match &mut self.operator {
            Some(OperatorRequest { signed, sent: sent @ None }) => {
                let node = self.random.index(NODES);
                *sent = Some(self.network.send(node, Question::Submit(body(std::slice::from_ref(signed)))));
            }
            Some(_) => {}
            None => {
                if let Some(statement) = self.epoch_needed() {
                    let signed = self.keys.by_operator(statement);
                    self.count("epochs signed by the operator");
                    self.operator = Some(OperatorRequest { signed, sent: None });
                }
            }
        }
    }

    pub(crate) fn change_key(&mut self, action: KeyAction, which: usize) {
        let newest = self.database.look(ORIGIN, |tables| {
            let keys = tables.entries.values().rev();
            let mut keys =
                keys.filter(|row| StatementKind::from_name(&row.kind).is_some_and(StatementKind::is_key_entry));
            keys.next().map(|row| row.statement)
        });
        if let (Some(prev), None) = (newest, &self.operator) {
            let signed = self.keys.change(action, which, prev);
            self.operator = Some(OperatorRequest { signed, sent: None });
        }
    }

    /// The connection ended without an answer: the operator submits again.
    pub(crate) fn operator_retries(&mut self) {
        if let Some(request) = &mut self.operator {
            request.sent = None;
        }
    }

    pub(super) fn operator_answered(&mut self, reply: Reply) {
        match reply {
            // Accepted; or refused because another statement came first, and the operator then signs a new one.
            Reply::Submitted(Ok(response)) => {
                self.operator = None;
                if let Some(refused) = response.refused {
                    self.note(|| format!("the operator's statement was refused: {}", refused.message));
                }
            }
            _ => self.operator_retries(),
        }
    }

    /// The epoch that a halted stream waits for.
    fn epoch_needed(&self) -> Option<Statement> {
        let of_the_log = |halt: &Halt| {
            matches!(
                halt,
                Halt::Recreated { .. } | Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. }
            )
        };
        let halted = self
            .assignments
            .iter()
            .find(|assignment| !assignment.is_zombie && assignment.stream.halt().is_some_and(of_the_log))?;
        let stream = self.newest_stream(halted.partition)?;
        let topic = self.cluster.topic();
        // One epoch is enough: a stream that is still halted has not inspected since.
        if stream.id.epoch > 0 {
            return None;
        }
        // A recreated topic is sealed from offset 0.
        let is_same = stream.topic_id.as_ref() == Some(&topic.id);
        let start = if is_same { self.cluster.log(halted.partition).low } else { 0 };
        Some(ledger::epoch(self.keys.id(), &stream, Some(topic.id.clone()), start))
    }

    /// The number of key statements in the chain.
    pub(crate) fn key_entries(&self) -> usize {
        self.database
            .look(ORIGIN, |tables| tables.entries.values().filter(|row| row.kind == StatementKind::Key.name()).count())
    }
}
