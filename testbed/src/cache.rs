//! The cache of fetched files.

use std::env::var_os;
use std::path::PathBuf;

/// The folder `streamseal-tests` in the user's cache folder. `./test` also writes there.
///
/// # Panics
/// When the environment names no cache folder.
pub(crate) fn cache() -> PathBuf {
    let home = || Some(PathBuf::from(var_os("HOME")?).join(".cache"));
    let folder = var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    folder.expect("set XDG_CACHE_HOME or HOME: fetched files are kept there").join("streamseal-tests")
}
