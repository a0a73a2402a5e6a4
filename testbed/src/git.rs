//! Git repositories to push to: by path, over smart HTTP, over SSH.

mod http;
mod ssh;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use http::GitHttp;
pub use ssh::GitSsh;

use crate::process::run;

/// A bare repository, which Git reaches by its path.
#[derive(Debug, Clone)]
pub struct BareRepository {
    path: PathBuf,
}

impl BareRepository {
    /// Makes an empty repository at `path`.
    ///
    /// # Panics
    /// When Git is missing or fails.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        run(git().args(["init", "--quiet", "--bare"]).arg(&path));
        Self { path }
    }

    /// Its path, which Git takes as a URL.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Installs `script` (for sh) as the hook `pre-receive`. A push is refused if the script fails.
    ///
    /// # Panics
    /// When the hook cannot be written.
    pub fn set_hook(&self, script: &str) {
        let hook = self.hook();
        fs::write(&hook, format!("#!/bin/sh\n{script}\n")).expect("a hook can be written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("a hook can be made executable");
    }

    /// Removes the hook.
    ///
    /// # Panics
    /// When there is no hook.
    pub fn remove_hook(&self) {
        fs::remove_file(self.hook()).expect("there is a hook");
    }

    /// Runs a Git command in the repository and returns its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        run(git().arg("-C").arg(&self.path).args(arguments)).trim_end().to_owned()
    }

    fn hook(&self) -> PathBuf {
        self.path.join("hooks").join("pre-receive")
    }
}

/// Git without the user's settings: no prompt, no signing, a fixed author.
pub fn git() -> Command {
    let mut command = Command::new("git");
    isolate_git(&mut command);
    command
}

/// Keeps the user's settings from Git in a command and in its children.
pub fn isolate_git(command: &mut Command) {
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        // The SSH server's repositories belong to the server account.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
}
