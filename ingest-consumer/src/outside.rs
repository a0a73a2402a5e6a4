//! What the pure step does not know: the committer, the ledger's keys, the signing key and the cluster.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use committer_client::{Client, CursorQuery, Error};
use evidence::statement::LedgerId;
use evidence::{Partition, SignedStatement, SigningKey, Statement};
use kafka::{Cluster, TopicPartition, Watermarks};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::acknowledgement::decided;
use crate::cursor;
use crate::rounds::Rounds;
use crate::stream::{Answer, Cursor, InspectError, Inspection, Log, Refused, Standing};

/// So many questions to the cluster wait for their answers at once, each on a thread.
const QUESTIONS: usize = 8;

/// So many requests to the committer are under way at once, each on a connection of its own: however many streams there
/// are, neither side runs out of file descriptors. Statements of more streams wait here, in their turn.
const REQUESTS: usize = 64;

/// What a cluster says of a topic.
#[derive(Debug, Clone)]
struct Shown {
    /// The cluster's id. Another one than before when other brokers have taken the address.
    cluster: String,
    /// `None` when there is no such topic, `Some(None)` when the cluster has no topic ids.
    topic_id: Option<Option<String>>,
}

/// What a cluster says, or why it does not.
type Answered = Result<Shown, String>;

pub(crate) struct Outside {
    ledger: LedgerId,
    /// The cluster's id, as statements name it.
    cluster_id: String,
    /// Whether this cluster may be sealed: the configuration names it, or the ledger was seen to know it.
    is_known: AtomicBool,
    committer: Client,
    cluster: Arc<Cluster>,
    questions: Semaphore,
    topics: Mutex<HashMap<Arc<str>, Arc<Rounds<Answered>>>>,
    requests: Semaphore,
    key: SigningKey,
}

impl Outside {
    pub(crate) fn new(
        ledger: LedgerId,
        cluster_id: String,
        is_named: bool,
        committer: Client,
        cluster: Arc<Cluster>,
        key: SigningKey,
    ) -> Self {
        let (questions, requests) = (Semaphore::new(QUESTIONS), Semaphore::new(REQUESTS));
        let (topics, is_known) = (Mutex::default(), is_named.into());
        Self { ledger, cluster_id, is_known, committer, cluster, questions, topics, requests, key }
    }

    pub(crate) fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The partition as statements name it.
    pub(crate) fn partition(&self, partition: &TopicPartition) -> Partition {
        Partition { cluster: self.cluster_id.clone(), topic: partition.topic.to_string(), number: partition.partition }
    }

    /// Asks the committer where a stream stands, then Kafka what there is of it.
    pub(crate) async fn inspect(&self, partition: &TopicPartition) -> Result<Inspection, InspectError> {
        let (cursor, standing) = self.cursor(partition).await?;
        let log = self.log(partition).await.map_err(InspectError::Unavailable)?;
        Ok(Inspection { cursor, log, standing })
    }

    async fn cursor(&self, partition: &TopicPartition) -> Result<(Cursor, Standing), InspectError> {
        let named = self.partition(partition);
        let query = CursorQuery { cluster: named.cluster.clone(), topic: named.topic.clone(), partition: named.number };
        let committer = self.committer().await;
        let answer = committer.cursor(&query).await.map_err(unavailable)?;
        // Asked after the cursor, so that the keys of its statements are among them.
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
        let standing = match cursor::standing(&self.ledger, &keys, self.key.verifier_key(), &named.topic) {
            Standing::Granted if !clusters.is_empty() && !clusters.contains(&self.cluster_id) => {
                Standing::UnknownCluster(clusters)
            }
            standing => standing,
        };
        Ok((cursor, standing))
    }

