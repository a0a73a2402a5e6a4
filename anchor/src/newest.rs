use std::path::Path;

use anyhow::Context;
use git2::ErrorCode;

use crate::anchored::{CHECKPOINT, folder};

/// The newest anchored checkpoint of a log in a repository, bare or a clone, unverified; `None` when the repository, the
/// branch or an anchor of this log is not there yet.
///
/// # Errors
/// When what is there cannot be read.
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
