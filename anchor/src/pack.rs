//! Packing, so that a repository that gets a commit every minute for years stays small and fast.
//!
//! Every [`COMMITS_PER_PACK`] commits their loose objects become one pack, and every [`PACKS_PER_MERGE`] such packs
//! become one large pack, which stays as it is. So each object is written three times at most, and the number of files
//! grows by one for some 16,000 anchors. `git gc` does no harm to this.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::Oid;

use crate::libgit2::is_failed_sync;
use crate::repository::Repository;

const COMMITS_PER_PACK: usize = 256;
const PACKS_PER_MERGE: usize = 64;

const HEADER: &str = "streamseal/anchor-packs@v1";
/// The file with the list.
const LIST: &str = "anchor-packs";
const LIST_BYTES_MAX: usize = 1 << 16;

/// Which packs there are. The list is a file in the repository; repositories without it are left alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    /// Everything up to this commit is in large packs.
    merged: Option<Oid>,
    /// The small packs after it: each with everything up to a commit, and the pack's name.
    packs: Vec<(Oid, String)>,
}

/// From now on the repository is packed here. Called again, forgets which packs there are, as after its branch was
/// moved to another history.
pub(crate) fn manage(repository: &Repository) -> anyhow::Result<()> {
    manage_at(&repository.folder())
}

/// The same of a repository that is about to be made in this folder.
pub(crate) fn manage_at(folder: &Path) -> anyhow::Result<()> {
    List::default().write(folder)
}

/// Whether a repository was begun in this folder by [`manage_at`], or was about to be.
pub(crate) fn is_begun(folder: &Path) -> bool {
    let list = folder.join(LIST);
    list.exists() || list.with_extension("tmp").exists()
}

/// Whether it is packed here.
pub(crate) fn is_managed(repository: &Repository) -> bool {
    list_file(repository).exists()
}

/// Packs what is due, after commits were added to the branch. A failure is logged: it costs only space, and the next
/// call tries again.
///
/// # Errors
/// When a pack could not be synced: the next call could remove, for one that is lost, what was synced.
pub(crate) fn pack_if_due(repository: &Repository) -> anyhow::Result<()> {
    match pack_every(repository, COMMITS_PER_PACK, PACKS_PER_MERGE) {
        Err(error) if is_failed_sync(&error) => return Err(error),
        Err(error) => tracing::warn!("not packed: {error:#}"),
        Ok(()) => {}
    }
    Ok(())
}

fn pack_every(repository: &Repository, commits_per_pack: usize, packs_per_merge: usize) -> anyhow::Result<()> {
    let (Some(mut list), Some(tip)) = (List::read(repository)?, repository.tip()?) else {
        return Ok(());
    };
    let unpacked = walk(repository, tip, list.packed_up_to())?.take(commits_per_pack).count();
    if unpacked < commits_per_pack {
        return Ok(());
    }
    let name = write_pack(repository, tip, list.packed_up_to())?;
    list.packs.push((tip, name.clone()));
    list.write(&repository.folder())?;
    remove_loose(repository, &name)?;
    if list.packs.len() >= packs_per_merge {
        let merged = write_pack(repository, tip, list.merged)?;
        let small = std::mem::take(&mut list.packs);
        list.merged = Some(tip);
        list.write(&repository.folder())?;
        for (_, name) in small.iter().filter(|(_, name)| *name != merged) {
            remove_pack(repository, name)?;
        }
    }
    Ok(())
}

/// Writes a pack of everything that `tip` has and `base` has not, and returns its name.
fn write_pack(repository: &Repository, tip: Oid, base: Option<Oid>) -> anyhow::Result<String> {
    let write = || {
        let git = repository.git();
        let mut builder = git.packbuilder()?;
        builder.set_threads(1);
        builder.insert_walk(&mut walk(repository, tip, base)?)?;
        builder.write(&pack_folder(repository), 0)?;
        Ok::<_, git2::Error>(builder.name()?.map(str::to_owned))
    };
    let name = write().with_context(|| format!("pack {}", repository.folder().display()))?;
    name.context("a pack that was written has a name")
}

fn walk(repository: &Repository, tip: Oid, base: Option<Oid>) -> Result<git2::Revwalk<'_>, git2::Error> {
    let mut walk = repository.git().revwalk()?;
    walk.push(tip)?;
    if let Some(base) = base {
        walk.hide(base)?;
    }
    Ok(walk)
}

/// Removes the loose objects that a pack holds.
fn remove_loose(repository: &Repository, name: &str) -> anyhow::Result<()> {
    let index = pack_folder(repository).join(format!("pack-{name}.idx"));
    let bytes = fs::read(&index).with_context(|| format!("read {}", index.display()))?;
    let objects = repository.folder().join("objects");
    for id in objects_in(&bytes).with_context(|| format!("{} is not a pack index of version 2", index.display()))? {
        let id = id.to_string();
        remove(&objects.join(&id[..2]).join(&id[2..]))?;
    }
    Ok(())
}

/// The objects in a pack index of version 2 (gitformat-pack): 8 bytes of header, 256 cumulative counts, the ids.
fn objects_in(index: &[u8]) -> Option<Vec<Oid>> {
    let counts = index.strip_prefix(b"\xfftOc\0\0\0\x02")?.get(..1024)?;
    let count = u32::from_be_bytes(*counts.last_chunk()?) as usize;
    let ids = index.get(8 + 1024..)?.get(..count.checked_mul(20)?)?;
    ids.chunks_exact(20).map(|id| Oid::from_bytes(id).ok()).collect()
}

