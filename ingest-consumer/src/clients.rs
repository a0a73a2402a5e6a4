//! The clients of the committer and the cluster. They inspect partitions, and sign and submit statements.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use committer_client::{Client, CursorQuery, Error};
use evidence::statement::LedgerId;
use evidence::{Partition, SignedStatement, SigningKey, Statement};
use kafka::{Cluster, TopicPartition, Watermarks};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::single_flight::SingleFlight;
use crate::stream::{Cursor, InspectError, Inspection, Log, Permission, Refusal, SubmitOutcome};
use crate::{acknowledgement, cursor};

/// Maximum concurrent queries to the cluster. Each blocks a thread.
const QUERIES_MAX: usize = 8;

/// Maximum concurrent requests to the committer. Each uses a connection of its own, so neither side runs out of file
/// descriptors, however many streams there are. Further requests wait for their turn.
const REQUESTS_MAX: usize = 64;

/// The question for the ids of one topic, which all callers share.
type IdsQuery = SingleFlight<Result<Ids, String>>;

/// The ids that a cluster shows for itself and a topic.
#[derive(Debug, Clone)]
struct Ids {
    /// The cluster's id. It changes if other brokers take over the address.
    cluster: String,
    /// `None` if the topic does not exist, `Some(None)` if the cluster has no topic ids.
    topic: Option<Option<String>>,
}

pub(crate) struct Clients {
    ledger: LedgerId,
    /// The cluster's id, as statements name it.
    cluster_id: String,
    /// Whether this cluster may be sealed: the configuration names it, or the ledger holds streams of it.
    is_known: AtomicBool,
    committer: Client,
    cluster: Arc<Cluster>,
    queries: Semaphore,
    ids: Mutex<HashMap<Arc<str>, Arc<IdsQuery>>>,
    requests: Semaphore,
    key: SigningKey,
}

impl Clients {
    pub(crate) fn new(
        ledger: LedgerId,
        cluster_id: String,
        is_named: bool,
        committer: Client,
        cluster: Arc<Cluster>,
        key: SigningKey,
    ) -> Self {
        Self {
            ledger,
            cluster_id,
            is_known: is_named.into(),
            committer,
            cluster,
            queries: Semaphore::new(QUERIES_MAX),
            ids: Mutex::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            key,
        }
    }

    pub(crate) fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The partition as statements name it.
    pub(crate) fn partition(&self, partition: &TopicPartition) -> Partition {
        Partition { cluster: self.cluster_id.clone(), topic: partition.topic.to_string(), number: partition.partition }
    }

    /// Asks the committer for a stream's cursor, then Kafka for its log.
    pub(crate) async fn inspect(&self, partition: &TopicPartition) -> Result<Inspection, InspectError> {
        let (cursor, permission) = self.cursor(partition).await?;
        let log = self.log(partition).await.map_err(InspectError::Unavailable)?;
        Ok(Inspection { cursor, log, permission })
    }

    async fn cursor(&self, partition: &TopicPartition) -> Result<(Cursor, Permission), InspectError> {
        let named = self.partition(partition);
        let query = CursorQuery { cluster: named.cluster.clone(), topic: named.topic.clone(), partition: named.number };
        let committer = self.committer().await;
        let answer = committer.cursor(&query).await.map_err(unavailable)?;
        // Fetched after the cursor, so they include the keys of its statements.
        let keys = committer.keys().await.map_err(unavailable)?;
        let clusters = if answer.statement.is_none() && !self.is_known.load(Ordering::Relaxed) {
            committer.status().await.map_err(unavailable)?.clusters
        } else {
            Vec::new()
        };
        drop(committer);
        if clusters.contains(&self.cluster_id) {
            self.is_known.store(true, Ordering::Relaxed);
        }
        let keys = cursor::keys(&self.ledger, &keys.entries).map_err(InspectError::Invalid)?;
        let cursor = cursor::verify(&self.ledger, &keys, &named, &answer).map_err(InspectError::Invalid)?;
        let permission = match cursor::permission(&self.ledger, &keys, self.key.verifier_key(), &named.topic) {
            Permission::Granted if !clusters.is_empty() && !clusters.contains(&self.cluster_id) => {
                Permission::UnknownCluster(clusters)
            }
            permission => permission,
        };
        Ok((cursor, permission))
    }

