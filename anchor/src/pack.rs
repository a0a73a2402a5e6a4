//! Packing, so that a repository that gets a commit every minute for years stays small and fast.
//!
//! Every [`COMMITS_PER_PACK`] commits their loose objects become one pack, and every [`PACKS_PER_MERGE`] such packs
//! become one large pack, which never changes. So each object is written three times at most, and every 16,000 anchors
//! add one file. Running `git gc` does no harm.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::Oid;

use crate::pack_list::PackList;
use crate::repository::Repository;
use crate::sync_error::is_sync_error;

const COMMITS_PER_PACK: usize = 256;
const PACKS_PER_MERGE: usize = 64;

/// Packs what is due, after commits were added to the branch. An error is only logged: it costs space, and the next call
/// tries again.
///
/// # Errors
/// When a pack could not be synced. The next call could remove synced objects because a lost pack held them.
pub(crate) fn pack_if_due(repository: &Repository) -> anyhow::Result<()> {
    match pack_every(repository, COMMITS_PER_PACK, PACKS_PER_MERGE) {
        Err(error) if is_sync_error(&error) => return Err(error),
        Err(error) => tracing::warn!("not packed: {error:#}"),
        Ok(()) => {}
    }
    Ok(())
}

fn pack_every(repository: &Repository, commits_per_pack: usize, packs_per_merge: usize) -> anyhow::Result<()> {
    let (Some(mut list), Some(tip)) = (PackList::read(&repository.folder())?, repository.tip()?) else {
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

/// Writes a pack of everything in `tip` that is not in `base`, and returns its name.
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
    // The index first: Git ignores a pack without its index.
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
    fn packing_keeps_files_few_and_objects_complete() {
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
        assert_eq!(PackList::read(&repository.folder()).expect("read").expect("managed").packs, []);
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
    fn few_packs_are_open_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.git");
        let repository = Repository::open_or_init(&path, "refs/heads/anchors").expect("made");
        for number in 0..20 {
            commit(&repository, number);
            pack_every(&repository, 1, 64).expect("packed");
        }
        assert_eq!(PackList::read(&repository.folder()).expect("read").expect("managed").packs.len(), 20);
        let tip = repository.tip().expect("read").expect("there");
        assert_eq!(walk(&repository, tip, None).expect("walks").count(), 20);
        let open =
            fs::read_dir("/proc/self/fd").expect("Linux").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let open = open.filter(|file| file.starts_with(&path)).count();
        assert!((1..=4).contains(&open), "{open} packs are open");
    }

    #[test]
    fn repository_without_list_is_never_packed() {
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
}
