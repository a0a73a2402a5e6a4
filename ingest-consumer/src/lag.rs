//! How far behind Kafka the sealing is, and whether it moves.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Cluster, TopicPartition, Watermarks};
use service::{Component, Condition, Health, Shutdown};

use crate::metrics::LagGauges;
use crate::outside::Outside;
use crate::progress::Progress;
use crate::seat::span;

const INTERVAL: Duration = Duration::from_secs(10);

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The cursor.
    pub(crate) next: u64,
    /// How far it is read, which may be below the cursor at first.
    pub(crate) position: Option<u64>,
    /// Whether nothing is known to stand in the way of sealing.
    pub(crate) is_running: bool,
    /// How many statements wait for the committer's answer.
    pub(crate) unacknowledged: usize,
}

/// What the reading thread and the watch tell each other. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Cursors(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Where the streams of the assigned partitions stand, as the reading thread last knew.
    standings: Mutex<BTreeMap<TopicPartition, Standing>>,
    /// Partitions whose streams are to look again.
    stalled: Mutex<Vec<TopicPartition>>,
    /// Whether there are any, for who must not wait for a lock.
    has_stalled: AtomicBool,
}

impl Cursors {
    pub(crate) fn set(&self, partition: &TopicPartition, now: Standing) {
        let mut cursors = self.lock();
        match cursors.get_mut(partition) {
            Some(standing) => *standing = now,
            None => drop(cursors.insert(partition.clone(), now)),
        }
    }

    pub(crate) fn remove(&self, partition: &TopicPartition) {
        self.lock().remove(partition);
    }

    /// The partitions that have stalled since this was last asked. Costs nothing where there are none.
    pub(crate) fn take_stalled(&self) -> Vec<TopicPartition> {
        if !self.0.has_stalled.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stall(&self, partition: &TopicPartition) {
        self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner).push(partition.clone());
        self.0.has_stalled.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Standing>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.0.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares the cursors with Kafka's watermarks now and then, until `shutdown`. `kafka` is ready as long as Kafka
/// answers; a stream that has not moved for `stalled_after` although Kafka has more is not ready.
pub(crate) async fn watch(
    outside: Arc<Outside>,
    cursors: Cursors,
    stalled_after: Duration,
    kafka: Component,
    health: Health,
    shutdown: Shutdown,
) {
    let mut interval = tokio::time::interval(INTERVAL);
    let mut progress = Progress::default();
    let mut stalled = HashMap::<TopicPartition, Condition>::new();
    while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        let partitions = cursors.lock().keys().cloned().collect::<Vec<_>>();
        let marks = match outside.ask(move |cluster| watermarks(cluster, partitions)).await {
            Ok(marks) => marks,
            Err(problem) => {
                kafka.not_ready(problem);
                continue;
            }
        };
        kafka.ready();
        // Under the lock: a partition that is given away shows nothing more.
        let standings = cursors.lock();
        progress.retain(|partition| standings.contains_key(partition));
        for (_, condition) in stalled.extract_if(|partition, _| !standings.contains_key(partition)) {
            condition.remove();
        }
        for (partition, marks) in &marks {
            let Some(standing) = standings.get(partition) else { continue };
            let next = i64::try_from(standing.next).unwrap_or(i64::MAX);
            let open = u64::try_from(marks.high.saturating_sub(marks.stable)).unwrap_or(0);
            let gauges = LagGauges::new(partition);
            gauges.set(marks.lag(next), open);
            let problem = progress.observe(partition, *standing, marks, Instant::now(), stalled_after);
            gauges.stalled(problem.is_some());
            match problem {
                Some(problem) => {
                    let condition = stalled
                        .entry(partition.clone())
                        .or_insert_with(|| Condition::new(health.component(format!("{partition} progress"))));
                    // The seconds in the text change at every look.
                    condition.fails_as("stalled", problem.to_string(), |_| {
                        span(partition).in_scope(|| tracing::error!("STALLED: {problem}"));
                    });
                    if problem.is_to_look {
                        cursors.stall(partition);
                    }
                }
                None => {
                    if let Some(mut condition) = stalled.remove(partition) {
                        condition.works(|| span(partition).in_scope(|| tracing::info!("moves again")));
                        condition.remove();
                    }
                }
            }
        }
    }
}

/// The watermarks of those partitions that the cluster tells of.
fn watermarks(
    cluster: &Cluster,
    mut partitions: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Watermarks>, kafka::Error> {
    loop {
        match cluster.watermarks(&partitions) {
            Err(kafka::Error::Partition { partition, .. }) if partitions.contains(&partition) => {
                partitions.retain(|other| *other != partition);
            }
            answer => return answer,
        }
    }
}
