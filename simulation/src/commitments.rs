//! The topic of commitments: its records, and those that dead producers left in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use committer::store::StoreErrorKind;
use committer::{Deliver, Message, Newest, Topic};
use service::{Component, Shutdown};

use crate::link::{Direction, Fate, Gates, InFlight};
use crate::random::Random;

/// The topic at the broker. Clones share it.
#[derive(Clone)]
pub(crate) struct Commitments(Arc<Mutex<Inner>>);

struct Inner {
    random: Random,
    records: Vec<Message>,
    /// Sent by producers that no longer wait.
    orphaned: Vec<Vec<Message>>,
    /// The broker loses acknowledged records; see [`Defect::CommitmentsLost`](crate::defect::Defect::CommitmentsLost).
    drops: bool,
}

impl Commitments {
    pub(crate) fn new(random: Random, drops: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { random, records: Vec::new(), orphaned: Vec::new(), drops })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records from this offset.
    pub(crate) fn from(&self, offset: usize) -> Vec<Message> {
        self.lock().records[offset..].to_vec()
    }

    /// Delivers orphaned messages: a random number of the first ones of each producer. `true` if there were any.
    pub(crate) fn deliver_orphaned(&self) -> bool {
        let mut inner = self.lock();
        let orphaned = std::mem::take(&mut inner.orphaned);
        let any = !orphaned.is_empty();
        for messages in orphaned {
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

/// The topic as one committer reaches it.
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

/// Messages without an acknowledgement. If the producer stops waiting, they are orphaned.
struct Sent<'a> {
    messages: Vec<Message>,
    commitments: &'a Commitments,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            let messages = std::mem::take(&mut self.messages);
            self.commitments.lock().orphaned.push(messages);
        }
    }
}

#[async_trait]
impl Deliver for NodeProducer {
    async fn deliver(&self, messages: Vec<Message>, _: &Component, _: &Shutdown) -> Result<bool, kafka::Error> {
        let mut sent = Sent { messages, commitments: &self.commitments };
        let what = InFlight { node: self.node, call: "deliver", direction: Direction::There, is_commit: false };
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
