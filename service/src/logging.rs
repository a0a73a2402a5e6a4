//! Logs, for people and for collectors of lines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
pub use tracing_subscriber::filter::LevelFilter;

/// Writes logs to standard error: what the environment variable RUST_LOG asks for, otherwise `level` and above. Standard
/// output stays free for results. Later calls do nothing.
pub fn init(level: LevelFilter) {
    // PostgreSQL mentions at every start that the tables are there already.
    let quiet = || EnvFilter::new(format!("{level},sqlx::postgres::notice=warn"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means that logs are set up already.
    let _ = subscriber.try_init();
}
