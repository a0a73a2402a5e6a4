use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use evidence::statement::LedgerId;
use kafka::{Cluster, Properties};
use service::{Backoff, Component, Condition, Health, Shutdown, admin};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::Config;
use crate::clients::Clients;
use crate::config::Source;
use crate::consume::{ConsumeLoopParts, Exit, consume, not_joined};
use crate::hashing::Hashing;
use crate::lag;
use crate::stall::STALLED_AFTER;
use crate::status::StreamStatuses;

/// How long the cluster may take to answer a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long leaving the group may take. If it takes longer, the group removes us after its session timeout.
const LEAVE_MAX: Duration = Duration::from_secs(5);

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Runs the ingest-consumer until `shutdown`. It seals in `ledger`, with Kafka clients of these properties. `listener`
/// serves health and metrics.
///
/// # Errors
/// If the configuration is invalid. An unreachable Kafka or committer is no error: it waits for them.
pub async fn run(
    config: Config,
    ledger: LedgerId,
    kafka: Properties,
    listener: TcpListener,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let source = config.check()?;
    let key = keystore::read_signing_key(&config.key).context("ingest.key")?;
    let committer = committer_client::Client::new(&config.committer).context("ingest.committer")?;
    let cluster = Arc::new(Cluster::new(&kafka, QUERY_TIMEOUT)?);
    service::metrics::install(crate::metrics::METRICS)?;
    let health = Health::new();
    // Its tasks end when this function does, however it ends.
    let shutdown = shutdown.child_token();
    let _end_tasks = shutdown.clone().drop_guard();
    // Nothing says ready before Kafka is known.
    let component = health.component("kafka");
    not_joined(&health, "waiting for Kafka");
    let listen = listener.local_addr().context("`ingest.listen`")?;
    let admin = tokio::spawn(admin::serve(listener, admin::router(health.clone()), shutdown.clone()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ledger = ledger.origin,
        key = key.verifier_key().name(),
        committer = committer.place(),
        brokers = kafka.brokers(),
        sealed = config.topics.iter().chain(&config.partitions).cloned().collect::<Vec<_>>().join(","),
        group = config.group,
        batch_events = config.batch_events,
        batch_bytes = config.batch_bytes,
        batch_age_ms = config.batch_age_ms,
        // Of each busy partition.
        entries_per_day_max = config.entries_per_day(),
        %listen,
        "ingest-consumer started"
    );
    if let Some(cluster_id) = cluster_id(&cluster, config.cluster.as_deref(), &component, &shutdown).await? {
        let is_named = config.cluster.is_some();
        let clients = Arc::new(Clients::new(ledger, cluster_id, is_named, committer, cluster, key));
        let statuses = StreamStatuses::default();
        let stalled_after = STALLED_AFTER.max(3 * Duration::from_millis(config.batch_age_ms.into()));
        tokio::spawn(lag::watch(
            Arc::clone(&clients),
            statuses.clone(),
            stalled_after,
            component,
            health.clone(),
            shutdown.clone(),
        ));
        let partitions_max = match &source {
            // The group tells later how many partitions it assigns.
            Source::Group(_) => Properties::PARTITIONS_MIN,
            Source::Partitions(_, assigned) => assigned.len(),
        };
        keep_consuming(ConsumeLoopParts {
            properties: kafka,
            partitions_max,
            source,
            limits: config.limits(),
            clients,
            health,
            statuses,
            runtime: Handle::current(),
            shutdown: shutdown.clone(),
        })
        .await?;
    }
    shutdown.cancel();
    admin.await.context("the health listener panicked")?
}

/// Waits until the cluster tells its id, and until that is `named`, if given. `None` at shutdown.
async fn cluster_id(
    cluster: &Arc<Cluster>,
    named: Option<&str>,
    component: &Component,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<String>> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut condition = Condition::new(component.clone());
    loop {
        let asked = Arc::clone(cluster);
        let answer = tokio::task::spawn_blocking(move || asked.id());
        let Some(answer) = shutdown.run_until_cancelled(answer).await else { return Ok(None) };
        match answer.context("asking for the cluster id")? {
            Ok(id) if named.is_none_or(|named| named == id) => {
                condition.works(|| tracing::info!("Kafka answers: cluster {id}"));
                return Ok(Some(id));
            }
            Ok(id) => {
                let problem = format!(
                    "the brokers are cluster {id}, but `ingest.cluster` names {}: correct the address in `[kafka]`, or set \
                     `ingest.cluster` to this cluster",
                    named.unwrap_or_default()
                );
                condition.fails(problem, |problem| tracing::error!("{problem}"));
            }
            Err(error) => {
                condition.fails(error.to_string(), |error| tracing::warn!("{error}; trying again"));
            }
        }
        if !backoff.wait(shutdown).await {
            return Ok(None);
        }
    }
}

/// Reads on its own thread, with a new Kafka client whenever the old one fails.
async fn keep_consuming(mut parts: ConsumeLoopParts) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let (send_result, result) = oneshot::channel();
        let (leaving, left) = oneshot::channel::<()>();
        let thread_parts = parts.clone();
        let hashing = Hashing::start().context("start the hashing thread")?;
        std::thread::Builder::new()
            .name("ingest".to_owned())
            .spawn(move || {
                consume(thread_parts, hashing, |result| {
                    // The receiver is dropped only when the whole service ends.
                    let _ = send_result.send(result);
                });
                drop(leaving);
            })
            .context("start the reading thread")?;
        let result = result.await.context("the reading thread panicked")?;
        // A broker that does not answer must not delay the exit.
        let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        match result {
            Ok(Exit::Shutdown) => return Ok(()),
            Ok(Exit::NewClient) => backoff.reset(),
            Ok(Exit::TooManyPartitions(partitions)) => {
                // A power of two, so that this does not happen again with each new partition.
                parts.partitions_max = partitions.next_power_of_two();
                let max = parts.partitions_max;
                tracing::info!(partitions, max, "making a Kafka client that fetches less ahead, for more partitions");
                backoff.reset();
            }
            Err(error @ (kafka::Error::Property { .. } | kafka::Error::Partition { .. })) => return Err(error.into()),
            Err(error) => tracing::warn!("{error}; making a new Kafka client"),
        }
        if !backoff.wait(&parts.shutdown).await {
            return Ok(());
        }
    }
}
