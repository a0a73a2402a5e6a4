use std::fmt;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("database: {message}")]
pub struct StoreError {
    /// What to do about it.
    pub kind: StoreErrorKind,
    /// What happened.
    pub message: String,
}

/// What a caller does about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// It stood in the way of another transaction and nothing was written: try again at once.
    Conflict,
    /// It cannot be reached or has no room, and nothing was written: try again later.
    Unavailable,
    /// The connection broke during the commit: written or not. Ask, by beginning again with the same statements.
    Unknown,
    /// It holds what no committer wrote. Appending stops until an operator has looked (`fsck` names the place).
    Damaged,
    /// It must not be used as it is set up: the service ends.
    Refused,
    /// The disk did not take or give what it promised. What it holds is not known, so the service ends; the next start
    /// reads what is there.
    Broken,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    pub(crate) fn damaged(message: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Damaged, message)
    }

    pub(crate) fn refused(message: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Refused, message)
    }

    /// Of a call that took too long, outside of a commit.
    pub(crate) fn no_answer() -> Self {
        Self::new(StoreErrorKind::Unavailable, format!("no answer within {} s", super::CALL_TIME_MAX.as_secs()))
    }

    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Conflict | StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
    }
}

/// Of an error outside of a commit. The two databases classify what they answered themselves.
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
                StoreErrorKind::Damaged
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
                "its tables are of version {version}, newer than this program knows: use the program that made them"
            )),
            other => Self::refused(format!("its tables are not what this program made: {other}")),
        }
    }
}