    /// The committer, when it is this request's turn.
    async fn committer(&self) -> Turn<'_> {
        let turn = self.requests.acquire().await.expect("it is never closed");
        Turn { committer: &self.committer, _turn: turn }
    }

    async fn log(&self, partition: &TopicPartition) -> Result<Log, String> {
        let Shown { cluster, topic_id } = self.shown(&partition.topic).await?;
        let topic_id = topic_id.ok_or_else(|| format!("there is no topic {} in the cluster", partition.topic))?;
        let asked = partition.clone();
        let marks = self.ask(move |cluster| cluster.watermarks(&[asked])).await?;
        let offset =
            |offset: i64| u64::try_from(offset).map_err(|_| format!("{partition}: Kafka told a watermark of {offset}"));
        match marks.get(partition) {
            Some(Watermarks { low, high, .. }) => {
                Ok(Log { cluster, topic_id, low: offset(*low)?, high: offset(*high)? })
            }
            None => Err(format!("{partition}: Kafka told no watermarks")),
        }
    }

    /// The ids of the cluster and of a topic, as the cluster tells them after this call. It is asked for with every request of every partition,
    /// and the answer names all partitions; so those who ask at the same time share one.
    async fn shown(&self, topic: &Arc<str>) -> Answered {
        let rounds = {
            // A panic elsewhere cannot have left a map half changed.
            let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            // Topics may come and go for years.
            topics.retain(|_, rounds| Arc::strong_count(rounds) > 1);
            Arc::clone(topics.entry(Arc::clone(topic)).or_default())
        };
        let question = async {
            let topic = Arc::clone(topic);
            self.ask(move |cluster| {
                let topic_id = cluster.topic(&topic)?.map(|topic| topic.id);
                // Known since the brokers named the topic, so this does not ask again.
                Ok(Shown { cluster: cluster.id()?, topic_id })
            })
            .await
        };
        rounds.ask(question).await
    }

    /// Puts a question to the cluster, which waits for its answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Cluster) -> Result<T, kafka::Error> + Send + 'static,
    ) -> Result<T, String> {
        let _turn = self.questions.acquire().await.map_err(|closed| closed.to_string())?;
        let cluster = Arc::clone(&self.cluster);
        let asked = tokio::task::spawn_blocking(move || question(&cluster)).await;
        asked.map_err(|failed| format!("asking the cluster: {failed}"))?.map_err(|error| error.to_string())
    }

    /// Signs and submits statements about events of a topic, if Kafka still shows this id for it. That what was read
    /// came from that topic is certain only when it is asked after the reading: ids are never used twice.
    pub(crate) async fn submit(
        &self,
        topic: &Arc<str>,
        topic_id: Option<String>,
        statements: Vec<Statement>,
    ) -> Answer {
        match self.shown(topic).await {
            Err(problem) => return Answer::Unknown { problem, retry_after_ms: None },
            Ok(Shown { cluster, topic_id: found }) => {
                if cluster != self.cluster_id || found.as_ref() != Some(&topic_id) {
                    return Answer::OtherTopic;
                }
            }
        }
        let signed: Vec<SignedStatement> =
            statements.into_iter().map(|statement| SignedStatement::sign(statement, &[&self.key])).collect();
        let texts = signed
            .iter()
            .map(|signed| String::from_utf8(signed.to_bytes()).expect("a note is made of text and base64"));
        match self.committer().await.submit(texts.collect()).await {
            Ok(answer) => decided(&signed, answer),
            Err(Error::Refused { code, message, .. }) => {
                Answer::Decided { accepted: 0, refused: Some(Refused { code, message }) }
            }
            Err(error @ Error::Unavailable { retry_after, .. }) => Answer::Unknown {
                problem: error.to_string(),
                retry_after_ms: retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            },
            Err(error @ Error::Malformed { .. }) => {
                Answer::Unknown { problem: error.to_string(), retry_after_ms: None }
            }
        }
    }
}

/// The committer, for one request at a time.
struct Turn<'a> {
    committer: &'a Client,
    _turn: SemaphorePermit<'a>,
}

impl Deref for Turn<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.committer
    }
}

fn unavailable(error: Error) -> InspectError {
    InspectError::Unavailable(error.to_string())
}
