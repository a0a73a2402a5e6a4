//! What is on its way between the committers and the database or the topic of commitments, until the world lets it
//! through or not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use committer::store::memory::{Call, Cut, Link};
use committer::store::{StoreErrorKind, StoredCheckpoint};

use crate::random::Random;

/// All that is under way. Clones are the same.
#[derive(Clone)]
pub(crate) struct Gates(Arc<Mutex<Inner>>);

struct Inner {
    random: Random,
    /// In so many of a hundred cases a message arrives at once.
    at_once: u64,
    waiting: Vec<Waiting>,
    next: u64,
    /// While trouble is over everything arrives at once.
    open: bool,
    /// Every checkpoint that ever left a signer.
    signed: Vec<StoredCheckpoint>,
}

struct Waiting {
    id: u64,
    what: Underway,
    fate: Option<Fate>,
    waker: Option<Waker>,
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Underway {
    /// The committer that it is from or for.
    pub(crate) node: usize,
    pub(crate) call: &'static str,
    pub(crate) direction: Direction,
    /// Whether it is a commit on its way to the database.
    pub(crate) is_commit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    There,
    Back,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Cut(StoreErrorKind),
    /// Of a commit: carried out or not when nobody waits for it any more.
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
    pub(crate) fn pass(&self, what: Underway) -> Passing {
        let mut inner = self.lock();
        if inner.open || inner.random.below(100) < inner.at_once {
            return Passing { gates: self.clone(), id: None };
        }
        inner.next += 1;
        let id = inner.next;
        inner.waiting.push(Waiting { id, what, fate: None, waker: None });
        Passing { gates: self.clone(), id: Some(id) }
    }

    /// What waits and has no fate yet, by number.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The one at `index`.
    pub(crate) fn look(&self, index: usize) -> Underway {
        self.lock().waiting[index].what
    }

    /// Decides about the one at `index`.
    pub(crate) fn decide(&self, index: usize, fate: Fate) {
        let mut inner = self.lock();
        let waiting = &mut inner.waiting[index];
        waiting.fate = Some(fate);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// From now on everything arrives, at once.
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

    /// The checkpoints that were signed since this was asked last.
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
        let waiting = inner.waiting.iter_mut().find(|waiting| waiting.id == id).expect("there until this is dropped");
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
        self.gates.pass(Underway { node: self.node, call: name, direction, is_commit }).await
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
