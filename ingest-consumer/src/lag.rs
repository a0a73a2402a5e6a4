//! How far behind Kafka the sealing is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka::{Cluster, TopicPartition, Watermarks};
use service::{Component, Shutdown};

use crate::metrics::LagGauges;
use crate::outside::Outside;

const INTERVAL: Duration = Duration::from_secs(10);

/// The cursors of the assigned partitions, as the reading thread last knew them. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Cursors(Arc<Mutex<BTreeMap<TopicPartition, u64>>>);

impl Cursors {
    pub(crate) fn set(&self, partition: &TopicPartition, next: u64) {
        let mut cursors = self.lock();
        match cursors.get_mut(partition) {
            Some(cursor) => *cursor = next,
            None => drop(cursors.insert(partition.clone(), next)),
        }
    }

    pub(crate) fn remove(&self, partition: &TopicPartition) {
        self.lock().remove(partition);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, u64>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares the cursors with Kafka's watermarks now and then, until `shutdown`. `kafka` is ready as long as Kafka
/// answers.
pub(crate) async fn watch(outside: Arc<Outside>, cursors: Cursors, kafka: Component, shutdown: Shutdown) {
    let mut interval = tokio::time::interval(INTERVAL);
    while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        let partitions = cursors.lock().keys().cloned().collect::<Vec<_>>();
        let marks = outside.ask(move |cluster| watermarks(cluster, partitions)).await;
        match marks {
            Ok(marks) => {
                kafka.ready();
                let cursors = cursors.lock();
                for (partition, marks) in &marks {
                    if let Some(next) = cursors.get(partition) {
                        let next = i64::try_from(*next).unwrap_or(i64::MAX);
                        let open = u64::try_from(marks.high.saturating_sub(marks.stable)).unwrap_or(0);
                        LagGauges::new(partition).set(marks.lag(next), open);
                    }
                }
            }
            Err(problem) => kafka.not_ready(problem),
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
