//! Requests and answers between the ingest-consumers, the operator and the committers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::committers::{Node, Question, Reply, answer};
use crate::executor::Executor;

/// All calls, each in some stage.
#[derive(Default)]
pub(crate) struct Network {
    calls: Vec<Call>,
    next: u64,
    /// Answers of committers, by call number.
    answered: Arc<Mutex<Vec<(u64, Reply)>>>,
}

struct Call {
    number: u64,
    node: usize,
    question: Question,
    stage: Stage,
}

enum Stage {
    /// In flight to the committer.
    There,
    /// The committer handles it.
    Served,
    /// In flight back.
    Back(Reply),
}

impl Network {
    /// Sends a question. Returns the number of the call.
    pub(crate) fn send(&mut self, node: usize, question: Question) -> u64 {
        self.next += 1;
        self.calls.push(Call { number: self.next, node, question, stage: Stage::There });
        self.next
    }

    /// The number of messages in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.calls.iter().filter(|call| !matches!(call.stage, Stage::Served)).count()
    }

    fn index(&self, nth: usize) -> usize {
        let in_flight = self.calls.iter().enumerate().filter(|(_, call)| !matches!(call.stage, Stage::Served));
        in_flight.map(|(index, _)| index).nth(nth).expect("the caller counted the messages")
    }

    /// The `nth` message arrives. Returns an answer with its call number.
    pub(crate) fn arrive(&mut self, nth: usize, nodes: &[Node], executor: &mut Executor<'_>) -> Option<(u64, Reply)> {
        let index = self.index(nth);
        let call = &mut self.calls[index];
        if let Stage::There = call.stage {
            match nodes[call.node].serves() {
                Some(opened) => {
                    call.stage = Stage::Served;
                    let (number, question) = (call.number, call.question.clone());
                    let (opened, answered) = (opened.clone(), Arc::clone(&self.answered));
                    executor.spawn(
                        call.node,
                        Box::pin(async move {
                            let reply = answer(opened, question).await;
                            answered.lock().unwrap_or_else(PoisonError::into_inner).push((number, reply));
                        }),
                    );
                }
                None => call.stage = Stage::Back(Reply::none(&call.question, "connection refused")),
            }
            return None;
        }
        let call = self.calls.swap_remove(index);
        match call.stage {
            Stage::Back(reply) => Some((call.number, reply)),
            Stage::There | Stage::Served => None,
        }
    }

    /// The `nth` message is lost.
    pub(crate) fn lose(&mut self, nth: usize) {
        let index = self.index(nth);
        self.calls.swap_remove(index);
    }

    /// Duplicates the `nth` message if it is a question. `false` if it is an answer.
    pub(crate) fn duplicate(&mut self, nth: usize) -> bool {
        let index = self.index(nth);
        let Call { node, question, stage: Stage::There, .. } = &self.calls[index] else { return false };
        let (node, question) = (*node, question.clone());
        self.send(node, question);
        true
    }

    /// Shows `look` the new answers of committers, whether they will arrive or not.
    pub(crate) fn take_answers(&mut self, mut look: impl FnMut(&Reply) -> Result<(), String>) -> Result<(), String> {
        let answered = std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        for (number, reply) in answered {
            look(&reply)?;
            if let Some(call) = self.calls.iter_mut().find(|call| call.number == number) {
                call.stage = Stage::Back(reply);
            }
        }
        Ok(())
    }

    /// A committer died: the connections of all its calls end.
    pub(crate) fn cut(&mut self, node: usize) {
        for call in self.calls.iter_mut().filter(|call| call.node == node && matches!(call.stage, Stage::Served)) {
            call.stage = Stage::Back(Reply::none(&call.question, "the connection ended"));
        }
    }
}
