//! What is fetched once on a machine and kept.

use std::env::var_os;
use std::path::PathBuf;

/// The folder `streamseal-tests` in the user's cache folder; ./test puts things there too.
///
/// # Panics
/// When the environment names no such folder.
pub(crate) fn cache() -> PathBuf {
    let home = || Some(PathBuf::from(var_os("HOME")?).join(".cache"));
    let folder = var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    folder.expect("neither XDG_CACHE_HOME nor HOME is set: no folder to keep fetched files in").join("streamseal-tests")
}
