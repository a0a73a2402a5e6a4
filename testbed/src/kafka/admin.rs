//! Administration of a broker.

use std::fmt::{self, Debug};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, metadata::Metadata};

use crate::wait::{eventually, until};

/// Time for one request to a running broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Time for one request to a broker that may not run yet.
const PEEK: Duration = Duration::from_millis(500);

pub(super) struct Admin {
    client: AdminClient<DefaultClientContext>,
    /// Asks for metadata and watermarks; consumes nothing.
    reader: BaseConsumer,
}

impl Admin {
    pub(super) fn new(bootstrap: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            // Reconnects soon after the broker is back.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        Self {
            client: config.create().expect("the settings of the admin client are valid"),
            reader: config.create().expect("the settings of the reader are valid"),
        }
    }

    pub(super) fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let result = wait(self.client.create_topics(&[topic], &options()));
        let result = result.expect("the broker answers").remove(0);
        result.unwrap_or_else(|(_, error)| panic!("cannot create topic {name}: {error}"));
        until(&format!("topic {name} has leaders"), ANSWER_WITHIN, || {
            let metadata = self.reader.fetch_metadata(Some(name), PEEK);
            metadata.is_ok_and(|metadata| all_led(&metadata))
        });
    }

    pub(super) fn add_partitions(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let result = wait(self.client.create_partitions([&more], &options()));
        let result = result.expect("the broker answers").remove(0);
        result.unwrap_or_else(|(_, error)| panic!("cannot give {topic} {partitions} partitions: {error}"));
        until(&format!("topic {topic} has {partitions} partitions"), ANSWER_WITHIN, || {
            let metadata = self.reader.fetch_metadata(Some(topic), PEEK);
            metadata.is_ok_and(|metadata| all_led(&metadata) && metadata.topics()[0].partitions().len() == partitions)
        });
    }

    pub(super) fn delete_topic(&self, name: &str) {
        let result = wait(self.client.delete_topics(&[name], &options()));
        let result = result.expect("the broker answers").remove(0);
        result.unwrap_or_else(|(_, error)| panic!("cannot delete topic {name}: {error}"));
        until(&format!("topic {name} is gone"), ANSWER_WITHIN, || {
            let metadata = self.reader.fetch_metadata(None, PEEK);
            metadata.is_ok_and(|metadata| metadata.topics().iter().all(|topic| topic.name() != name))
        });
    }

    pub(super) fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset can be asked for");
        let result = wait(self.client.delete_records(&before, &options()));
        let result = result.expect("the broker answers");
        for element in result.elements() {
            if let Err(error) = element.error() {
                panic!("cannot delete records of {topic}/{partition} before {offset}: {error}");
            }
        }
    }

    pub(super) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        // For a moment, the client asks the old leader of a recreated topic.
        eventually(&format!("watermarks of {topic}/{partition}"), ANSWER_WITHIN, || {
            self.reader.fetch_watermarks(topic, partition, PEEK).ok()
        })
    }

    /// Whether the broker answers and leads all partitions.
    pub(super) fn is_ready(&self) -> bool {
        let metadata = self.reader.fetch_metadata(None, PEEK);
        metadata.is_ok_and(|metadata| !metadata.brokers().is_empty() && all_led(&metadata))
    }
}

impl Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

fn all_led(metadata: &Metadata) -> bool {
    metadata.topics().iter().all(|topic| {
        let partitions = topic.partitions();
        topic.error().is_none()
            && !partitions.is_empty()
            && partitions.iter().all(|partition| partition.leader() >= 0 && partition.error().is_none())
    })
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN)).request_timeout(Some(ANSWER_WITHIN))
}

/// Waits for an answer, on a thread without a runtime, so that it works inside a test's own runtime.
fn wait<T: Send>(answer: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime without drivers needs nothing")
                .block_on(answer)
        });
        waiter.join().expect("waiting does not panic")
    })
}
