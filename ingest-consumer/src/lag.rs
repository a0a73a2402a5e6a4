//! How far behind Kafka the sealing is, and whether it moves.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Cluster, TopicPartition, Watermarks};
use service::{Component, Health, Shutdown};

use crate::metrics::LagGauges;
use crate::outside::Outside;
use crate::progress::Progress;

const INTERVAL: Duration = Duration::from_secs(10);

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The cursor.
    pub(crate) next: u64,
    /// Whether nothing is known to stand in the way of sealing.
    pub(crate) is_running: bool,
    /// How many statements wait for the committer's answer.
    pub(crate) unacknowledged: usize,
}

/// Where the streams of the assigned partitions stand, as the reading thread last knew. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Cursors(Arc<Mutex<BTreeMap<TopicPartition, Standing>>>);

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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Standing>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut stalled = HashMap::<TopicPartition, Component>::new();
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
        let standings = cursors.lock().clone();
        progress.retain(|partition| standings.contains_key(partition));
        for (_, component) in stalled.extract_if(|partition, _| !standings.contains_key(partition)) {
            component.remove();
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
                    if !stalled.contains_key(partition) {
                        tracing::error!("{partition}: STALLED: {problem}");
                    }
                    let component = stalled.entry(partition.clone());
                    component
                        .or_insert_with(|| health.component(format!("{partition} progress")))
                        .not_ready(problem.to_string());
                }
                None => {
                    if let Some(component) = stalled.remove(partition) {
                        tracing::info!("{partition}: moves again");
                        component.remove();
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
