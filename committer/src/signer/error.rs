use crate::log_key::LogKeyError;
use crate::replay::ReplayError;
use crate::store::{StoreError, StoreErrorKind};

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignerError {
    /// The database did not answer. Nothing is known to be wrong.
    #[error(transparent)]
    Store(StoreError),
    /// The database must not be signed for.
    #[error("{0}")]
    Unsound(String),
    /// The log key must not sign.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// The high-water file could not be written.
    #[error(transparent)]
    HighWater(#[from] keystore::Error),
}

impl From<StoreError> for SignerError {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Corrupt => Self::Unsound(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

impl From<ReplayError> for SignerError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Store(error) => error.into(),
            invalid @ ReplayError::Invalid { .. } => {
                Self::Unsound(format!("the database does not hold a valid chain: {invalid}: run fsck"))
            }
        }
    }
}

impl SignerError {
    /// Whether the service must end.
    pub(super) fn is_fatal(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error.kind, StoreErrorKind::DiskFailed | StoreErrorKind::Refused),
            Self::Unsound(_) | Self::LogKey(LogKeyError::NotInForce(_)) => false,
            Self::LogKey(LogKeyError::HighWaterMissing(_)) | Self::HighWater(_) => true,
        }
    }
}
