use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use committer_client::{COMMITMENTS_TOPIC, COMMITMENTS_TOPIC_PREFIX, is_commitments_topic};
use kafka::{Subscription, TopicPartition};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::stream::Limits;

/// The ingest-consumer: reads events from Kafka, and submits a signed summary of each batch to the committer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Topics to seal: names, and patterns that begin with `^` (regular expressions). All ingest-consumers of the group
    /// share the partitions. Kafka's internal topics are never sealed.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Partitions to seal, as `topic/partition`, instead of `topics`. This process alone then seals them. It commits
    /// offsets to the group only as a display.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// Topics that are never sealed, even if `topics` matches. Topics of commitments are always excluded:
    /// `commitments`, and names that begin with `streamseal.commitments.`. Otherwise each commitment would be sealed by
    /// another one.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The consumer group. Its offsets are for lag tools; sealing resumes from the committer's cursor.
    #[serde(default = "default_group")]
    pub group: String,
    /// Id of the Kafka cluster to seal; no other cluster is then sealed. Required to seal a second cluster in the same
    /// ledger. If not set, any cluster is sealed in a ledger without streams, and otherwise only a cluster that the
    /// ledger knows.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Address of the committer, such as `http://127.0.0.1:7380`.
    pub committer: String,
    /// The ingest key, a file of mode 0600.
    pub key: PathBuf,
    /// Maximum events per batch.
    #[serde(default = "default_batch_events")]
    pub batch_events: u32,
    /// Maximum bytes per batch: keys, values, headers and their lengths. The event that reaches it is the last.
    #[serde(default = "default_batch_bytes")]
    pub batch_bytes: u64,
    /// Maximum age of a batch in milliseconds, counted from its first event. Shorter means fresher commitments and more
    /// entries: a busy partition makes 86,400,000 / `batch_age_ms` entries per day. All partitions flush at the same
    /// times, twenty times per batch age but at most every 5 ms. A batch closes on the last flush before its maximum
    /// age. A partition with sixteen full batches submits them at once.
    #[serde(default = "default_batch_age_ms")]
    pub batch_age_ms: u32,
    /// Address for health and metrics.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// The default maximum of events per batch.
pub const BATCH_EVENTS: u32 = 16_384;

/// The default maximum of bytes per batch.
pub const BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Maximum statements per request. More would not be faster, as each request waits for one commit.
const REQUEST_STATEMENTS: usize = 16;

/// Maximum unacknowledged statements per stream: enough to fill the next requests while one is in flight.
const UNACKNOWLEDGED: usize = 64;

fn default_group() -> String {
    "streamseal-ingest".to_owned()
}

const fn default_batch_events() -> u32 {
    BATCH_EVENTS
}

const fn default_batch_bytes() -> u64 {
    BATCH_BYTES
}

const fn default_batch_age_ms() -> u32 {
    1000
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7381).into()
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The partitions that the group assigns.
    Group(Subscription),
    /// These partitions. Their offsets are committed to the group with this name.
    Partitions(String, Vec<TopicPartition>),
}

impl Config {
    /// Makes relative paths relative to `folder`, the folder of the configuration file.
    pub fn resolve(&mut self, folder: &Path) {
        self.key = folder.join(&self.key);
    }

    /// Checks what the types cannot express. Errors name the field.
    pub(crate) fn check(&self) -> anyhow::Result<Source> {
        for (field, value) in [
            ("batch_events", u64::from(self.batch_events)),
            ("batch_bytes", self.batch_bytes),
            ("batch_age_ms", u64::from(self.batch_age_ms)),
        ] {
            ensure!(value > 0, "ingest.{field}: must be at least 1");
        }
        ensure!(!self.group.is_empty(), "ingest.group: must name a consumer group");
        match (self.topics.is_empty(), self.partitions.is_empty()) {
            (true, true) => bail!("ingest.topics: name the topics to seal, or give ingest.partitions"),
            (false, false) => bail!("ingest.partitions: cannot be given together with ingest.topics"),
            (false, true) => self.subscription().map(Source::Group),
            (true, false) => Ok(Source::Partitions(self.group.clone(), self.assigned()?)),
        }
    }

    fn subscription(&self) -> anyhow::Result<Subscription> {
        for (i, topic) in self.topics.iter().enumerate() {
            ensure!(!topic.is_empty(), "ingest.topics[{i}]: is empty");
            self.check_topic(topic).with_context(|| format!("ingest.topics[{i}]"))?;
        }
        let commitments = [COMMITMENTS_TOPIC.to_owned(), format!("{COMMITMENTS_TOPIC_PREFIX}*")];
        let exclude = self.exclude.iter().cloned().chain(commitments).collect();
        Ok(Subscription { group: self.group.clone(), topics: self.topics.clone(), exclude })
    }

