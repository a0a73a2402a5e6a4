use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Fault;
use super::id::Id;
use super::objects::{self, Commit, MODE_FILE, MODE_TREE, TreeEntry};
use super::store::{Damaged, Store};

/// The largest `packed-refs` that is read, in bytes, and its longest line.
const PACKED_REFS_BYTES_MAX: u64 = 256 << 20;
const LINE_BYTES_MAX: u64 = 4096;

/// The most remotes, and copies of the branch, that are looked at.
const REMOTES_MAX: usize = 1000;
const TIPS_MAX: usize = 64;

/// A Git repository of which only objects and the names of branches are read.
pub(crate) struct Repository {
    store: Store,
    folder: PathBuf,
}

/// Where a copy of the branch ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The full name of the reference.
    pub(crate) reference: String,
    pub(crate) commit: Id,
}

/// The two files of an anchor, by the ids of their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnchorFiles {
    checkpoint: Id,
    consistency: Id,
}

impl Repository {
    /// Opens a bare repository, or the one in the `.git` of a working tree.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let is_repository = |folder: &Path| folder.join("objects").is_dir() && folder.join("HEAD").is_file();
        let dot_git = path.join(".git");
        let folder = if is_repository(path) {
            path.to_owned()
        } else if is_repository(&dot_git) {
            dot_git
        } else if dot_git.is_file() {
            return Err(Fault::unusable("a linked working tree; name the repository that it belongs to"));
        } else if path.exists() {
            return Err(Fault::unusable("not a Git repository"));
        } else {
            return Err(Fault::unusable("does not exist"));
        };
        if folder.join("reftable").exists() {
            return Err(Fault::unusable("keeps its references in a reftable, which is not supported; clone it anew"));
        }
        let store = Store::open(&folder.join("objects")).map_err(|Damaged(problem)| Fault::unusable(problem))?;
        Ok(Self { store, folder })
    }

    /// Where the branch ends: its local copy and that of each remote, which differ when one was not updated or the
    /// remote's history was rewritten.
    pub(crate) fn tips(&self, branch: &str) -> Result<Vec<Tip>, Fault> {
        let mut found = BTreeMap::new();
        self.packed(branch, &mut found)?;
        let mut names = vec![format!("refs/heads/{branch}")];
        names.extend(self.remotes()?.into_iter().map(|remote| format!("refs/remotes/{remote}/{branch}")));
        for name in names {
            if let Some(id) = self.loose(&name)? {
                found.insert(name, id);
            }
        }
        if found.len() > TIPS_MAX {
            return Err(Fault::unusable(format!("more than {TIPS_MAX} copies of the branch {branch}")));
        }
        Ok(found.into_iter().map(|(reference, commit)| Tip { reference, commit }).collect())
    }

    pub(super) fn commit(&self, id: Id) -> Result<Commit, Fault> {
        objects::commit(&self.store, id)
    }

    /// The anchor of the log in a commit's tree; `None` when the log has no folder there.
    ///
    /// # Errors
    /// Also when the folder holds anything but the two files.
    pub(super) fn anchor(&self, tree: Id, log: &str) -> Result<Option<AnchorFiles>, Fault> {
        let Some(logs) = folder(objects::tree(&self.store, tree)?, "logs")? else { return Ok(None) };
        let Some(log) = folder(objects::tree(&self.store, logs)?, log)? else { return Ok(None) };
        let mut files = [None, None];
        for TreeEntry { name, mode, id } in objects::tree(&self.store, log)? {
            let at = [&b"checkpoint"[..], b"consistency"].iter().position(|known| *known == name);
            match at {
                Some(at) if mode == MODE_FILE && files[at].is_none() => files[at] = Some(id),
                _ => {
                    let name = String::from_utf8_lossy(&name);
                    return Err(Fault::unusable(format!("{name:?} has no place in the folder of an anchor")));
                }
            }
        }
        match files {
            [Some(checkpoint), Some(consistency)] => Ok(Some(AnchorFiles { checkpoint, consistency })),
            _ => Err(Fault::unusable("an anchor without its `checkpoint` or `consistency`")),
        }
    }

    /// The contents of `checkpoint` and `consistency`.
    pub(super) fn contents(&self, files: AnchorFiles) -> Result<[Vec<u8>; 2], Fault> {
        Ok([objects::file(&self.store, files.checkpoint)?, objects::file(&self.store, files.consistency)?])
    }

    /// The remotes of which there are loose references.
    fn remotes(&self) -> Result<Vec<String>, Fault> {
        let folder = self.folder.join("refs/remotes");
        let fault = |e: std::io::Error| Fault::unusable(format!("refs/remotes: {e}"));
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fault)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault)?;
            if names.len() == REMOTES_MAX {
                return Err(Fault::unusable(format!("more than {REMOTES_MAX} remotes")));
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn loose(&self, name: &str) -> Result<Option<Id>, Fault> {
        let path = self.folder.join(name);
        // A link is no reference that Git makes, and a folder belongs to longer names.
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LINE_BYTES_MAX).read_to_end(&mut bytes));
        read.map_err(|e| Fault::unusable(format!("{name}: {e}")))?;
        let id = bytes.strip_suffix(b"\n").and_then(Id::parse);
        id.map(Some).ok_or_else(|| Fault::unusable(format!("{name} does not name a commit by its SHA-1")))
    }

    /// Adds what `packed-refs` says of the branch.
    fn packed(&self, branch: &str, found: &mut BTreeMap<String, Id>) -> Result<(), Fault> {
        let path = self.folder.join("packed-refs");
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(());
        }
        let fault = |e: std::io::Error| Fault::unusable(format!("packed-refs: {e}"));
        let mut file = BufReader::new(File::open(path).map_err(fault)?.take(PACKED_REFS_BYTES_MAX));
        loop {
            let mut line = Vec::new();
            let read = (&mut file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(fault)?;
            let Ok(text) = std::str::from_utf8(&line[..read]) else { continue };
            if read == 0 || found.len() > TIPS_MAX {
                return Ok(());
            }
            let Some((id, name)) = text.trim_end().split_once(' ') else { continue };
            let local = name.strip_prefix("refs/heads/") == Some(branch);
            // The name of a remote has no slash here, as in the folder of loose references.
            let remote = name.strip_prefix("refs/remotes/").and_then(|rest| rest.split_once('/'));
            if local || remote.is_some_and(|(remote, rest)| !remote.is_empty() && rest == branch) {
                let id = Id::parse(id.as_bytes())
                    .ok_or_else(|| Fault::unusable(format!("{name} does not name a commit by its SHA-1")))?;
                found.insert(name.to_owned(), id);
            }
        }
    }
}

/// The folder with this name in a tree.
fn folder(tree: Vec<TreeEntry>, name: &str) -> Result<Option<Id>, Fault> {
    let mut found = tree.into_iter().filter(|entry| entry.name == name.as_bytes());
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Fault::unusable(format!("{name:?} is in its tree twice"))),
        (Some(entry), None) if entry.mode == MODE_TREE => Ok(Some(entry.id)),
        (Some(_), None) => Err(Fault::unusable(format!("{name:?} is not a folder"))),
    }
}
