use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Fault;
use super::id::Id;
use super::objects::{self, Commit, MODE_FILE, MODE_TREE};
use super::references::{Tip, copies};
use super::store::{Damaged, Store, open_file};

/// The longest file that names a folder, in bytes.
const PATH_BYTES_MAX: u64 = 4096;

/// A Git repository of which only objects and the names of branches are read.
pub(crate) struct Repository {
    store: Store,
}

/// What the folder of a log holds: the two files of an anchor, by the ids of their contents.
#[derive(Debug, Clone)]
pub(super) struct LogFolder {
    pub(super) checkpoint: Option<Id>,
    pub(super) consistency: Option<Id>,
    /// What is wrong with it, if anything is.
    pub(super) problem: Option<String>,
}

impl LogFolder {
    pub(super) fn has_files_of(&self, other: &Self) -> bool {
        (self.checkpoint, self.consistency) == (other.checkpoint, other.consistency)
    }
}

impl Repository {
    /// Opens a bare repository, or that of a working tree, and finds the copies of the branch: its local copy and that of
    /// each remote, which differ when one was not updated or the remote's history was rewritten. What keeps a part of it
    /// from being read is added to `faults`, and the rest is read.
    ///
    /// # Errors
    /// When there is no repository, or none that is read here.
    pub(crate) fn open(path: &Path, branch: &str, faults: &mut Vec<Fault>) -> Result<(Self, Vec<Tip>), Fault> {
        let folder = git_folder(path).map_err(|Damaged(problem)| Fault::unusable(problem))?;
        if folder.join("reftable").exists() {
            return Err(Fault::unusable("keeps its references in a reftable, which is not supported; clone it anew"));
        }
        let mut problem = None;
        let store = Store::open(&folder.join("objects"), &mut problem);
        faults.extend(problem.map(|Damaged(problem)| Fault::unusable(problem)));
        let tips = copies(&folder, branch, faults);
        Ok((Self { store }, tips))
    }

    pub(super) fn commit(&self, id: Id) -> Result<Commit, Fault> {
        objects::commit(&self.store, id)
    }

    /// The log's folder in a commit's tree; `None` when it has none there.
    pub(super) fn log_folder(&self, tree: Id, log: &str) -> Result<Option<LogFolder>, Fault> {
        let Some(logs) = self.folder(tree, "logs")? else { return Ok(None) };
        let Some(log) = self.folder(logs, log)? else { return Ok(None) };
        let mut found = LogFolder { checkpoint: None, consistency: None, problem: None };
        let mut problem = None;
        objects::tree(&self.store, log, |entry| {
            let file = match entry.name {
                b"checkpoint" => Some(&mut found.checkpoint),
                b"consistency" => Some(&mut found.consistency),
                _ => None,
            };
            match file {
                // Whatever its mode is, it may hold a head that contradicts another.
                Some(file) if file.is_none() => {
                    *file = Some(entry.id);
                    if entry.mode != MODE_FILE {
                        problem.get_or_insert_with(|| no_place(entry.name));
                    }
                }
                _ => drop(problem.get_or_insert_with(|| no_place(entry.name))),
            }
        })?;
        if found.checkpoint.is_none() || found.consistency.is_none() {
            problem.get_or_insert("an anchor without its `checkpoint` or `consistency`".into());
        }
        found.problem = problem;
        Ok(Some(found))
    }

    /// The content of a file of an anchor.
    pub(super) fn file(&self, id: Id) -> Result<Vec<u8>, Fault> {
        objects::file(&self.store, id)
    }

    /// The folder with this name in a tree.
    fn folder(&self, tree: Id, name: &str) -> Result<Option<Id>, Fault> {
        let mut found = None;
        let mut problem = None;
        objects::tree(&self.store, tree, |entry| {
            if entry.name != name.as_bytes() {
                return;
            }
            if entry.mode != MODE_TREE {
                problem = Some(format!("{name:?} is not a folder"));
            } else if found.replace(entry.id).is_some() {
                problem = Some(format!("{name:?} is in its tree twice"));
            }
        })?;
        problem.map_or(Ok(found), |problem| Err(Fault::unusable(problem)))
    }
}

fn no_place(name: &[u8]) -> String {
    format!("{:?} has no place in the folder of an anchor", String::from_utf8_lossy(name))
}

/// The folder that holds objects and references: the one named, the `.git` in it, or the one that a file `.git` leads to.
/// It may lie anywhere, as a folder of objects may that is borrowed from: it is only read, and what it holds is verified
/// like all else.
fn git_folder(path: &Path) -> Result<PathBuf, Damaged> {
    if !path.exists() {
        return Err("does not exist".into());
    }
    let dot_git = path.join(".git");
    // A working tree may hold files that are named as those of a repository.
    let folders = [named_by(&dot_git, "gitdir:")?, Some(dot_git), Some(path.to_owned())];
    for folder in folders.into_iter().flatten() {
        // A linked working tree keeps little of its own.
        let folder = named_by(&folder.join("commondir"), "")?.unwrap_or(folder);
        if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
            return Ok(folder);
        }
    }
    Err("not a Git repository".into())
}

/// The folder that a file names behind a prefix, relative to the folder that the file is in; `None` without such a file.
fn named_by(file: &Path, prefix: &str) -> Result<Option<PathBuf>, Damaged> {
    let Some(folder) = file.parent().filter(|_| file.is_file()) else { return Ok(None) };
    let mut bytes = Vec::new();
    open_file(file)?.ok_or("is gone")?.take(PATH_BYTES_MAX).read_to_end(&mut bytes)?;
    let named = bytes.trim_ascii_end().strip_prefix(prefix.as_bytes()).map(<[u8]>::trim_ascii_start);
    let named = named.filter(|named| !named.is_empty() && (bytes.len() as u64) < PATH_BYTES_MAX);
    let named = named.ok_or_else(|| format!("{} does not name a folder", file.display()))?;
    Ok(Some(folder.join(OsStr::from_bytes(named))))
}
