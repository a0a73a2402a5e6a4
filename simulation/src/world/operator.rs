//! The operator, who changes keys and resolves halts.

use evidence::statement::Action as KeyAction;
use evidence::{SignedStatement, Statement};
use ingest_consumer::Halt;

use super::{NODES, World};
use crate::committers::{Question, Reply};
use crate::ledger::{self, ORIGIN};
use crate::seats::body;

/// A statement that the operator submits until it is answered.
pub(crate) struct Errand {
    pub(crate) signed: SignedStatement,
    pub(super) sent: Option<u64>,
}

impl World<'_> {
    /// Submits what is not in the chain for sure, and resolves a halt.
    pub(crate) fn operate(&mut self) {
        match &mut self.operator {
            Some(Errand { signed, sent: sent @ None }) => {
                let node = self.random.index(NODES);
                *sent = Some(self.network.send(node, Question::Submit(body(std::slice::from_ref(signed)))));
            }
            Some(_) => {}
            None => {
                if let Some(statement) = self.epoch_needed() {
                    let signed = self.keys.by_operator(statement);
                    self.count("epochs wanted by the operator");
                    self.operator = Some(Errand { signed, sent: None });
                }
            }
        }
    }

    pub(crate) fn change_key(&mut self, action: KeyAction, which: usize) {
        let newest = self.database.look(ORIGIN, |tables| {
            let keys = tables.entries.values().rev();
            let mut keys = keys.filter(|row| matches!(row.kind.as_str(), "genesis" | "key"));
            keys.next().map(|row| row.statement)
        });
        if let (Some(prev), None) = (newest, &self.operator) {
            let signed = self.keys.change(action, which, prev);
            self.operator = Some(Errand { signed, sent: None });
        }
    }

    /// The operator's connection is gone without an answer.
    pub(crate) fn operator_asks_again(&mut self) {
        if let Some(errand) = &mut self.operator {
            errand.sent = None;
        }
    }

    pub(super) fn operator_told(&mut self, reply: Reply) {
        match reply {
            // Accepted, or refused because something came in between: then it is made anew.
            Reply::Submitted(Ok(response)) => {
                self.operator = None;
                if let Some(stopped) = response.stopped {
                    self.note(|| format!("the operator's statement is refused: {}", stopped.message));
                }
            }
            _ => self.operator_asks_again(),
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
        let halted = self.seats.iter().find(|seat| !seat.is_zombie && seat.stream.halt().is_some_and(of_the_log))?;
        let head = self.head(halted.partition)?;
        let topic = self.cluster.topic();
        // One is enough; whoever is halted still has not looked since.
        if head.id.epoch > 0 {
            return None;
        }
        // In a topic that was recreated nothing is left out.
        let is_same = head.topic_id.as_ref() == Some(&topic.id);
        let start = if is_same { self.cluster.log(halted.partition).low } else { 0 };
        Some(ledger::epoch(self.keys.id(), &head, Some(topic.id.clone()), start))
    }

    /// Whether a key statement about a key is in the chain.
    pub(crate) fn key_entries(&self) -> usize {
        self.database.look(ORIGIN, |tables| tables.entries.values().filter(|row| row.kind == "key").count())
    }
}
