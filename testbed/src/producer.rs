//! A producer that records which events the broker acknowledged, with their offsets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

/// Time until all events are acknowledged, even if the broker is away for a while.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// Time of one wait for acknowledgements.
const POLL: Duration = Duration::from_millis(50);

/// An event that the broker has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// An event to produce.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToProduce<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: u32,
    /// The key.
    pub key: Option<&'a str>,
    /// The value.
    pub value: Option<&'a str>,
    /// Milliseconds since 1970; by default now.
    pub timestamp: Option<i64>,
}

/// An idempotent producer: each event is in the log once.
pub struct Producer {
    client: BaseProducer<Account>,
}

struct Account {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
}

impl ClientContext for Account {}

impl ProducerContext for Account {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = match result {
            Ok(message) => message,
            // The event belonged to an aborted transaction.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue), _)) => return,
            Err((error, message)) => {
                panic!("{}/{}: not acknowledged: {error}", message.topic(), message.partition());
            }
        };
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(Acknowledged {
            topic: message.topic().to_owned(),
            partition: message.partition().cast_unsigned(),
            offset: message.offset().cast_unsigned(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        });
    }
}

impl Producer {
    /// A producer with properties of librdkafka beside the address, such as `("compression.type", "lz4")`.
    ///
    /// # Panics
    /// When they are not valid.
    pub fn new(bootstrap: &str, properties: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            // Reconnects soon after the broker is back.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        let account = Account { acknowledged: Arc::default() };
        Self { client: config.create_with_context(account).expect("the properties are valid") }
    }

    /// Queues an event; the broker acknowledges it later.
    ///
    /// # Panics
    /// When the queue stays full.
    pub fn send(&self, event: ToProduce<'_>) {
        let start = Instant::now();
        let mut record = BaseRecord::to(event.topic).partition(event.partition.cast_signed());
        record.key = event.key;
        record.payload = event.value;
        record.timestamp = event.timestamp;
        while let Err((error, back)) = self.client.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full && start.elapsed() < ACKNOWLEDGED_WITHIN, "cannot produce to {}: {error}", event.topic);
            self.client.poll(POLL);
            record = back;
        }
    }

    /// Waits until all sent events are acknowledged. Returns those acknowledged since the last call.
    ///
    /// # Panics
    /// When that takes more than two minutes.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.client.flush(ACKNOWLEDGED_WITHIN).expect("the broker acknowledges");
        std::mem::take(&mut self.client.context().acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prepares for transactions. The properties must name a `transactional.id`.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn init_transactions(&self) {
        self.client.init_transactions(ACKNOWLEDGED_WITHIN).expect("the broker has transactions");
    }

    /// Begins a transaction.
    ///
    /// # Panics
    /// When one is open.
    pub fn begin(&self) {
        self.client.begin_transaction().expect("none is open");
    }

    /// Commits the events since [`begin`](Self::begin).
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn commit(&self) {
        self.client.commit_transaction(ACKNOWLEDGED_WITHIN).expect("one is open");
    }

    /// Aborts the events since [`begin`](Self::begin).
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn abort(&self) {
        self.client.abort_transaction(ACKNOWLEDGED_WITHIN).expect("one is open");
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}
