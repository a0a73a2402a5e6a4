//! Log options of the commands that run services.

use service::logging::{Format, LevelFilter, init_service};

/// What the log says, and how
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Format of the log on standard error: text for people, json for one object per line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// What to log: a level (error, warn, info, debug, trace, off) or TARGET=LEVEL, several separated by commas. The
    /// default is the environment variable RUST_LOG, and else info for services and error for the demo
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

impl LogArgs {
    /// Starts the log. `level` is the default when no filter is set.
    pub(crate) fn init(&self, level: LevelFilter) -> anyhow::Result<()> {
        let format = match self.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
        Ok(init_service(format, self.log_level.as_deref(), level)?)
    }
}
