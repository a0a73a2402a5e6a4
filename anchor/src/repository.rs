use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use git2::build::TreeUpdateBuilder;
use git2::{ErrorCode, FileMode, ObjectType, Odb, Oid, RepositoryInitOptions, Signature, Time};

use crate::git_options;
use crate::pack_list::PackList;
use crate::sync_error::SyncError;

/// Git holds a lock on a branch for milliseconds. One that is older was left behind.
const LOCK_STALE: Duration = Duration::from_secs(10);

/// The branch that anchors are committed to, in a bare repository of this machine.
///
/// The branch is linear: each commit has the one before it as its only parent, and the first has none. Parent, files and
/// time alone determine a commit, so making it again after a crash gives the same commit.
pub(crate) struct Repository {
    git: git2::Repository,
    reference: String,
}

/// Files of one commit, by their names within the folder of the log.
pub(crate) type Files<'a> = [(&'a str, &'a [u8])];

impl Repository {
    /// Opens the repository at `path`, or makes one when there is nothing. A process that was killed while making it may
    /// have left a part: that is completed. `reference` is the full name of the branch.
    pub(crate) fn open_or_init(path: &Path, reference: &str) -> anyhow::Result<Self> {
        let absent = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error).with_context(|| format!("look into {}", path.display())),
        };
        if absent || is_half_made(path) { Self::init(path, reference) } else { Self::open(path, reference) }
    }

    /// Opens an existing repository.
    pub(crate) fn open(path: &Path, reference: &str) -> anyhow::Result<Self> {
        git_options::set_up();
        let git =
            git2::Repository::open_bare(path).with_context(|| format!("open the Git repository {}", path.display()))?;
        ensure!(git.is_bare(), "{} has a working tree; use a bare repository", path.display());
        Ok(Self { git, reference: reference.to_owned() })
    }

    /// Opens the anchor's own repository, or makes it. It is packed here even if Git made it.
    pub(crate) fn open_own(path: &Path, reference: &str) -> anyhow::Result<Self> {
        let this = Self::open_or_init(path, reference)?;
        if !PackList::exists(&this.folder()) {
            PackList::start(&this.folder())?;
        }
        Ok(this)
    }

    fn init(path: &Path, reference: &str) -> anyhow::Result<Self> {
        git_options::set_up();
        // The list comes first: it marks a half-made repository as ours.
        fs::create_dir_all(path).with_context(|| format!("make the folder {}", path.display()))?;
        PackList::start(path)?;
        for lock in ["HEAD.lock", "config.lock"] {
            remove_left_over(&path.join(lock))?;
        }
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head(reference);
        let git = git2::Repository::init_opts(path, &options)
            .with_context(|| format!("make a Git repository at {}", path.display()))?;
        Ok(Self { git, reference: reference.to_owned() })
    }

    /// Keeps other anchors of this machine from moving the branch, until the returned file is dropped.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.folder().join("anchor.lock");
        let lock = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        };
        lock().with_context(|| format!("lock {}", path.display()))
    }

    /// The newest commit of the branch; `None` before the first.
    pub(crate) fn tip(&self) -> anyhow::Result<Option<Oid>> {
        match self.git.find_reference(&self.reference) {
            Ok(reference) => {
                let tip = reference.target().with_context(|| format!("{} is not a plain branch", self.reference))?;
                Ok(Some(tip))
            }
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {} in {}", self.reference, self.folder().display())),
        }
    }

    /// Reads the file at a path in a commit; `None` when the commit or the file does not exist.
    pub(crate) fn file_at(&self, commit: Oid, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let read = || {
            let entry = self.git.find_commit(commit)?.tree()?.get_path(Path::new(path))?;
            Ok(self.git.find_blob(entry.id())?.content().to_vec())
        };
        found(read()).with_context(|| format!("read {path} in commit {commit} of {}", self.folder().display()))
    }

    /// Whether `ancestor` is `commit` or one of its ancestors. False when one of them is not in the repository.
    pub(crate) fn is_in_history(&self, ancestor: Oid, commit: Oid) -> anyhow::Result<bool> {
        if found(self.git.find_commit(ancestor))?.is_none() || found(self.git.find_commit(commit))?.is_none() {
            return Ok(false);
        }
        if ancestor == commit {
            return Ok(true);
        }
        self.git.graph_descendant_of(commit, ancestor).with_context(|| format!("compare {ancestor} and {commit}"))
    }

    /// Commits `files` into `folder` on top of `parent`, which must be the branch's newest commit, and moves the branch.
    pub(crate) fn commit(
        &self,
        parent: Option<Oid>,
        folder: &str,
        files: &Files<'_>,
        unix_seconds: u64,
        message: &str,
    ) -> anyhow::Result<Oid> {
        let make = || {
            let parent = parent.map(|id| self.git.find_commit(id)).transpose()?;
            // Trees are made in memory. That needs only the folder's tree and the trees above it.
            let memory = in_memory()?;
            let (odb, new) = (self.git.odb()?, memory.odb()?);
            let before = match &parent {
                Some(parent) => {
                    for tree in trees_along(&self.git, parent.tree_id(), folder)? {
                        new.write(ObjectType::Tree, odb.read(tree)?.data())?;
                    }
                    parent.tree_id()
                }
                None => memory.treebuilder(None)?.write()?,
            };
            let mut update = TreeUpdateBuilder::new();
            for (name, bytes) in files {
                let blob = self.write(&odb, ObjectType::Blob, bytes)?;
                new.write(ObjectType::Blob, bytes)?;
                update.upsert(format!("{folder}/{name}"), blob, FileMode::Blob);
            }
            let tree = update.create_updated(&memory, &memory.find_tree(before)?)?;
            for tree in trees_along(&memory, tree, folder)?.into_iter().rev() {
                self.write(&odb, ObjectType::Tree, new.read(tree)?.data())?;
            }
            let time = Time::new(i64::try_from(unix_seconds).unwrap_or(i64::MAX), 0);
            let author = Signature::new("streamseal anchor", "anchor@streamseal.invalid", &time)?;
            let (tree, parents) = (self.git.find_tree(tree)?, parent.as_ref());
            let commit = self.git.commit_create_buffer(&author, &author, message, &tree, parents.as_slice())?;
            self.write(&odb, ObjectType::Commit, &commit)
        };
        let commit = make().with_context(|| format!("commit to {}", self.folder().display()))?;
        self.move_branch(parent, commit)?;
        Ok(commit)
    }

    /// Writes an object that is synced when this returns.
    ///
    /// `git_odb_write` is not enough. When one backend fails to write, it silently tries the next. And it takes an object
    /// that exists for durable, although the process that wrote it may have been killed before the sync.
    fn write(&self, odb: &Odb<'_>, kind: ObjectType, bytes: &[u8]) -> anyhow::Result<Oid> {
        let id = Oid::hash_object(kind, bytes)?;
        let name = id.to_string();
        let folder = self.folder().join("objects").join(&name[..2]);
        let file = folder.join(&name[2..]);
        if file.exists() {
            for path in [file, folder] {
                let synced = File::open(&path).and_then(|opened| opened.sync_all());
                synced.map_err(|source| SyncError { path, source })?;
            }
            return Ok(id);
        }
        let mut writer = odb.writer(bytes.len(), kind)?;
        writer.write_all(bytes).with_context(|| format!("write object {id}"))?;
        Ok(writer.finalize()?)
    }

    /// Moves the branch from `old` (`None`: it does not exist) to `new`; fails when it is elsewhere. The caller must hold
    /// [`Repository::lock`].
    pub(crate) fn move_branch(&self, old: Option<Oid>, new: Oid) -> anyhow::Result<()> {
        self.break_lock()?;
        let moved = match old {
            Some(old) => self.git.reference_matching(&self.reference, new, true, old, "anchor"),
            None => self.git.reference(&self.reference, new, false, "anchor"),
        };
        moved.map(drop).with_context(|| format!("move {} in {} to {new}", self.reference, self.folder().display()))
    }

    /// Removes Git's lock on the branch when a killed process left it behind. Git itself would leave that to a person.
    fn break_lock(&self) -> anyhow::Result<()> {
        let path = self.folder().join(format!("{}.lock", self.reference));
        let age = fs::metadata(&path).and_then(|lock| lock.modified()).ok().and_then(|since| since.elapsed().ok());
        if age.is_some_and(|age| age >= LOCK_STALE) {
            tracing::warn!(path = %path.display(), "removing a lock that a killed process left behind");
            remove_left_over(&path)?;
        }
        Ok(())
    }

    /// The repository's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.git.path().to_owned()
    }

    /// The repository itself.
    pub(crate) const fn git(&self) -> &git2::Repository {
        &self.git
    }

    /// The full name of the branch.
    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }
}

