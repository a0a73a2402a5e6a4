//! Logs, for people and for collectors of lines.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
pub use tracing_subscriber::filter::LevelFilter;

/// Lines that could not be written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The environment variable with the filter of those who give none.
const VARIABLE: &str = "RUST_LOG";

/// PostgreSQL mentions at every start that the tables are there already.
const QUIET: &str = "sqlx::postgres::notice=warn";

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, place, message and fields.
    Text,
    /// A JSON object on each line.
    Json,
}

/// A filter of log lines that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{given_by} {filter:?}: {problem}; give a level (error, warn, info, debug, trace, off) or TARGET=LEVEL, \
     several separated by commas"
)]
pub struct FilterError {
    given_by: &'static str,
    filter: String,
    problem: String,
}

/// Writes logs to standard error, for a command that is no service: what RUST_LOG asks for, otherwise `level` and above.
/// Standard output stays free for results. Later calls do nothing.
///
/// A line that cannot be written (its reader is gone, the disk is full) is dropped and counted, and nothing else happens.
pub fn init(level: LevelFilter) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.to_string()));
    start(Format::Text, filter);
}

/// As [`init`], for a service: `filter` comes before RUST_LOG, and neither may be bad.
///
/// # Errors
/// When a filter cannot be used.
pub fn init_service(format: Format, filter: Option<&str>, level: LevelFilter) -> Result<(), FilterError> {
    let from_environment = std::env::var(VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = match (filter, from_environment) {
        (Some(filter), _) => parse("--log-level", filter)?,
        (None, Some(filter)) => parse(VARIABLE, &filter)?,
        (None, None) => parse("", &level.to_string())?,
    };
    start(format, filter);
    Ok(())
}

fn start(format: Format, filter: EnvFilter) {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines(io::stderr()));
    // An error means that logs are set up already.
    let _ = match format {
        Format::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
}

fn parse(given_by: &'static str, filter: &str) -> Result<EnvFilter, FilterError> {
    let refuse = |problem: String| FilterError { given_by, filter: filter.to_owned(), problem };
    // tracing takes a word that is no level for a target, and would then log nothing else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let words = filter.split(',').map(str::trim);
    if let Some(word) = words.clone().find(|word| !word.contains(['=', '[', ']', '{', '}']) && !is_level(word)) {
        return Err(refuse(format!("{word:?} is not a level")));
    }
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).map_err(|error| refuse(error.to_string()))
}

/// How many lines were dropped since the process started.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Takes whole lines and never fails. The code that logs cannot handle the error, and tracing-subscriber would print it to
/// standard error, which panics when that is what failed.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_line_is_counted() {
        let full = || std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let before = dropped();
        let mut lines = Lines(full());
        writeln!(lines, "one").expect("dropped");
        lines.write_all(b"two\n").expect("dropped");
        lines.flush().expect("nothing to do");
        assert!(dropped() >= before + 2);
        let mut lines = Lines(Vec::new());
        lines.write_all(b"three\n").expect("written");
        assert_eq!(lines.0, b"three\n");
    }

    #[test]
    fn filters_are_checked() {
        for good in ["info", "WARN", "off", "info,ingest_consumer=debug", "rdkafka=off, info", "[stream{topic}]=debug"]
        {
            parse("--log-level", good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for (bad, part) in [
            ("inof", "\"inof\" is not a level"),
            ("", "\"\" is not a level"),
            ("info,kafka=loud", "kafka=loud"),
            ("kafka", "kafka"),
        ] {
            let error = parse("--log-level", bad).expect_err(bad).to_string();
            assert!(
                error.starts_with("--log-level ") && error.contains(part) && error.contains("TARGET=LEVEL"),
                "{error}"
            );
        }
    }
}
