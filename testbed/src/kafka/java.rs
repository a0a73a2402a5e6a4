//! Reads topics with Apache Kafka's own Java client, to compare with librdkafka.

use std::process::Command;

use super::Kafka;
use super::jars::Jars;
use crate::process::run;

/// Separators of fields, headers and lines. [`BytesDeserializer`](Kafka::java_reads) escapes all control characters.
const FIELD: &str = "\u{1}";
const HEADER: &str = "\u{2}";
const LINE: &str = "\u{3}";
/// The text for null; no test uses the same bytes.
const NULL: &str = "<nothing, not even no bytes>";

/// A record as the Java client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaRecord {
    /// Its offset.
    pub offset: i64,
    /// Kind and milliseconds, such as `CreateTime:17`, or `NO_TIMESTAMP`.
    pub timestamp: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Kafka {
    /// The first `count` committed records of partition 0 of a topic, as the console consumer reads them. Header names
    /// must not contain control characters or colons.
    ///
    /// # Panics
    /// When the consumer fails, or reads fewer within a minute.
    pub fn java_reads(&self, topic: &str, count: usize) -> Vec<JavaRecord> {
        let bytes = "org.apache.kafka.common.serialization.BytesDeserializer";
        let properties = [
            ("print.timestamp", "true"),
            ("print.offset", "true"),
            ("print.headers", "true"),
            ("print.key", "true"),
            ("print.value", "true"),
            ("key.separator", FIELD),
            ("headers.separator", HEADER),
            ("line.separator", LINE),
            ("null.literal", NULL),
            ("key.deserializer", bytes),
            ("value.deserializer", bytes),
            ("headers.deserializer", bytes),
        ];
        let mut command = Command::new("java");
        command.arg("-Dfile.encoding=UTF-8");
        let mut command = Jars::get().java(command);
        command.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", self.bootstrap()]);
        command.args(["--topic", topic, "--partition", "0", "--offset", "earliest"]);
        command.args(["--isolation-level", "read_committed", "--timeout-ms", "60000"]);
        command.args(["--max-messages", &count.to_string()]);
        for (name, value) in properties {
            command.args(["--formatter-property", &format!("{name}={value}")]);
        }
        let printed = run(&mut command);
        let records: Vec<_> = printed.split_terminator(LINE).map(record).collect();
        assert_eq!(records.len(), count, "{topic}: the Java client reads fewer records: {printed:?}");
        records
    }
}

fn record(line: &str) -> JavaRecord {
    let fields: Vec<_> = line.split(FIELD).collect();
    let [timestamp, offset, headers, key, value] = fields[..] else { panic!("five fields: {line:?}") };
    let offset = offset.strip_prefix("Offset:").expect("an offset").parse().expect("a number");
    let headers = match headers {
        "NO_HEADERS" => Vec::new(),
        headers => headers
            .split(HEADER)
            .map(|header| {
                let (name, value) = header.split_once(':').expect("name and value");
                (name.to_owned(), unescaped(value))
            })
            .collect(),
    };
    JavaRecord { offset, timestamp: timestamp.to_owned(), key: unescaped(key), value: unescaped(value), headers }
}

/// Decodes the output of Java's `Bytes.toString`.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    if text == NULL {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match after.strip_prefix(b"x") {
            Some(hex) if first == b'\\' => {
                let (digits, after) = hex.split_at(2);
                let digits = std::str::from_utf8(digits).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                after
            }
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    Some(bytes)
}
