//! Requests and answers between the ingest-consumers, the operator and the committers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::committers::{Node, Question, Reply, answer};
use crate::executor::Executor;

/// Under way in some stage.
#[derive(Default)]
pub(crate) struct Network {
    calls: Vec<Call>,
    next: u64,
    /// What committers answered, by number.
    answered: Arc<Mutex<Vec<(u64, Reply)>>>,
}

struct Call {
    number: u64,
    node: usize,
    question: Question,
    stage: Stage,
}

enum Stage {
    /// On its way to the committer.
    There,
    /// With the committer.
    Served,
    /// On its way back.
    Back(Reply),
}

impl Network {
    /// Sends a question; the number tells its answer apart.
    pub(crate) fn send(&mut self, node: usize, question: Question) -> u64 {
        self.next += 1;
        self.calls.push(Call { number: self.next, node, question, stage: Stage::There });
        self.next
    }

    /// How many messages are on their way.
    pub(crate) fn underway(&self) -> usize {
        self.calls.iter().filter(|call| !matches!(call.stage, Stage::Served)).count()
    }

    fn index(&self, nth: usize) -> usize {
        let underway = self.calls.iter().enumerate().filter(|(_, call)| !matches!(call.stage, Stage::Served));
        underway.map(|(index, _)| index).nth(nth).expect("counted before")
    }

    /// The `nth` message arrives; an answer is handed over with its number.
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

    /// The `nth` message gets lost: nobody will hear of it.
    pub(crate) fn lose(&mut self, nth: usize) {
        let index = self.index(nth);
        self.calls.swap_remove(index);
    }

    /// The `nth` message, if it is a question, arrives twice; `false` if it is an answer.
    pub(crate) fn duplicate(&mut self, nth: usize) -> bool {
        let index = self.index(nth);
        let Call { node, question, stage: Stage::There, .. } = &self.calls[index] else { return false };
        let (node, question) = (*node, question.clone());
        self.send(node, question);
        true
    }

    /// What committers answered since, whether it will arrive or not.
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

    /// A committer is gone: whoever waits for it sees the connection end.
    pub(crate) fn cut(&mut self, node: usize) {
        for call in self.calls.iter_mut().filter(|call| call.node == node && matches!(call.stage, Stage::Served)) {
            call.stage = Stage::Back(Reply::none(&call.question, "the connection ended"));
        }
    }
}
