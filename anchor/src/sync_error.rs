use std::io;
use std::path::PathBuf;

/// An fsync of this crate that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to fsync {}", path.display())]
pub(crate) struct SyncError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Whether an fsync failed. What was written can be read then, and may still be lost. libgit2 has no error code for it,
/// only these words (`git_filebuf_commit`, `git_indexer_commit`, `git_futils_fsync_dir`).
pub(crate) fn is_sync_error(error: &anyhow::Error) -> bool {
    let is_of_git = |cause: &git2::Error| {
        let message = cause.message();
        let is_of_sync = message.starts_with("failed to fsync") || message.contains("' for fsync: ");
        cause.class() == git2::ErrorClass::Os && is_of_sync
    };
    error.chain().any(|cause| cause.is::<SyncError>() || cause.downcast_ref().is_some_and(is_of_git))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sync_errors_are_told_from_other_errors() {
        let is_sync_error = |message: &str| {
            let error = git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, message);
            super::is_sync_error(&anyhow::Error::new(error).context("commit"))
        };
        assert!(is_sync_error("failed to fsync 'objects/ab/cd.lock': Input/output error"));
        assert!(is_sync_error("failed to fsync directory 'objects/ab': Input/output error"));
        assert!(is_sync_error("failed to fsync packfile: Input/output error"));
        assert!(is_sync_error("failed to open directory 'objects/ab' for fsync: Too many open files"));
        assert!(!is_sync_error("failed to write out file 'objects/ab/cd': No space left on device"));
    }
}