/// Whether a process was killed while it made a repository here. The list of packs is written first, HEAD last.
fn is_half_made(path: &Path) -> bool {
    PackList::was_started(path) && !path.join("HEAD").exists()
}

/// A repository without a folder.
fn in_memory() -> Result<git2::Repository, git2::Error> {
    let odb = Odb::new()?;
    odb.add_new_mempack_backend(1)?;
    git2::Repository::from_odb(odb)
}

/// The tree `root` and the trees of the folders along the path below it, as far as they exist.
fn trees_along(git: &git2::Repository, root: Oid, path: &str) -> Result<Vec<Oid>, git2::Error> {
    let mut trees = vec![root];
    for name in path.split('/') {
        let above = git.find_tree(trees[trees.len() - 1])?;
        match above.get_name(name) {
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => trees.push(entry.id()),
            _ => break,
        }
    }
    Ok(trees)
}

fn remove_left_over(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Turns "not found" into `None`.
fn found<T>(result: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: &str = "refs/heads/anchors";

    fn repository() -> (tempfile::TempDir, Repository) {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Repository::open_or_init(&folder.path().join("a.git"), BRANCH).expect("made");
        (folder, repository)
    }

    fn commit(repository: &Repository, folder: &str, content: &str) -> Oid {
        let parent = repository.tip().expect("read");
        repository.commit(parent, folder, &[("checkpoint", content.as_bytes())], 1000, "message").expect("committed")
    }

    #[test]
    fn commits_are_linear_and_touch_one_folder() {
        let (_folder, repository) = repository();
        assert_eq!(repository.tip().expect("read"), None);
        let first = commit(&repository, "logs/a", "a1");
        let second = commit(&repository, "logs/b", "b1");
        let third = commit(&repository, "logs/a", "a2");
        assert_eq!(repository.tip().expect("read"), Some(third));
        let file =
            |commit, path| repository.file_at(commit, path).expect("read").map(|b| String::from_utf8(b).expect("text"));
        assert_eq!(file(third, "logs/a/checkpoint").as_deref(), Some("a2"));
        assert_eq!(file(third, "logs/b/checkpoint").as_deref(), Some("b1"));
        assert_eq!(file(first, "logs/b/checkpoint"), None);
        let parents: Vec<Oid> = repository.git.find_commit(third).expect("there").parent_ids().collect();
        assert_eq!(parents, [second]);
        assert_eq!(repository.git.find_commit(first).expect("there").parent_count(), 0);
    }

    #[test]
    fn existing_object_is_synced_before_it_counts() {
        let (_folder, repository) = repository();
        let id = Oid::hash_object(ObjectType::Blob, b"1").expect("hashed").to_string();
        let folder = repository.folder().join("objects").join(&id[..2]);
        fs::create_dir(&folder).expect("made");
        // It opens, and no fsync of it succeeds.
        std::os::unix::fs::symlink("/dev/null", folder.join(&id[2..])).expect("linked");
        let committed = repository.commit(None, "logs/a", &[("checkpoint", b"1")], 1000, "message");
        assert!(crate::sync_error::is_sync_error(&committed.expect_err("it cannot be synced")));
        assert_eq!(repository.tip().expect("read"), None);
    }

    #[test]
    fn same_anchor_is_the_same_commit() {
        let (_folders, repositories): (Vec<_>, Vec<_>) = [(); 2].map(|()| repository()).into_iter().unzip();
        let [a, b] = [0, 1].map(|i| {
            commit(&repositories[i], "logs/a", "1");
            commit(&repositories[i], "logs/a", "2")
        });
        assert_eq!(a, b);
    }

    #[test]
    fn moved_branch_is_not_overwritten() {
        let (_folder, repository) = repository();
        let first = commit(&repository, "logs/a", "1");
        let second = commit(&repository, "logs/a", "2");
        for parent in [None, Some(first)] {
            repository.commit(parent, "logs/a", &[("checkpoint", b"3")], 1000, "message").expect_err("moved");
            assert_eq!(repository.tip().expect("read"), Some(second));
        }
    }

    #[test]
    fn own_repository_is_always_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.git");
        git2::Repository::init_bare(&path).expect("made");
        assert!(!PackList::exists(&Repository::open_or_init(&path, BRANCH).expect("opened").folder()));
        assert!(PackList::exists(&Repository::open_own(&path, BRANCH).expect("opened").folder()));
    }

    #[test]
    fn only_ancestors_are_in_history() {
        let (_folder, repository) = repository();
        let first = commit(&repository, "logs/a", "1");
        let second = commit(&repository, "logs/a", "2");
        let absent = Oid::from_str("1111111111111111111111111111111111111111").expect("an id");
        for (ancestor, of, wanted) in [
            (first, second, true),
            (first, first, true),
            (second, first, false),
            (absent, second, false),
            (first, absent, false),
        ] {
            assert_eq!(repository.is_in_history(ancestor, of).expect("compared"), wanted, "{ancestor} {of}");
        }
    }

    #[test]
    fn only_bare_repositories_are_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "x").expect("written");
        let error = Repository::open_or_init(folder.path(), BRANCH).err().expect("not a repository");
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
        let working = folder.path().join("working");
        git2::Repository::init(&working).expect("made");
        Repository::open_or_init(&working, BRANCH).err().expect("has a working tree");
    }
}
