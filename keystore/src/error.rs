use std::io;
use std::path::{Path, PathBuf};

use evidence::Head;

/// Why a key or state file could not be used. Every message names the file and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others than its owner can read the key file.
    #[error("{} has mode {mode:04o}, so others than its owner can use this private key: run `chmod 600`", path.display())]
    Permissions {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file exists, but its contents are invalid.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another process has the state file open.
    #[error("{} is in use by another process: only one may sign with this key", path.display())]
    Locked {
        /// The state file.
        path: PathBuf,
    },
    /// The new head is smaller than one already signed.
    #[error("{}: refusing head {offered}, because {recorded} was signed before: the log went backwards", path.display())]
    Backwards {
        /// The high-water file.
        path: PathBuf,
        /// The largest head signed.
        recorded: Head,
        /// The head refused.
        offered: Head,
    },
    /// The new head has the size of one already signed, and another root.
    #[error("{}: refusing head {offered}, because {recorded} was signed before: the log forked", path.display())]
    Forked {
        /// The high-water file.
        path: PathBuf,
        /// The largest head signed.
        recorded: Head,
        /// The head refused.
        offered: Head,
    },
    /// An earlier write failed, so what the disk holds is not known.
    #[error("{}: an earlier write failed, so nothing may be signed until the process starts again", path.display())]
    Poisoned {
        /// The high-water file.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.into() }
    }
}
