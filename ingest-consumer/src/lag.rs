//! How far sealing is behind Kafka, and which streams are stalled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::{Cluster, TopicPartition, Watermarks};
use service::{Component, Condition, Health, Shutdown};

use crate::assignment::span;
use crate::clients::Clients;
use crate::metrics::LagGauges;
use crate::stall::StallDetector;
use crate::status::StreamStatuses;

const INTERVAL: Duration = Duration::from_secs(10);

/// Compares the cursors with Kafka's watermarks at each interval, until `shutdown`.
///
/// `kafka` is ready while Kafka answers. A stream is not ready if it has not moved for `stalled_after` although Kafka
/// has more.
pub(crate) async fn watch(
    clients: Arc<Clients>,
    statuses: StreamStatuses,
    stalled_after: Duration,
    kafka: Component,
    health: Health,
    shutdown: Shutdown,
) {
    let mut interval = tokio::time::interval(INTERVAL);
    let mut detector = StallDetector::default();
    let mut stalled = HashMap::<TopicPartition, Condition>::new();
    while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        let partitions = statuses.lock().keys().cloned().collect::<Vec<_>>();
        let marks = match clients.query(move |cluster| watermarks(cluster, partitions)).await {
            Ok(marks) => marks,
            Err(problem) => {
                kafka.not_ready(problem);
                continue;
            }
        };
        kafka.ready();
        // Under the lock: a revoked partition must not be shown again.
        let assigned = statuses.lock();
        detector.retain(|partition| assigned.contains_key(partition));
        for (_, condition) in stalled.extract_if(|partition, _| !assigned.contains_key(partition)) {
            condition.remove();
        }
        for (partition, marks) in &marks {
            let Some(status) = assigned.get(partition) else { continue };
            let next = i64::try_from(status.next).unwrap_or(i64::MAX);
            let open = u64::try_from(marks.high.saturating_sub(marks.stable)).unwrap_or(0);
            let gauges = LagGauges::new(partition);
            gauges.set(marks.lag(next), open);
            let problem = detector.observe(partition, *status, marks, Instant::now(), stalled_after);
            gauges.stalled(problem.is_some());
            match problem {
                Some(problem) => {
                    let condition = stalled
                        .entry(partition.clone())
                        .or_insert_with(|| Condition::new(health.component(format!("{partition} progress"))));
                    // The text contains seconds, which always change.
                    condition.fails_as("stalled", problem.to_string(), |_| {
                        span(partition).in_scope(|| tracing::error!("STALLED: {problem}"));
                    });
                    if problem.should_reinspect {
                        statuses.add_stalled(partition);
                    }
                }
                None => {
                    if let Some(mut condition) = stalled.remove(partition) {
                        condition.works(|| span(partition).in_scope(|| tracing::info!("no longer stalled")));
                        condition.remove();
                    }
                }
            }
        }
    }
}

/// The watermarks of the partitions that the cluster knows.
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
