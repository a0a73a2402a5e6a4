//! A deterministic executor: polls one task at a time, in a fixed order, on a clock that only the world moves.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Runtime};

pub(crate) type Future = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

/// The clock of a world's tasks: tokio's own, paused.
pub(crate) struct Timer {
    runtime: Runtime,
}

impl Default for Timer {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime without I/O needs no resources") }
    }
}

impl Timer {
    /// While the guard is held, time and sleeps use this clock.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }
}

/// The tasks of a world. Each has an owner.
pub(crate) struct Executor<'a> {
    timer: &'a Timer,
    tasks: BTreeMap<u64, Task>,
    ready: Arc<Ready>,
    next: u64,
    frozen: BTreeSet<usize>,
}

struct Task {
    owner: usize,
    future: Future,
    waker: Waker,
}

/// Woken tasks. They are polled in the order of their ids, not in the order of their wake-ups.
#[derive(Default)]
struct Ready(Mutex<BTreeSet<u64>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WakeOne {
    id: u64,
    ready: Arc<Ready>,
}

impl Wake for WakeOne {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.id);
    }
}

impl<'a> Executor<'a> {
    pub(crate) fn new(timer: &'a Timer) -> Self {
        Self { timer, tasks: BTreeMap::new(), ready: Arc::default(), next: 0, frozen: BTreeSet::new() }
    }

    pub(crate) fn spawn(&mut self, owner: usize, future: Future) {
        let id = self.next;
        self.next += 1;
        let waker = Waker::from(Arc::new(WakeOne { id, ready: Arc::clone(&self.ready) }));
        self.tasks.insert(id, Task { owner, future, waker });
        self.ready.lock().insert(id);
    }

    /// Polls woken tasks until none is left, except those of frozen owners.
    pub(crate) fn run(&mut self) {
        while let Some(id) = self.next_ready() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
                self.tasks.remove(&id);
            }
        }
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock();
        let runs = |id: &u64| self.tasks.get(id).is_none_or(|task| !self.frozen.contains(&task.owner));
        let id = ready.iter().copied().find(runs)?;
        ready.remove(&id);
        Some(id)
    }

    /// Drops the tasks of an owner, as a crash does.
    pub(crate) fn kill(&mut self, owner: usize) {
        self.tasks.retain(|_, task| task.owner != owner);
        self.frozen.remove(&owner);
    }

    /// Freezes the tasks of an owner, or lets them continue.
    pub(crate) fn freeze(&mut self, owner: usize, frozen: bool) {
        if frozen {
            self.frozen.insert(owner);
        } else {
            self.frozen.remove(&owner);
        }
    }

    pub(crate) fn is_frozen(&self, owner: usize) -> bool {
        self.frozen.contains(&owner)
    }

    /// Advances the clock.
    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.timer.runtime.block_on(tokio::time::advance(Duration::from_millis(ms)));
        self.run();
    }
}