    /// Waits for a free slot among the requests to the committer.
    async fn committer(&self) -> LimitedClient<'_> {
        let permit = self.requests.acquire().await.expect("it is never closed");
        LimitedClient { client: &self.committer, _permit: permit }
    }

    async fn log(&self, partition: &TopicPartition) -> Result<Log, String> {
        let Ids { cluster, topic } = self.ids(&partition.topic).await?;
        let topic_id = topic.ok_or_else(|| format!("the cluster has no topic {}", partition.topic))?;
        let queried = partition.clone();
        let marks = self.query(move |cluster| cluster.watermarks(&[queried])).await?;
        let offset = |offset: i64| {
            u64::try_from(offset).map_err(|_| format!("{partition}: Kafka returned a watermark of {offset}"))
        };
        match marks.get(partition) {
            Some(Watermarks { low, high, .. }) => {
                Ok(Log { cluster, topic_id, low: offset(*low)?, high: offset(*high)? })
            }
            None => Err(format!("{partition}: Kafka returned no watermarks")),
        }
    }

    /// The ids of the cluster and of a topic, as the cluster shows them after this call.
    ///
    /// Every request of every partition needs them, and the answer names all partitions of the topic. So concurrent
    /// callers share one query.
    async fn ids(&self, topic: &Arc<str>) -> Result<Ids, String> {
        let flight = {
            // A panic elsewhere cannot have left the map half changed.
            let mut flights = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            // Forgets topics that nobody asks about: topics may come and go for years.
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
            Arc::clone(flights.entry(Arc::clone(topic)).or_default())
        };
        let query = async {
            let topic = Arc::clone(topic);
            self.query(move |cluster| {
                let topic = cluster.topic(&topic)?.map(|topic| topic.id);
                // The client knows its id since the brokers described the topic, so this sends no request.
                Ok(Ids { cluster: cluster.id()?, topic })
            })
            .await
        };
        flight.run(query).await
    }

    /// Runs a blocking query to the cluster.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Cluster) -> Result<T, kafka::Error> + Send + 'static,
    ) -> Result<T, String> {
        let _permit = self.queries.acquire().await.map_err(|closed| closed.to_string())?;
        let cluster = Arc::clone(&self.cluster);
        let result = tokio::task::spawn_blocking(move || query(&cluster)).await;
        result.map_err(|error| format!("querying the cluster: {error}"))?.map_err(|error| error.to_string())
    }

    /// Signs and submits statements about events of a topic, if Kafka still shows this topic id.
    ///
    /// The id is read after the events. Ids are never reused, so the events come from the topic with this id.
    pub(crate) async fn submit(
        &self,
        topic: &Arc<str>,
        topic_id: Option<String>,
        statements: Vec<Statement>,
    ) -> SubmitOutcome {
        match self.ids(topic).await {
            Err(problem) => return SubmitOutcome::Unknown { problem, retry_after_ms: None },
            Ok(Ids { cluster, topic: found }) => {
                if cluster != self.cluster_id || found.as_ref() != Some(&topic_id) {
                    return SubmitOutcome::OtherTopic;
                }
            }
        }
        let signed: Vec<SignedStatement> =
            statements.into_iter().map(|statement| SignedStatement::sign(statement, &[&self.key])).collect();
        let texts = signed
            .iter()
            .map(|signed| String::from_utf8(signed.to_bytes()).expect("a note consists of text and base64"));
        match self.committer().await.submit(texts.collect()).await {
            Ok(response) => acknowledgement::verify(&signed, response),
            Err(Error::Refused { code, message, .. }) => {
                SubmitOutcome::Decided { accepted: 0, refused: Some(Refusal { code, message }) }
            }
            Err(error @ Error::Unavailable { retry_after, .. }) => SubmitOutcome::Unknown {
                problem: error.to_string(),
                retry_after_ms: retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            },
            Err(error @ Error::Malformed { .. }) => {
                SubmitOutcome::Unknown { problem: error.to_string(), retry_after_ms: None }
            }
        }
    }
}

/// A client of the committer that holds one of the [`REQUESTS_MAX`] permits.
struct LimitedClient<'a> {
    client: &'a Client,
    _permit: SemaphorePermit<'a>,
}

impl Deref for LimitedClient<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

fn unavailable(error: Error) -> InspectError {
    InspectError::Unavailable(error.to_string())
}
