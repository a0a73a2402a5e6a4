//! Remotes that are repositories of this machine.
//!
//! This module writes to them directly. libgit2's own transport for paths overwrites a branch that moved meanwhile, and
//! leaves a new pack behind for every push.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use git2::{ObjectType, Odb, Oid, Sort};

use crate::pack;
use crate::repository::Repository;

/// More commits than this are sent as one pack, fewer as loose objects.
const LOOSE_COMMITS_MAX: usize = 64;

/// A bare repository at a path.
#[derive(Debug)]
pub(crate) struct PathRemote {
    path: PathBuf,
}

impl PathRemote {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The newest commit of the branch; `None` when the repository does not exist yet. If something was pushed to it
    /// before, a missing repository is an error: perhaps its disk is not mounted.
    pub(crate) fn tip(&self, ours: &Repository, seen: bool) -> anyhow::Result<Option<Oid>> {
        if !self.path.exists() {
            ensure!(!seen, "there is no repository at {} any more", self.path.display());
            return Ok(None);
        }
        Repository::open_or_init(&self.path, ours.reference())?.tip()
    }

    /// Fetches the branch; it becomes `reference` of our repository.
    pub(crate) fn fetch(&self, ours: &Repository, reference: &str) -> anyhow::Result<()> {
        let path = self.path.to_str().context("the path is not UTF-8")?;
        let refspec = format!("+{}:{reference}", ours.reference());
        ours.git().remote_anonymous(path)?.fetch(&[refspec], None, None).context("fetch the branch")
    }

    /// Moves the branch from `theirs` to our newest commit, which must come after it.
    pub(crate) fn push(&self, ours: &Repository, theirs: Option<Oid>) -> anyhow::Result<()> {
        let tip = ours.tip()?.context("our own branch does not exist")?;
        let remote = Repository::open_or_init(&self.path, ours.reference())?;
        let _lock = remote.lock()?;
        copy(ours, &remote, tip, theirs)?;
        remote.move_branch(theirs, tip)?;
        pack::pack_if_due(&remote)?;
        Ok(())
    }
}

/// Copies everything in `tip` that is not in `base`.
fn copy(from: &Repository, to: &Repository, tip: Oid, base: Option<Oid>) -> anyhow::Result<()> {
    let copy = || {
        let mut walk = from.git().revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
        walk.push(tip)?;
        if let Some(base) = base {
            walk.hide(base)?;
        }
        let commits = walk.collect::<Result<Vec<Oid>, _>>()?;
        if commits.len() > LOOSE_COMMITS_MAX {
            let mut builder = from.git().packbuilder()?;
            builder.set_threads(1);
            for commit in commits {
                builder.insert_commit(commit)?;
            }
            return builder.write(&to.folder().join("objects").join("pack"), 0);
        }
        let (source, sink) = (from.git().odb()?, to.git().odb()?);
        for commit in commits {
            copy_tree(from, &source, &sink, from.git().find_commit(commit)?.tree_id())?;
            // The commit last: a commit may exist only with everything below it.
            copy_object(&source, &sink, commit, ObjectType::Commit)?;
        }
        Ok::<_, git2::Error>(())
    };
    copy().with_context(|| format!("copy commits from {} to {}", from.folder().display(), to.folder().display()))
}

/// Copies a tree of anchors, which is three levels deep.
fn copy_tree(from: &Repository, source: &Odb<'_>, sink: &Odb<'_>, tree: Oid) -> Result<(), git2::Error> {
    if sink.exists(tree) {
        return Ok(());
    }
    for entry in &from.git().find_tree(tree)? {
        match entry.kind() {
            Some(ObjectType::Tree) => copy_tree(from, source, sink, entry.id())?,
            Some(ObjectType::Blob) => copy_object(source, sink, entry.id(), ObjectType::Blob)?,
            // A submodule: there is nothing to copy.
            _ => {}
        }
    }
    copy_object(source, sink, tree, ObjectType::Tree)
}

fn copy_object(source: &Odb<'_>, sink: &Odb<'_>, id: Oid, kind: ObjectType) -> Result<(), git2::Error> {
    if !sink.exists(id) {
        sink.write(kind, source.read(id)?.data())?;
    }
    Ok(())
}