fn remove_pack(repository: &Repository, name: &str) -> anyhow::Result<()> {
    // The index first: a pack without its index is not read by anyone.
    for extension in ["idx", "rev", "pack"] {
        remove(&pack_folder(repository).join(format!("pack-{name}.{extension}")))?;
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn pack_folder(repository: &Repository) -> PathBuf {
    repository.folder().join("objects").join("pack")
}

fn list_file(repository: &Repository) -> PathBuf {
    repository.folder().join(LIST)
}

impl List {
    fn packed_up_to(&self) -> Option<Oid> {
        self.packs.last().map(|(commit, _)| *commit).or(self.merged)
    }

    fn read(repository: &Repository) -> anyhow::Result<Option<Self>> {
        if !is_managed(repository) {
            return Ok(None);
        }
        let path = list_file(repository);
        let bytes = keystore::read_capped(&path, LIST_BYTES_MAX)?;
        let list = str::from_utf8(&bytes).ok().and_then(Self::parse);
        list.map(Some).with_context(|| format!("{} is damaged; delete it to stop packing", path.display()))
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(keystore::write_synced(&folder.join(LIST), self.encode().as_bytes(), 0o644)?)
    }

    pub(crate) fn encode(&self) -> String {
        let merged = self.merged.map_or_else(|| "-".to_owned(), |commit| commit.to_string());
        let packs: String = self.packs.iter().map(|(commit, name)| format!("pack {commit} {name}\n")).collect();
        format!("{HEADER}\nmerged {merged}\n{packs}")
    }

    /// Reads a list in its only spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (HEADER, merged) = (lines.next()?, lines.next()?.strip_prefix("merged ")?) else {
            return None;
        };
        let merged = if merged == "-" { None } else { Some(Oid::from_str(merged).ok()?) };
        let pack = |line: &str| {
            let (commit, name) = line.strip_prefix("pack ")?.split_once(' ')?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit());
            Some((Oid::from_str(commit).ok()?, is_name.then(|| name.to_owned())?))
        };
        let list = Self { merged, packs: lines.map(pack).collect::<Option<_>>()? };
        (list.encode() == text).then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
        }
        all
    }

    fn commit(repository: &Repository, number: u64) {
        let content = format!("checkpoint {number}");
        let parent = repository.tip().expect("read");
        repository
            .commit(parent, "logs/a", &[("checkpoint", content.as_bytes()), ("consistency", b"same")], number, "m")
            .expect("committed");
    }

    #[test]
    fn files_stay_few_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.git");
        let repository = Repository::open_or_init(&path, "refs/heads/anchors").expect("made");
        let mut most = 0;
        for number in 0..60 {
            commit(&repository, number);
            pack_every(&repository, 3, 4).expect("packed");
            most = most.max(files(&path.join("objects")).len());
        }
        // 60 commits with 5 objects each: five large packs, up to four small ones, up to three commits of loose objects.
        assert!(most <= 2 * (5 + 4) + 3 * 5 + 2, "{most} files");
        assert_eq!(List::read(&repository).expect("read").expect("managed").packs, []);
        let check = Command::new("git")
            .args(["-c", "safe.directory=*", "-C"])
            .arg(&path)
            .args(["fsck", "--full", "--strict"])
            .output()
            .expect("git runs");
        assert!(check.status.success(), "{check:?}");
        let count = walk(&repository, repository.tip().expect("read").expect("there"), None).expect("walks").count();
        assert_eq!(count, 60);
    }

    #[test]
    fn few_packs_are_open_however_many_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.git");
        let repository = Repository::open_or_init(&path, "refs/heads/anchors").expect("made");
        for number in 0..20 {
            commit(&repository, number);
            pack_every(&repository, 1, 64).expect("packed");
        }
        assert_eq!(List::read(&repository).expect("read").expect("managed").packs.len(), 20);
        let tip = repository.tip().expect("read").expect("there");
        assert_eq!(walk(&repository, tip, None).expect("walks").count(), 20);
        let open =
            fs::read_dir("/proc/self/fd").expect("Linux").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let open = open.filter(|file| file.starts_with(&path)).count();
        assert!((1..=4).contains(&open), "{open} packs are open");
    }

    #[test]
    fn a_repository_that_is_not_managed_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.git");
        git2::Repository::init_bare(&path).expect("made");
        let repository = Repository::open(&path, "refs/heads/anchors").expect("opened");
        for number in 0..20 {
            commit(&repository, number);
        }
        let before = files(&path).len();
        pack_every(&repository, 3, 4).expect("nothing to do");
        assert_eq!(files(&path).len(), before);
    }

    #[test]
    fn the_list_reads_back_and_a_damaged_one_is_named() {
        let commit = Oid::from_str("1111111111111111111111111111111111111111").expect("an id");
        let list = List { merged: Some(commit), packs: vec![(commit, "ab12".to_owned())] };
        assert_eq!(List::parse(&list.encode()), Some(list));
        assert_eq!(List::parse(&List::default().encode()), Some(List::default()));
        for bad in ["", "x", "streamseal/anchor-packs@v1\n", "streamseal/anchor-packs@v1\nmerged -\npack x y\n"] {
            assert_eq!(List::parse(bad), None, "{bad:?}");
        }
        let traversal = format!("streamseal/anchor-packs@v1\nmerged -\npack {commit} ../../x\n");
        assert_eq!(List::parse(&traversal), None);
    }
}
