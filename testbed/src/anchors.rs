//! The repository of anchors, and a clone of it whose history a forger rewrites.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::path::{Path, PathBuf};

use crate::git::git;
use crate::process::run;
use evidence::sha256;

/// The branch that holds the anchors.
pub const BRANCH: &str = "anchors";

/// The size of the newest checkpoint in a repository of anchors.
pub fn anchored_size(repository: &Path, origin: &str) -> Option<u64> {
    let folder: String = sha256(origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!("{BRANCH}:logs/{folder}/checkpoint");
    let shown = git().arg("-C").arg(repository).args(["show", &file]).output().unwrap();
    // Before the first anchor there is no such branch.
    String::from_utf8_lossy(&shown.stdout).lines().nth(1)?.parse().ok()
}

/// A clone of the anchors.
pub struct AnchorClone {
    path: PathBuf,
}

impl AnchorClone {
    /// Clones the whole branch.
    pub fn of(url: &str, path: PathBuf) -> Self {
        run(git().args(["clone", "--quiet", "--branch", BRANCH, url]).arg(&path));
        Self { path }
    }

    /// A copy to tamper with.
    pub fn copy(&self, path: PathBuf) -> Self {
        run(std::process::Command::new("cp").arg("-R").arg(&self.path).arg(&path));
        Self { path }
    }

    /// The folder of the clone.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its commits, the oldest first.
    pub fn commits(&self) -> Vec<String> {
        self.git(&["rev-list", "--reverse", BRANCH]).lines().map(str::to_owned).collect()
    }

    /// Moves the branch back to a commit, as if the later ones never existed.
    pub fn rewind(&self, commit: &str) {
        self.set_branch(commit);
    }

    /// Rewrites the history without one commit.
    pub fn drop_commit(&self, commit: &str) {
        let kept = self.commits().into_iter().filter(|kept| kept != commit);
        let mut parent: Option<String> = None;
        for kept in kept {
            let tree = format!("{kept}^{{tree}}");
            let message = self.git(&["log", "-1", "--format=%B", &kept]);
            let mut arguments = vec!["commit-tree", &tree, "-m", &message];
            if let Some(parent) = &parent {
                arguments.extend(["-p", parent]);
            }
            parent = Some(self.git(&arguments));
        }
        self.set_branch(&parent.expect("more than one commit"));
    }

    fn set_branch(&self, commit: &str) {
        self.git(&["reset", "--quiet", "--hard", commit]);
        self.git(&["update-ref", &format!("refs/remotes/origin/{BRANCH}"), commit]);
    }

    /// Runs a Git command in the clone and returns its output.
    pub fn git(&self, arguments: &[&str]) -> String {
        run(git().arg("-C").arg(&self.path).args(arguments)).trim_end().to_owned()
    }
}
