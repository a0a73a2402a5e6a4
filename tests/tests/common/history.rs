//! What a forger does to a clone: writes another history of anchors.

use std::path::{Path, PathBuf};

use evidence::sha256;
use tests::{git, run};

/// The branch that anchors are committed to.
pub(crate) const BRANCH: &str = "anchors";

/// The size of the newest checkpoint in a repository of anchors.
pub(crate) fn anchored_size(repository: &Path, origin: &str) -> Option<u64> {
    let folder: String = sha256(origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!("{BRANCH}:logs/{folder}/checkpoint");
    let shown = git().arg("-C").arg(repository).args(["show", &file]).output().unwrap();
    // Before the first anchor there is no such branch.
    String::from_utf8_lossy(&shown.stdout).lines().nth(1)?.parse().ok()
}

/// A clone of the anchors.
pub(crate) struct Clone {
    path: PathBuf,
}

impl Clone {
    /// Clones all of it.
    pub(crate) fn of(url: &str, path: PathBuf) -> Self {
        run(git().args(["clone", "--quiet", "--branch", BRANCH, url]).arg(&path));
        Self { path }
    }

    /// A copy to be tampered with.
    pub(crate) fn copy(&self, path: PathBuf) -> Self {
        run(std::process::Command::new("cp").arg("-R").arg(&self.path).arg(&path));
        Self { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its commits, the oldest first.
    pub(crate) fn commits(&self) -> Vec<String> {
        self.git(&["rev-list", "--reverse", BRANCH]).lines().map(str::to_owned).collect()
    }

    /// Goes back to a commit, as if those after it had never been.
    pub(crate) fn rewind(&self, commit: &str) {
        self.set_branch(commit);
    }

    /// Writes the history anew without one commit.
    pub(crate) fn drop_commit(&self, commit: &str) {
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

    /// Runs a Git command in it and returns what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        run(git().arg("-C").arg(&self.path).args(arguments)).trim_end().to_owned()
    }
}
