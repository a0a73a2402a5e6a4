//! Messages between the committers and the database or the topic of commitments. The world decides the fate of each.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use committer::store::memory::{Call, Cut, Link};
use committer::store::{StoreErrorKind, StoredCheckpoint};

use crate::random::Random;

/// All messages in flight. Clones share them.
#[derive(Clone)]
pub(crate) struct Gates(Arc<Mutex<Inner>>);

struct Inner {
    random: Random,
    /// The percentage of messages that arrive at once.
    at_once: u64,
    waiting: Vec<Waiting>,
    next: u64,
    /// Once disruptions are over, everything arrives at once.
    open: bool,
    /// Checkpoints that left a signer.
    signed: Vec<StoredCheckpoint>,
}

struct Waiting {
    id: u64,
    what: InFlight,
    fate: Option<Fate>,
    waker: Option<Waker>,
}

/// A message in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    /// The committer that it is from or to.
    pub(crate) node: usize,
    pub(crate) call: &'static str,
    pub(crate) direction: Direction,
    /// Whether it is a commit that has not reached the database.
    pub(crate) is_commit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    There,
    Back,
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Cut(StoreErrorKind),
    /// For a commit: it is orphaned, and carried out or not later.
    Later,
}

impl Gates {
    pub(crate) fn new(random: Random, at_once: u64) -> Self {
        let inner = Inner { random, at_once, waiting: Vec::new(), next: 0, open: false, signed: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the fate of a message.
    pub(crate) fn pass(&self, what: InFlight) -> Passing {
        let mut inner = self.lock();
        if inner.open || inner.random.below(100) < inner.at_once {
            return Passing { gates: self.clone(), id: None };
        }
        inner.next += 1;
        let id = inner.next;
        inner.waiting.push(Waiting { id, what, fate: None, waker: None });
        Passing { gates: self.clone(), id: Some(id) }
    }

    /// The number of messages that wait for their fate.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The message at `index`.
    pub(crate) fn look(&self, index: usize) -> InFlight {
        self.lock().waiting[index].what
    }

    /// Decides the fate of the message at `index`.
    pub(crate) fn decide(&self, index: usize, fate: Fate) {
        let mut inner = self.lock();
        let waiting = &mut inner.waiting[index];
        waiting.fate = Some(fate);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// From now on, every message arrives at once.
    pub(crate) fn open(&self) {
        let mut inner = self.lock();
        inner.open = true;
        for waiting in &mut inner.waiting {
            waiting.fate = Some(Fate::Arrives);
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    /// The checkpoints signed since the last call.
    pub(crate) fn take_signed(&self) -> Vec<StoredCheckpoint> {
        std::mem::take(&mut self.lock().signed)
    }
}

/// Resolves to the fate of a message.
pub(crate) struct Passing {
    gates: Gates,
    id: Option<u64>,
}

impl Future for Passing {
    type Output = Fate;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fate> {
        let Some(id) = self.id else { return Poll::Ready(Fate::Arrives) };
        let mut inner = self.gates.lock();
        let waiting =
            inner.waiting.iter_mut().find(|waiting| waiting.id == id).expect("it is removed only when this is dropped");
        match waiting.fate {
            Some(fate) => Poll::Ready(fate),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.gates.lock().waiting.retain(|waiting| waiting.id != id);
        }
    }
}

/// The connection of one committer to the database.
pub(crate) struct NodeLink {
    pub(crate) node: usize,
    pub(crate) gates: Gates,
}

impl NodeLink {
    async fn pass(&self, call: Call<'_>, direction: Direction) -> Fate {
        let (name, is_commit) = match call {
            Call::Begin => ("begin", false),
            Call::Commit(_) => ("commit", direction == Direction::There),
            Call::PutCheckpoint(_) => ("put_checkpoint", false),
            Call::SetPublished(_) => ("set_published", false),
            Call::Lease => ("publisher_lease", false),
            Call::Read(name) => (name, false),
        };
        self.gates.pass(InFlight { node: self.node, call: name, direction, is_commit }).await
    }
}

#[async_trait]
impl Link for NodeLink {
    async fn request(&self, call: Call<'_>) -> Result<(), Cut> {
        if let Call::PutCheckpoint(checkpoint) = call {
            self.gates.lock().signed.push(checkpoint.clone());
        }
        match self.pass(call, Direction::There).await {
            Fate::Arrives => Ok(()),
            Fate::Cut(kind) => Err(Cut::Now(kind)),
            Fate::Later => Err(Cut::Later),
        }
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        match self.pass(call, Direction::Back).await {
            Fate::Arrives | Fate::Later => Ok(()),
            Fate::Cut(kind) => Err(kind),
        }
    }
}