    fn assigned(&self) -> anyhow::Result<Vec<TopicPartition>> {
        let mut assigned: Vec<TopicPartition> = Vec::new();
        for (i, text) in self.partitions.iter().enumerate() {
            let field = || format!("ingest.partitions[{i}]: {text:?}");
            let (topic, number) = text
                .split_once('/')
                .filter(|(topic, _)| !topic.is_empty())
                .with_context(|| format!("{} must be topic/partition, such as orders/3", field()))?;
            let number: u32 = number.parse().ok().filter(|number| *number <= i32::MAX as u32).with_context(|| {
                format!("{} must have a partition number from 0 to 2147483647 after the slash", field())
            })?;
            self.check_topic(topic).with_context(field)?;
            let partition = TopicPartition::new(topic, number);
            ensure!(!assigned.contains(&partition), "{} is given twice", field());
            assigned.push(partition);
        }
        Ok(assigned)
    }

    fn check_topic(&self, topic: &str) -> anyhow::Result<()> {
        ensure!(!topic.starts_with("__"), "Kafka's internal topics cannot be sealed");
        let is_commitments = is_commitments_topic(topic);
        ensure!(!is_commitments, "{topic} is a topic of commitments: each commitment would be sealed by another one");
        ensure!(!self.exclude.iter().any(|excluded| excluded == topic), "the topic is in ingest.exclude");
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            batch_events: u64::from(self.batch_events),
            batch_bytes: self.batch_bytes,
            batch_age_ms: u64::from(self.batch_age_ms),
            request_statements: REQUEST_STATEMENTS,
            unacknowledged: UNACKNOWLEDGED,
        }
    }

    /// The most entries that a partition makes per day, if its batches close by age.
    pub(crate) fn entries_per_day(&self) -> u64 {
        86_400_000 / u64::from(self.batch_age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> anyhow::Result<Source> {
        let text = format!("committer = 'http://127.0.0.1:1'\nkey = 'k'\n{fields}");
        service::config::parse::<Config>(&text, Path::new("x.toml"))?.check()
    }

    #[test]
    fn subscription_excludes_commitments() {
        let Source::Group(subscription) = parse("topics = ['orders', '^pay.*']").expect("good") else {
            panic!("not a group")
        };
        assert_eq!(subscription.group, "streamseal-ingest");
        assert_eq!(subscription.exclude, ["commitments", "streamseal.commitments.*"]);
        assert_eq!(subscription.topics, ["orders", "^pay.*"]);
    }

    #[test]
    fn partitions_are_parsed() {
        let Source::Partitions(group, partitions) = parse("partitions = ['orders/0', 'a.b/12']").expect("good") else {
            panic!("not partitions")
        };
        assert_eq!(group, "streamseal-ingest");
        assert_eq!(partitions, [TopicPartition::new("orders", 0), TopicPartition::new("a.b", 12)]);
    }

    #[test]
    fn errors_name_the_field() {
        for (fields, wanted) in [
            ("", "ingest.topics: name the topics"),
            ("topics = ['a']\npartitions = ['a/0']", "ingest.partitions: cannot"),
            ("topics = ['a', '']", "ingest.topics[1]: is empty"),
            ("topics = ['commitments']", "ingest.topics[0]: commitments is a topic of commitments"),
            (
                "topics = ['streamseal.commitments.audit']",
                "ingest.topics[0]: streamseal.commitments.audit is a topic of",
            ),
            ("topics = ['a']\nexclude = ['a']", "ingest.topics[0]: the topic is in ingest.exclude"),
            ("topics = ['__consumer_offsets']", "ingest.topics[0]: Kafka's internal"),
            ("topics = ['a']\nbatch_events = 0", "ingest.batch_events: must be at least 1"),
            ("topics = ['a']\nbatch_age_ms = 0", "ingest.batch_age_ms: must be at least 1"),
            ("topics = ['a']\ngroup = ''", "ingest.group: must"),
            ("topics = ['a']\nbatch_age_s = 1", "batch_age_s"),
            ("partitions = ['orders']", "ingest.partitions[0]: \"orders\" must be topic/partition"),
            ("partitions = ['orders/-1']", "must have a partition number"),
            ("partitions = ['orders/2147483648']", "must have a partition number"),
            ("partitions = ['a/0', 'a/0']", "ingest.partitions[1]: \"a/0\" is given twice"),
            ("partitions = ['commitments/0']", "ingest.partitions[0]: \"commitments/0\": commitments is a topic of"),
        ] {
            let problem = format!("{:#}", parse(fields).expect_err(fields));
            assert!(problem.contains(wanted), "{fields:?}: {problem:?} should contain {wanted:?}");
        }
    }
}
