use std::fmt;

/// Why a call of the database failed.
#[derive(Debug, thiserror::Error)]
#[error("database: {message}")]
pub struct StoreError {
    /// What the caller does about it.
    pub kind: StoreErrorKind,
    /// What happened.
    pub message: String,
}

/// What a caller does about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another transaction conflicted, and nothing was written: try again at once.
    Conflict,
    /// The database is unreachable or full, and nothing was written: try again later.
    Unavailable,
    /// The connection broke during the commit, which may be written. Beginning again with the same lookups tells.
    Unknown,
    /// The database holds data that no committer wrote. Appending stops until an operator repaired it (`fsck` says where).
    Corrupt,
    /// The database must not be used with its present setup: the service ends.
    Refused,
    /// A read or write of the disk failed, so its contents are unknown. The service ends; the next start reads them.
    DiskFailed,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    pub(crate) fn corrupt(message: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Corrupt, message)
    }

    pub(crate) fn refused(message: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Refused, message)
    }

    /// The error of a call, other than a commit, that took too long.
    pub(crate) fn no_answer() -> Self {
        Self::new(StoreErrorKind::Unavailable, format!("no answer within {} s", super::CALL_TIME_MAX.as_secs()))
    }

    /// Whether the call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Conflict | StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
    }
}

/// For errors outside of a commit. Each database classifies its own answers.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|answer| answer.code());
        if code.is_some_and(|code| super::session::is_of_another(&code)) {
            return super::session::shared(&error);
        }
        let kind = match &error {
            sqlx::Error::Database(answer) => match answer.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                Some(postgres) => super::postgres::classify(postgres.code()),
                None => super::sqlite::classify(answer.code().as_deref()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
                StoreErrorKind::Corrupt
            }
            sqlx::Error::Configuration(_) => StoreErrorKind::Refused,
            _ => StoreErrorKind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(version) => Self::refused(format!(
                "its tables have version {version}, which is newer than this program: use the program that made them"
            )),
            other => Self::refused(format!("its tables are not those of this program: {other}")),
        }
    }
}
