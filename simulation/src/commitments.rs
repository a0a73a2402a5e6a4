//! The topic of commitments: what was published to it, and what producers that are gone left on the way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use committer::store::StoreErrorKind;
use committer::{Deliver, Message, Newest, Topic};
use service::{Component, Shutdown};

use crate::link::{Direction, Fate, Gates, Underway};
use crate::random::Random;

/// The topic as the broker has it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Commitments(Arc<Mutex<Inner>>);

struct Inner {
    random: Random,
    records: Vec<Message>,
    /// Sent by producers that do not wait for them any more.
    left: Vec<Vec<Message>>,
    /// A broker that acknowledges what it does not keep, for a test of the model.
    drops: bool,
}

impl Commitments {
    pub(crate) fn new(random: Random, drops: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { random, records: Vec::new(), left: Vec::new(), drops })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records from an offset on.
    pub(crate) fn from(&self, offset: usize) -> Vec<Message> {
        self.lock().records[offset..].to_vec()
    }

    /// What producers left on the way arrives: of each the first few. `true` when there was something.
    pub(crate) fn let_left_arrive(&self) -> bool {
        let mut inner = self.lock();
        let left = std::mem::take(&mut inner.left);
        let any = !left.is_empty();
        for messages in left {
            inner.keep_some(messages);
        }
        any
    }
}

impl Inner {
    fn keep(&mut self, messages: Vec<Message>) {
        for message in messages {
            if !(self.drops && self.random.one_in(8)) {
                self.records.push(message);
            }
        }
    }

    fn keep_some(&mut self, mut messages: Vec<Message>) {
        let count = self.random.index(messages.len() + 1);
        messages.truncate(count);
        self.keep(messages);
    }
}

/// The topic as a committer reaches it.
pub(crate) struct NodeTopic {
    pub(crate) node: usize,
    pub(crate) gates: Gates,
    pub(crate) commitments: Commitments,
}

#[async_trait]
impl Topic for NodeTopic {
    fn name(&self) -> &str {
        "commitments"
    }

    async fn newest(&self) -> Result<Option<Vec<Newest>>, kafka::Error> {
        let newest = self.commitments.lock().records.last().map(|record| record.value.clone());
        Ok(Some(newest.map(|value| Newest { partition: 0, value }).into_iter().collect()))
    }

    fn producer(&self) -> Result<Box<dyn Deliver>, kafka::Error> {
        let (gates, commitments) = (self.gates.clone(), self.commitments.clone());
        Ok(Box::new(NodeProducer { node: self.node, gates, commitments }))
    }
}

struct NodeProducer {
    node: usize,
    gates: Gates,
    commitments: Commitments,
}

/// Sent and not acknowledged; whoever stops waiting leaves them on the way.
struct Sent<'a> {
    messages: Vec<Message>,
    commitments: &'a Commitments,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            let messages = std::mem::take(&mut self.messages);
            self.commitments.lock().left.push(messages);
        }
    }
}

#[async_trait]
impl Deliver for NodeProducer {
    async fn deliver(&self, messages: Vec<Message>, _: &Component, _: &Shutdown) -> Result<bool, kafka::Error> {
        let mut sent = Sent { messages, commitments: &self.commitments };
        let what = Underway { node: self.node, call: "deliver", direction: Direction::There, is_commit: false };
        let fate = self.gates.pass(what).await;
        let messages = std::mem::take(&mut sent.messages);
        match fate {
            Fate::Arrives => {
                self.commitments.lock().keep(messages);
                Ok(true)
            }
            Fate::Cut(StoreErrorKind::Unknown) => {
                sent.messages = messages;
                Err(kafka::Error::Fatal { reason: "no acknowledgement".to_owned() })
            }
            Fate::Cut(_) | Fate::Later => {
                self.commitments.lock().keep_some(messages);
                Err(kafka::Error::Fatal { reason: "not all were delivered".to_owned() })
            }
        }
    }
}
