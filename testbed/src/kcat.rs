//! kcat, the Kafka client that users know.

use std::path::Path;
use std::process::Command;

use crate::process::run;

/// Maximum seconds for a run of kcat.
const LIMIT_S: &str = "120";

/// kcat on one broker. Every call waits until it ends.
#[derive(Debug, Clone)]
pub struct Kcat {
    bootstrap: String,
}

impl Kcat {
    pub(crate) fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    /// Produces each non-empty line of `file` as the value of an event without key. Returns when the broker has
    /// acknowledged all.
    ///
    /// # Panics
    /// When an event is not acknowledged.
    #[track_caller]
    pub fn produce(&self, topic: &str, partition: i32, file: &Path) {
        run(self
            .command(&["-P", "-t", topic, "-p", &partition.to_string()])
            .args(["-X", "enable.idempotence=true", "-l"])
            .arg(file));
    }

    /// The values of all events of a topic, one per line, ordered by offset within each partition.
    ///
    /// # Panics
    /// When kcat fails.
    #[track_caller]
    pub fn consume(&self, topic: &str) -> String {
        self.consume_with_format(topic, r"%s\n")
    }

    /// All events of a topic in kcat's output format (`%k` key, `%s` value, `%o` offset, `%p` partition).
    ///
    /// # Panics
    /// When kcat fails.
    #[track_caller]
    pub fn consume_with_format(&self, topic: &str, format: &str) -> String {
        run(&mut self.command(&["-C", "-t", topic, "-e", "-q", "-f", format]))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args([LIMIT_S, "kcat", "-b", &self.bootstrap]).args(arguments);
        command
    }
}
