use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use evidence::statement::LedgerId;
use kafka::{Cluster, Properties};
use service::{Backoff, Component, Health, Shutdown, admin};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::Config;
use crate::config::Source;
use crate::consume::{Ended, Setup, consume, not_joined};
use crate::hashing::Hashing;
use crate::lag;
use crate::outside::Outside;
use crate::stall::STALLED_AFTER;
use crate::status::StreamStatuses;

/// How long the cluster may take to answer a question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long leaving the group may take. Without a farewell the group misses us after its session time-out.
const LEAVE_MAX: Duration = Duration::from_secs(5);

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Runs the ingest-consumer until `shutdown`. `ledger` is the one to seal in, `kafka` the properties of the Kafka
/// clients; `listener` takes requests for health and metrics.
///
/// # Errors
/// When the configuration cannot be used. A Kafka or committer that cannot be reached is waited for.
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
    let cluster = Arc::new(Cluster::new(&kafka, QUESTION_TIMEOUT)?);
    service::metrics::install()?;
    let health = Health::new();
    // Whatever ends this function ends its tasks.
    let shutdown = shutdown.child_token();
    let _end_tasks = shutdown.clone().drop_guard();
    let admin = tokio::spawn(admin::serve(listener, admin::router(health.clone()), shutdown.clone()));

    let component = health.component("kafka");
    not_joined(&health, "waiting for Kafka");
    tracing::info!(
        "sealing in ledger {ledger} with key {}, batches of {} events, {} bytes or {} ms: up to {} entries a day for \
         each partition that is never idle",
        key.verifier_key().name(),
        config.batch_events,
        config.batch_bytes,
        config.batch_age_ms,
        config.entries_per_day()
    );
    if let Some(cluster_id) = cluster_id(&cluster, config.cluster.as_deref(), &component, &shutdown).await? {
        let is_named = config.cluster.is_some();
        let outside = Arc::new(Outside::new(ledger, cluster_id, is_named, committer, cluster, key));
        let statuses = StreamStatuses::default();
        let stalled_after = STALLED_AFTER.max(3 * Duration::from_millis(config.batch_age_ms.into()));
        tokio::spawn(lag::watch(
            Arc::clone(&outside),
            statuses.clone(),
            stalled_after,
            component,
            health.clone(),
            shutdown.clone(),
        ));
        let partitions_max = match &source {
            // What it gets, the group tells later.
            Source::Group(_) => Properties::PARTITIONS_MIN,
            Source::Partitions(_, assigned) => assigned.len(),
        };
        keep_consuming(Setup {
            properties: kafka,
            partitions_max,
            source,
            limits: config.limits(),
            outside,
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

/// Waits for a cluster that tells its id, the one `named` if that is given; `None` at shutdown.
async fn cluster_id(
    cluster: &Arc<Cluster>,
    named: Option<&str>,
    component: &Component,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<String>> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let asked = Arc::clone(cluster);
        let answer = tokio::task::spawn_blocking(move || asked.id());
        let Some(answer) = shutdown.run_until_cancelled(answer).await else { return Ok(None) };
        match answer.context("asking for the cluster id")? {
            Ok(id) if named.is_none_or(|named| named == id) => {
                component.ready();
                return Ok(Some(id));
            }
            Ok(id) => {
                let problem = format!(
                    "the brokers are cluster {id}, and `ingest.cluster` names {}: correct the address in `[kafka]`, or \
                     `ingest.cluster` if this cluster is meant",
                    named.unwrap_or_default()
                );
                tracing::error!("{problem}");
                component.not_ready(problem);
            }
            Err(error) => {
                tracing::warn!("{error}; trying again");
                component.not_ready(error.to_string());
            }
        }
        if !backoff.wait(shutdown).await {
            return Ok(None);
        }
    }
}

/// Reads on a thread of its own, with a new Kafka client whenever the old one cannot go on.
async fn keep_consuming(mut setup: Setup) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let (end, ended) = oneshot::channel();
        let (leave, left) = oneshot::channel::<()>();
        let thread_setup = setup.clone();
        let hashing = Hashing::start().context("start the hashing thread")?;
        std::thread::Builder::new()
            .name("ingest".to_owned())
            .spawn(move || {
                consume(thread_setup, hashing, |result| {
                    // The receiver is only gone when the whole service is.
                    let _ = end.send(result);
                });
                drop(leave);
            })
            .context("start the reading thread")?;
        let result = ended.await.context("the reading thread panicked")?;
        // A broker that holds back its answers to the group must not hold up the end.
        let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        match result {
            Ok(Ended::Shutdown) => return Ok(()),
            Ok(Ended::NewClient) => backoff.reset(),
            Ok(Ended::Crowded(partitions)) => {
                // A power of two, for this not to happen with each partition more.
                setup.partitions_max = partitions.next_power_of_two();
                let max = setup.partitions_max;
                tracing::info!("{partitions} partitions: making a Kafka client that fetches less ahead, for {max}");
                backoff.reset();
            }
            Err(error @ (kafka::Error::Property { .. } | kafka::Error::Partition { .. })) => return Err(error.into()),
            Err(error) => tracing::warn!("{error}; making a new Kafka client"),
        }
        if !backoff.wait(&setup.shutdown).await {
            return Ok(());
        }
    }
}
