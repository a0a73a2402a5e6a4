//! Where librdkafka's logs and errors go, for all clients.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// librdkafka's log lines and statistics go to `tracing`, under this target.
const TARGET: &str = "librdkafka";

pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    if facility == "CONFWARN" && is_intended(line) {
        return tracing::debug!(target: TARGET, facility, "{line}");
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: TARGET, facility, "{line}")
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: TARGET, facility, "{line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: TARGET, facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: TARGET, facility, "{line}"),
    }
}

/// Whether librdkafka warns about something intended: producers and consumers share one set of properties, and we use a
/// guarantee that it calls experimental.
fn is_intended(warning: &str) -> bool {
    warning.contains("will be ignored by this") || warning.contains("enable.gapless.guarantee")
}

/// Logs statistics, which librdkafka sends if `statistics.interval.ms` is set.
pub(crate) fn log_statistics(statistics: &[u8]) {
    tracing::debug!(target: TARGET, "{}", String::from_utf8_lossy(statistics));
}

/// Logs an error of the whole client, such as an unreachable broker. librdkafka keeps trying.
pub(crate) fn log_error(error: &KafkaError, reason: &str) {
    tracing::warn!(target: TARGET, "{error}: {reason}");
}

/// The context of clients whose owner does not handle events: it logs them.
#[derive(Debug)]
pub(crate) struct Logging;

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        log_statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Logging {}
