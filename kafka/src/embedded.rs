//! A broker inside this process.
#![allow(unsafe_code)]

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::RDKafkaType;
use rdkafka_sys as sys;

use crate::client::Logging;
use crate::native::{Owned, c_name, text};
use crate::{Error, TopicPartition};

/// librdkafka's in-process broker: the real protocol on a loopback port, for a demo and for tests without a Kafka.
///
/// Its limits:
/// - It stores events in memory only. Each start has a new port and another cluster id.
/// - It keeps the newest 5 MiB and 100,000 produce requests of each partition, and drops older events as if by
///   retention. Produce no faster than you read.
/// - It has no transactions: aborted events are read like others. It has no compaction, access control or TLS.
/// - Producing to a topic or asking for it creates it, with 4 partitions. The protocol's CreateTopics is missing;
///   [`create_topic`](Self::create_topic) creates topics with other partition counts.
pub struct EmbeddedBroker {
    /// Declared before its client, so that it is dropped first.
    cluster: Owned<sys::rd_kafka_mock_cluster_t>,
    _client: Client<Logging>,
    bootstrap_servers: String,
}

// SAFETY: every call on the cluster goes through a queue to its own thread, which answers.
unsafe impl Send for EmbeddedBroker {}
// SAFETY: as above.
unsafe impl Sync for EmbeddedBroker {}

impl EmbeddedBroker {
    /// Starts a broker on a free loopback port. It ends when dropped.
    ///
    /// # Errors
    /// [`Error::Client`] if it cannot listen.
    pub fn start() -> Result<Self, Error> {
        let doing = "starting the embedded broker";
        let mut config = ClientConfig::new();
        // Nobody reads this client's log queue.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let native = config.create_native_config();
        let client = native.and_then(|native| Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Logging));
        let client = client.map_err(|error| Error::creation(doing, error))?;
        // SAFETY: the client is valid and outlives the cluster, which is null or ours; the text lives with it.
        unsafe {
            let cluster = sys::rd_kafka_mock_cluster_new(client.native_ptr(), 1);
            let cluster = Owned::new(cluster, sys::rd_kafka_mock_cluster_destroy)
                .ok_or_else(|| Error::client(doing, "it cannot listen on a loopback port"))?;
            // A group does not wait for members: a later one starts a rebalance.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0);
            let bootstrap = sys::rd_kafka_mock_cluster_bootstraps(cluster.as_ptr());
            Ok(Self { bootstrap_servers: text(bootstrap), cluster, _client: client })
        }
    }

    /// The value for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`Error::Client`] if it exists already.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), Error> {
        let c_name = c_name(name);
        let count = TopicPartition::new(name, partitions).number();
        // SAFETY: the cluster is valid while owned; the name is read before this returns.
        let result = unsafe { sys::rd_kafka_mock_topic_create(self.cluster.as_ptr(), c_name.as_ptr(), count, 1) };
        if result == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        // SAFETY: librdkafka describes its codes in constant texts.
        let reason = unsafe { text(sys::rd_kafka_err2str(result)) };
        Err(Error::client(format!("creating the topic {name} in the embedded broker"), reason))
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}
