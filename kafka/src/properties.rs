use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use schemars::JsonSchema;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Defaults of every client; each can be overridden.
const COMMON: &[(&str, &str)] = &[("client.id", "streamseal")];

/// Maximum bytes per fetch (`fetch.max.bytes`), unless overridden or derived from other properties. A queued event
/// keeps its whole fetch response in memory.
const FETCH_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of a response besides the fetched ones. librdkafka requires this margin.
const RESPONSE_OVERHEAD_BYTES: u64 = 512;

/// Defaults of consumers; each can be overridden.
const CONSUMER: &[(&str, &str)] = &[
    // Fetch again as soon as a queue has room. With the default of a second, the reader waits.
    ("fetch.queue.backoff.ms", "1"),
    // librdkafka has one fetch per broker in flight, and leaves out partitions whose queue is full. If all others are
    // at their ends, the broker delays its answer for this long, and the full queue runs empty meanwhile. With the
    // default of 500 ms, one partition's backlog beside idle partitions was read very slowly.
    ("fetch.wait.max.ms", "50"),
    // Reading must not create topics.
    ("allow.auto.create.topics", "false"),
];

/// Bounds on fetching ahead, for all partitions of a consumer together. An override applies to each partition.
///
/// librdkafka counts per partition, as each has its own queue, so partitions get a share of these values. Any number of
/// unread partitions holds less than 200 MB (tested with 256). Most of this is librdkafka's overhead of 450 bytes per
/// event. Compression can raise it: librdkafka counts compressed bytes, and fetches at least one whole producer batch.
const AHEAD: &[(&str, usize)] = &[
    ("queued.min.messages", 128_000),
    ("queued.max.messages.kbytes", 65_536),
    ("fetch.message.max.bytes", 16_777_216),
];

/// Properties that the guarantees depend on: name, value, and what another value would break.
const CONSUMER_FIXED: &[(&str, &str, &str)] = &[
    ("isolation.level", "read_committed", "aborted events would be sealed as if they counted"),
    ("auto.offset.reset", "error", "events would be skipped silently when an offset was deleted"),
    ("check.crcs", "true", "events damaged in transit would be sealed as if they were genuine"),
    ("enable.partition.eof", "true", "the end of a partition and trailing transaction markers would not be seen"),
    ("enable.auto.commit", "false", "group offsets would claim more than what is sealed"),
    ("enable.auto.offset.store", "false", "group offsets would claim more than what is sealed"),
];

/// Defaults of producers; each can be overridden.
const PRODUCER: &[(&str, &str)] = &[
    ("linger.ms", "5"),
    // Bounds the memory of records that wait for a broker.
    ("queue.buffering.max.kbytes", "32768"),
];

/// As [`CONSUMER_FIXED`], for producers.
const PRODUCER_FIXED: &[(&str, &str, &str)] = &[
    ("enable.idempotence", "true", "records could be repeated or overtake each other"),
    ("enable.gapless.guarantee", "true", "a record could be lost between two that arrive"),
    ("acks", "all", "an acknowledged record could be lost"),
    ("message.timeout.ms", "0", "a record that waited too long would be dropped and later ones overtake it"),
];

/// Properties that cannot be configured, and why.
const REFUSED: &[(&str, &str)] = &[
    ("group.id", "the configuration of the service names the group"),
    ("log_level", "the log filter decides, for the target librdkafka"),
    ("transactional.id", "records are produced without transactions"),
];

/// librdkafka's aliases for the names above. They are replaced: of two spellings, it is undefined which one wins.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

