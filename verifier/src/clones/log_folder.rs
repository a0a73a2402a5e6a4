//! The folder of one log in the tree of a commit.

use git_reader::{Id, MODE_FILE, MODE_TREE, Repository};

use super::finding::CloneFinding;

/// The two files of an anchor, by the ids of their contents.
#[derive(Debug, Clone)]
pub(crate) struct LogFolder {
    pub(crate) checkpoint: Option<Id>,
    pub(crate) consistency: Option<Id>,
    /// Why it is not what a log's folder should be; `None` if it is.
    pub(crate) problem: Option<String>,
}

impl LogFolder {
    /// Reads the folder `logs/<log>` in the tree of a commit; `None` if there is none.
    pub(crate) fn read(repository: &Repository, tree: Id, log: &str) -> Result<Option<Self>, CloneFinding> {
        let Some(logs) = folder(repository, tree, "logs")? else { return Ok(None) };
        let Some(log) = folder(repository, logs, log)? else { return Ok(None) };
        let mut found = Self { checkpoint: None, consistency: None, problem: None };
        let mut problem = None;
        repository.tree(log, |entry| {
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

    pub(crate) fn has_files_of(&self, other: &Self) -> bool {
        (self.checkpoint, self.consistency) == (other.checkpoint, other.consistency)
    }
}

/// The folder with this name in a tree.
fn folder(repository: &Repository, tree: Id, name: &str) -> Result<Option<Id>, CloneFinding> {
    let mut found = None;
    let mut problem = None;
    repository.tree(tree, |entry| {
        if entry.name != name.as_bytes() {
            return;
        }
        if entry.mode != MODE_TREE {
            problem = Some(format!("{name:?} is not a folder"));
        } else if found.replace(entry.id).is_some() {
            problem = Some(format!("{name:?} is in its tree twice"));
        }
    })?;
    problem.map_or(Ok(found), |problem| Err(CloneFinding::unreadable(problem)))
}

fn no_place(name: &[u8]) -> String {
    format!("{:?} does not belong in the folder of an anchor", String::from_utf8_lossy(name))
}
