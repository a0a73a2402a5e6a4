//! Settings of libgit2 that hold for the whole process.

use std::sync::Once;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes libgit2 sync what it writes, so that it survives a power cut, and give up on servers that stop answering, so
/// that they do not hold a thread for ever. Called before every first use of it; later calls do nothing.
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
            timeouts.is_ok() && fsync == 0
        };
        assert!(set, "libgit2 knows its own options");
    });
}

/// Whether an error is that of an fsync: what was written may be lost then, although it can be read. libgit2 gives no
/// number for it, only these words (`git_filebuf_commit`, `git_futils_fsync_dir`).
pub(crate) fn is_failed_sync(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<git2::Error>());
    causes.any(|cause| cause.class() == git2::ErrorClass::Os && cause.message().starts_with("failed to fsync"))
}