/// Properties of librdkafka, by their names: the `[kafka]` section of the configuration.
///
/// Every property passes through and overrides our default. Only overrides that would break a guarantee are refused,
/// with the reason. Values may be strings, integers or booleans. Debug output shows only names, as values may be
/// secrets.
///
/// ```toml
/// [kafka]
/// "bootstrap.servers" = "broker-1:9093,broker-2:9093"
/// "security.protocol" = "ssl"
/// "ssl.ca.location" = "/etc/ssl/kafka-ca.pem"
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, Scalar>", into = "BTreeMap<String, String>")]
#[schemars(with = "BTreeMap<String, Scalar>")]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// A consumer of fewer partitions has the same properties: fetching further ahead is of no use.
    pub const PARTITIONS_MIN: usize = 4;

    /// Takes the properties of a configuration.
    ///
    /// # Errors
    /// [`Error::Property`] if `bootstrap.servers` is missing, a property must not be overridden, or one is given under
    /// two names. librdkafka checks names and values later, when a client is made.
    pub fn new<N, V>(properties: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut kept = BTreeMap::new();
        for (name, value) in properties {
            let (given, value) = (name.into(), value.into());
            let name = spelling(&given);
            refuse_override(&given, name, &value)?;
            if kept.insert(name.to_owned(), value).is_some() {
                let reason = format!("given twice, the second time as {given}");
                return Err(Error::property(name, reason));
            }
        }
        if !kept.contains_key("bootstrap.servers") {
            let reason = "missing; give the bootstrap brokers as host:port,host:port";
            return Err(Error::property("bootstrap.servers", reason));
        }
        Ok(Self(kept))
    }

    /// The given value of a property; `None` for a default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The brokers to start from.
    pub fn brokers(&self) -> Option<&str> {
        self.get("bootstrap.servers")
    }

    /// These properties for a consumer of up to this many partitions. Each fetches its share ahead, so memory is
    /// bounded however many there are.
    pub fn shared_by(&self, partitions: usize) -> Self {
        let share = |whole: usize| (whole / partitions.max(Self::PARTITIONS_MIN)).max(1);
        AHEAD.iter().fold(self.clone(), |properties, (name, whole)| properties.or(name, &share(*whole).to_string()))
    }

    /// These properties, with a default for one.
    pub(crate) fn or(&self, name: &str, value: &str) -> Self {
        let mut properties = self.clone();
        properties.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        properties
    }

    /// The librdkafka configuration of a consumer, with or without a group.
    pub fn consumer(&self, group: Option<&str>) -> ClientConfig {
        let properties = self.or("fetch.max.bytes", &self.fetch_max_bytes().to_string());
        let mut config = properties.shared_by(1).config(CONSUMER, CONSUMER_FIXED);
        if let Some(group) = group {
            config.set("group.id", group);
        }
        // Cooperative rebalances do not interrupt partitions that stay. The newer protocol is always cooperative, and
        // refuses this property.
        if group.is_some()
            && self.get("group.protocol") != Some("consumer")
            && self.get("partition.assignment.strategy").is_none()
        {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        config
    }

    /// The default for `fetch.max.bytes`. librdkafka requires at least `message.max.bytes`, and a response must fit
    /// into `receive.message.max.bytes`. Users set both to the values of their brokers.
    fn fetch_max_bytes(&self) -> u64 {
        // librdkafka refuses what is not a number, and names the property.
        let given = |name: &str| self.get(name).and_then(|value| value.parse::<u64>().ok());
        let most =
            given("receive.message.max.bytes").map_or(u64::MAX, |most| most.saturating_sub(RESPONSE_OVERHEAD_BYTES));
        FETCH_MAX_BYTES.min(most).max(given("message.max.bytes").unwrap_or(0))
    }

    pub(crate) fn producer(&self) -> ClientConfig {
        self.config(PRODUCER, PRODUCER_FIXED)
    }

    fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // The log filter of the service selects the lines.
        config.set_log_level(match self.get("debug") {
            None => RDKafkaLogLevel::Info,
            Some(_) => RDKafkaLogLevel::Debug,
        });
        for (name, value) in COMMON.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.0 {
            config.set(name, value);
        }
        for (name, value, _) in fixed {
            config.set(*name, *value);
        }
        config
    }
}

fn spelling(given: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == given);
    alias.map_or(given, |(_, name)| name)
}

fn refuse_override(given: &str, name: &str, value: &str) -> Result<(), Error> {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let reason = format!("cannot be set here: {reason}");
        return Err(Error::property(given, reason));
    }
    let fixed = CONSUMER_FIXED.iter().chain(PRODUCER_FIXED);
    for (_, kept, why) in fixed.filter(|(fixed, ..)| *fixed == name) {
        if value != *kept {
            let reason = format!("must stay {kept}: {why}; remove the override");
            return Err(Error::property(given, reason));
        }
    }
    Ok(())
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl TryFrom<BTreeMap<String, Scalar>> for Properties {
    type Error = Error;

    fn try_from(properties: BTreeMap<String, Scalar>) -> Result<Self, Error> {
        Self::new(properties.into_iter().map(|(name, value)| (name, value.0)))
    }
}

impl From<Properties> for BTreeMap<String, String> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}

/// The value of a property: a string, an integer or a boolean, as the text that librdkafka takes.
struct Scalar(String);

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KafkaPropertyValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a string, an integer or a boolean (write a property's name in quotes: \"ssl.ca.location\" = \"...\")",
        )
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}
