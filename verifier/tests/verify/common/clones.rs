//! Git repositories with anchors.

use std::path::Path;

use evidence::witness::AddCheckpoint;
use evidence::{Hash, SignedCheckpoint, sha256};
use git2::{FileMode, Oid, Repository, Signature, Time};

use super::{Ledger, ORIGIN, T0};

pub(crate) const BRANCH: &str = "refs/heads/anchors";

/// A bare repository with a branch of anchors.
pub(crate) struct Anchors {
    pub(crate) git: Repository,
    pub(crate) size: u64,
}

pub(crate) fn folder(origin: &str) -> String {
    sha256(origin.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Anchors {
    pub(crate) fn new(path: &Path) -> Self {
        Self { git: Repository::init_bare(path).expect("made"), size: 0 }
    }

    /// One anchor for each size, a minute apart, the first at `T0`.
    pub(crate) fn of(ledger: &Ledger, path: &Path, sizes: &[u64]) -> Self {
        let mut anchors = Self::new(path);
        for (i, size) in sizes.iter().enumerate() {
            anchors.anchor(ledger, *size, T0 + 60 * i as u64);
        }
        anchors
    }

    pub(crate) fn anchor(&mut self, ledger: &Ledger, size: u64, time_s: u64) -> Oid {
        let proof = ledger.consistency(self.size, size);
        let old = std::mem::replace(&mut self.size, size);
        self.commit(old, proof, &ledger.cosigned(size, time_s))
    }

    pub(crate) fn commit(&self, old_size: u64, proof: Vec<Hash>, checkpoint: &SignedCheckpoint) -> Oid {
        let request = AddCheckpoint { old_size, proof, checkpoint: checkpoint.clone() };
        self.commit_files(
            &folder(ORIGIN),
            &[("checkpoint", &checkpoint.to_bytes()), ("consistency", &request.to_bytes())],
        )
    }

    /// Commits these files as the log's folder, and keeps the other folders.
    pub(crate) fn commit_files(&self, log: &str, files: &[(&str, &[u8])]) -> Oid {
        let parent = self.git.find_reference(BRANCH).ok().and_then(|r| r.peel_to_commit().ok());
        let tree = self.tree(parent.as_ref().map(|p| p.tree().expect("a tree")), log, files);
        let time = Signature::new("anchor", "anchor@example.com", &Time::new(T0 as i64, 0)).expect("a signature");
        let parents: Vec<_> = parent.iter().collect();
        self.git.commit(Some(BRANCH), &time, &time, "anchor", &tree, &parents).expect("committed")
    }

    pub(crate) fn tree(&self, before: Option<git2::Tree<'_>>, log: &str, files: &[(&str, &[u8])]) -> git2::Tree<'_> {
        let mut own = self.git.treebuilder(None).expect("a builder");
        for (name, bytes) in files {
            own.insert(name, self.git.blob(bytes).expect("a blob"), FileMode::Blob.into()).expect("inserted");
        }
        let logs_before = before.as_ref().and_then(|tree| {
            let entry = tree.get_name("logs")?;
            self.git.find_tree(entry.id()).ok()
        });
        let mut logs = self.git.treebuilder(logs_before.as_ref()).expect("a builder");
        logs.insert(log, own.write().expect("a tree"), FileMode::Tree.into()).expect("inserted");
        let mut root = self.git.treebuilder(before.as_ref()).expect("a builder");
        root.insert("logs", logs.write().expect("a tree"), FileMode::Tree.into()).expect("inserted");
        self.git.find_tree(root.write().expect("a tree")).expect("there")
    }

    /// Two copies of the branch that part after the first anchor, of size 4. The remote's copy has an anchor of size 7 more,
    /// the local one anchors of sizes `middle` and 12. Returns the first commit.
    pub(crate) fn with_older_remote(ledger: &Ledger, path: &Path, middle: u64) -> Oid {
        let mut anchors = Self::of(ledger, path, &[4]);
        let first = anchors.tip();
        let old = anchors.anchor(ledger, 7, T0 + 60);
        anchors.git.reference("refs/remotes/origin/anchors", old, true, "fetched").expect("made");
        anchors.reset(first, 4);
        anchors.anchor(ledger, middle, T0 + 60);
        anchors.anchor(ledger, 12, T0 + 120);
        first
    }

    pub(crate) fn tip(&self) -> Oid {
        self.git.refname_to_id(BRANCH).expect("a branch")
    }

    pub(crate) fn reset(&mut self, commit: Oid, size: u64) {
        self.git.reference(BRANCH, commit, true, "rewind").expect("moved");
        self.size = size;
    }
}

/// Runs git without the machine's or the user's configuration.
pub(crate) fn git(folder: &Path, args: &[&str]) {
    let output = std::process::Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
