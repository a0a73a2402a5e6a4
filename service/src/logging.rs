//! Logs, for people and for collectors of lines.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
pub use tracing_subscriber::filter::LevelFilter;

/// Lines that could not be written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Writes logs to standard error: what the environment variable RUST_LOG asks for, otherwise `level` and above. Standard
/// output stays free for results. Later calls do nothing.
///
/// A line that cannot be written (its reader is gone, the disk is full) is dropped and counted, and nothing else happens.
pub fn init(level: LevelFilter) {
    // PostgreSQL mentions at every start that the tables are there already.
    let quiet = || EnvFilter::new(format!("{level},sqlx::postgres::notice=warn"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(io::stderr().is_terminal());
    // An error means that logs are set up already.
    let _ = subscriber.try_init();
}

/// How many lines were dropped since the process started.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Takes whole lines and never fails: whoever logs has no use for the error, and tracing-subscriber would print it to
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
    fn a_line_that_cannot_be_written_is_counted_and_no_error() {
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
}
