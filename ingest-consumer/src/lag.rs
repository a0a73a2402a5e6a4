//! How far sealing is behind Kafka, and which streams are stalled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::{Cluster, TopicPartition, Watermarks};
use service::{Component, Health, Shutdown};

use crate::clients::Clients;
use crate::metrics::LagGauges;
use crate::stall::StallDetector;
use crate::status::StreamStatuses;

const INTERVAL: Duration = Duration::from_secs(10);

/// Compares the cursors with Kafka's watermarks at each interval, until `shutdown`.
///
/// `kafka` is ready while Kafka answers. A stream is not ready if it has not moved for `stalled_after` although Kafka has
/// more.
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
    let mut stalled = HashMap::<TopicPartition, Component>::new();
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
        for (_, component) in stalled.extract_if(|partition, _| !assigned.contains_key(partition)) {
            component.remove();
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
                    let component = stalled.entry(partition.clone()).or_insert_with(|| {
                        tracing::error!("{partition}: STALLED: {problem}");
                        health.component(format!("{partition} progress"))
                    });
                    component.not_ready(problem.to_string());
                    if problem.should_reinspect {
                        statuses.add_stalled(partition);
                    }
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
