use std::path::Path;

use anyhow::Context;
use git2::ErrorCode;

use crate::anchor::{CHECKPOINT, folder};

/// Reads the newest anchored checkpoint of a log from a repository, bare or a clone. It is not verified. `None` when
/// there is no repository, no branch or no anchor of this log yet.
///
/// # Errors
/// When the repository cannot be read.
pub fn newest_checkpoint(repository: &Path, branch: &str, origin: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let path = format!("{}/{CHECKPOINT}", folder(origin));
    let read = || {
        let git = git2::Repository::open(repository)?;
        let local = git.find_reference(&format!("refs/heads/{branch}"));
        let reference = local.or_else(|_| git.find_reference(&format!("refs/remotes/origin/{branch}")))?;
        let entry = reference.peel_to_tree()?.get_path(Path::new(&path))?;
        let blob = git.find_blob(entry.id())?;
        Ok(blob.content().to_vec())
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err::<_, git2::Error>(error) => {
            Err(error).with_context(|| format!("read {path} on branch {branch} of {}", repository.display()))
        }
    }
}
