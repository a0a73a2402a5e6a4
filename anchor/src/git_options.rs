//! Settings of libgit2 that hold for the whole process.

use std::sync::Once;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How much libgit2 caches of what it read or wrote. Its default of 256 MiB would hold years of anchors, and each is read
/// once more at most. It counts bytes as stored, about a fourth of the memory they take.
const CACHE_BYTES_MAX: isize = 1 << 17;
/// Packs that are open at once. There may be dozens, and only the newest is read often.
const PACKS_OPEN_MAX: usize = 4;

/// Sets up libgit2. It must sync what it writes, so that commits survive a power cut. It must give up on servers that
/// stop answering, which would hold a thread for ever. Its memory and open files must not grow with the anchors.
/// Call this before the first use of libgit2; later calls do nothing.
#[allow(unsafe_code)]
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: these set plain integers, which libgit2 reads when it opens a repository or a connection. This crate opens
        // none before, and nothing else in the project writes to repositories or talks to Git servers.
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

#[cfg(test)]
mod tests {
    use git2::{Repository, Signature, Time};

    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn cache_of_objects_stays_small() {
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
