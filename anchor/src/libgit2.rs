//! Settings of libgit2 that hold for the whole process.

use std::io;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Objects that are kept in memory after they were read or written. An anchor is read once more at most; libgit2's 256 MiB
/// would be years of them. It counts their bytes as they are stored, about a fourth of what they take.
const CACHE_BYTES_MAX: isize = 1 << 17;
/// Packs that are open at once. There may be dozens, of which all but the newest are hardly read.
const PACKS_OPEN_MAX: usize = 4;

/// Makes libgit2 sync what it writes, so that it survives a power cut, give up on servers that stop answering, so that
/// they do not hold a thread for ever, and hold no more memory and files however many anchors there are. Called before
/// every first use of it; later calls do nothing.
#[allow(unsafe_code)]
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: these set plain integers of libgit2, which are read when a repository or a connection is opened. This
        // crate opens none before, and nothing else in the project writes to repositories or talks to Git servers.
        let set = unsafe {
            let timeouts = git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_TIMEOUT.as_millis() as i32)
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(ANSWER_TIMEOUT.as_millis() as i32));
            let fsync = libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_ENABLE_FSYNC_GITDIR as i32, 1);
            let bounds = git2::opts::set_cache_max_size(CACHE_BYTES_MAX)
                .and_then(|()| git2::opts::set_mwindow_file_limit(PACKS_OPEN_MAX));
            timeouts.is_ok() && fsync == 0 && bounds.is_ok()
        };
        assert!(set, "libgit2 knows its own options");
    });
}

/// What could not be synced by ourselves.
#[derive(Debug, thiserror::Error)]
#[error("failed to fsync {}", path.display())]
pub(crate) struct FailedSync {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Whether an error is that of an fsync: what was written may be lost then, although it can be read. libgit2 gives no
/// number for it, only these words (`git_filebuf_commit`, `git_indexer_commit`, `git_futils_fsync_dir`).
pub(crate) fn is_failed_sync(error: &anyhow::Error) -> bool {
    let is_of_git = |cause: &git2::Error| {
        let message = cause.message();
        let is_of_sync = message.starts_with("failed to fsync") || message.contains("' for fsync: ");
        cause.class() == git2::ErrorClass::Os && is_of_sync
    };
    error.chain().any(|cause| cause.is::<FailedSync>() || cause.downcast_ref().is_some_and(is_of_git))
}

#[cfg(test)]
mod tests {
    use git2::{Repository, Signature, Time};

    use super::*;

    #[test]
    fn a_failed_sync_is_told_from_other_errors() {
        let is_failed_sync = |message: &str| {
            let error = git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, message);
            super::is_failed_sync(&anyhow::Error::new(error).context("commit"))
        };
        assert!(is_failed_sync("failed to fsync 'objects/ab/cd.lock': Input/output error"));
        assert!(is_failed_sync("failed to fsync directory 'objects/ab': Input/output error"));
        assert!(is_failed_sync("failed to fsync packfile: Input/output error"));
        assert!(is_failed_sync("failed to open directory 'objects/ab' for fsync: Too many open files"));
        assert!(!is_failed_sync("failed to write out file 'objects/ab/cd': No space left on device"));
    }

    #[test]
    #[allow(unsafe_code)]
    fn little_of_what_was_read_stays_in_memory() {
        set_up();
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Repository::init_bare(folder.path()).expect("made");
        let odb = repository.odb().expect("there");
        let _in_memory = odb.add_new_mempack_backend(1000).expect("added");
        let nobody = Signature::new("a", "b", &Time::new(0, 0)).expect("good");
        let tree = repository.treebuilder(None).expect("begun").write().expect("written");
        let tree = repository.find_tree(tree).expect("there");
        for number in 0..2_000 {
            let message = format!("{number} {}", "~".repeat(3_000));
            let id = repository.commit(None, &nobody, &nobody, &message, &tree, &[]).expect("committed");
            assert_eq!(repository.find_commit(id).expect("there").message(), Ok(message.as_str()));
        }
        // SAFETY: it reads two numbers.
        let (held, _) = unsafe { git2::opts::get_cached_memory() }.expect("libgit2 knows");
        assert!((1..2 * CACHE_BYTES_MAX).contains(&held), "{held} bytes");
    }
}
