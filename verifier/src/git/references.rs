//! Where the copies of a branch end: loose references, symbolic ones, and `packed-refs`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Fault;
use super::id::Id;
use super::store::{Damaged, open_file};

/// The longest `packed-refs`, in bytes.
const PACKED_REFS_BYTES_MAX: u64 = 256 << 20;

/// The longest reference and the longest line of `packed-refs`, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// How many files and folders in `refs/remotes` are looked at, and how deep folders lie in each other.
const REMOTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 64;

/// How many references a symbolic one may lead through, as in Git.
const SYMBOLIC_MAX: usize = 5;

/// How many copies of the branch are read.
const TIPS_MAX: usize = 64;

const REMOTES: &str = "refs/remotes";

/// Where a copy of the branch ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The full name of the reference.
    pub(crate) reference: String,
    pub(crate) commit: Id,
    /// Whether it may as well be another branch, `x/<branch>` of a remote and not `<branch>` of the remote `<remote>/x`.
    pub(crate) is_doubtful: bool,
}

/// A loose reference as far as it could be followed.
enum Loose {
    Commit(Id),
    /// The reference with this name is in `packed-refs`, or nowhere.
    Packed(Vec<u8>),
}

/// Finds the copies of a branch in a repository's folder: `refs/heads/<branch>` and every
/// `refs/remotes/<remote>/<branch>`. What keeps one from being read is added to `faults`, and the others are read.
pub(super) fn copies(folder: &Path, branch: &str, faults: &mut Vec<Fault>) -> Vec<Tip> {
    let local = format!("refs/heads/{branch}").into_bytes();
    if !is_name(&local) {
        faults.push(Fault::unusable(format!("{branch:?} is not the name of a branch")));
        return Vec::new();
    }
    let mut names = vec![local];
    let suffix = [b"/", branch.as_bytes()].concat();
    names.extend(remotes(folder, faults).into_iter().map(|remote| [&remote[..], &suffix].concat()));
    let mut found = BTreeMap::new();
    for name in names {
        match follow(folder, &name) {
            Ok(Some(loose)) => drop(found.insert(name, loose)),
            Ok(None) => {}
            Err(Damaged(problem)) => faults.push(Fault::unusable(problem)),
        }
    }
    if let Err(Damaged(problem)) = packed(folder, branch, &mut found) {
        faults.push(Fault::unusable(format!("packed-refs: {problem}")));
    }
    if found.len() > TIPS_MAX {
        faults.push(Fault::unusable(format!("more than {TIPS_MAX} copies of the branch {branch}")));
    }
    let mut tips = Vec::new();
    for (name, loose) in found.into_iter().take(TIPS_MAX) {
        let reference = String::from_utf8_lossy(&name).into_owned();
        let remote = name.strip_prefix(b"refs/remotes/").and_then(|rest| rest.strip_suffix(&suffix[..]));
        let is_doubtful = remote.is_some_and(|remote| remote.contains(&b'/'));
        match loose {
            Loose::Commit(commit) => tips.push(Tip { reference, commit, is_doubtful }),
            Loose::Packed(target) => {
                let problem = format!("{reference} leads to {}, which is absent", String::from_utf8_lossy(&target));
                faults.push(Fault::unusable(problem));
            }
        }
    }
    tips
}

/// The folders in `refs/remotes`, each of which may be that of a remote.
fn remotes(folder: &Path, faults: &mut Vec<Fault>) -> Vec<Vec<u8>> {
    let mut folders: Vec<Vec<u8>> = Vec::new();
    let mut seen = 0;
    let mut waiting = vec![(REMOTES.as_bytes().to_vec(), 0)];
    while let Some((name, depth)) = waiting.pop() {
        let mut list = || -> Result<(), Damaged> {
            for entry in fs::read_dir(path(folder, &name))? {
                let entry = entry?;
                seen += 1;
                if seen > REMOTES_MAX || depth == DEPTH_MAX {
                    let problem = format!("more than {REMOTES_MAX} files and folders, or folders {DEPTH_MAX} deep");
                    return Err(problem.into());
                }
                // Some make repositories of links into others.
                if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
                    waiting.push(([&name[..], b"/", entry.file_name().as_bytes()].concat(), depth + 1));
                }
            }
            Ok(())
        };
        if let Err(Damaged(problem)) = list() {
            let is_absent = depth == 0 && fs::symlink_metadata(path(folder, &name)).is_err();
            if !is_absent {
                faults.push(Fault::unusable(format!("{}: {problem}", String::from_utf8_lossy(&name))));
            }
            if seen > REMOTES_MAX {
                break;
            }
        }
        if depth > 0 {
            folders.push(name);
        }
    }
    folders
}

/// Reads a loose reference, and those that it leads to; `None` when there is none.
fn follow(folder: &Path, name: &[u8]) -> Result<Option<Loose>, Damaged> {
    let shown = String::from_utf8_lossy(name);
    let mut target = name.to_vec();
    for steps in 0..=SYMBOLIC_MAX {
        let path = path(folder, &target);
        // A folder belongs to longer names.
        let file = if path.is_dir() { None } else { open_file(&path)? };
        let Some(file) = file else { return Ok((steps > 0).then_some(Loose::Packed(target))) };
        let mut bytes = Vec::new();
        file.take(LINE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| format!("{shown}: {error}"))?;
        let text = bytes.strip_suffix(b"\n").unwrap_or_default();
        let Some(next) = text.strip_prefix(b"ref: ") else {
            let id = Id::parse(text).ok_or_else(|| format!("{shown} does not name a commit by its SHA-1"))?;
            return Ok(Some(Loose::Commit(id)));
        };
        target = next.to_vec();
        if !is_name(&target) {
            return Err(format!("{shown} leads to what is no reference").into());
        }
    }
    Err(format!("{shown} leads through more than {SYMBOLIC_MAX} references").into())
}

/// Adds what `packed-refs` says of the branch's copies of which there is no loose reference, and of those that symbolic
/// ones lead to.
fn packed(folder: &Path, branch: &str, found: &mut BTreeMap<Vec<u8>, Loose>) -> Result<(), Damaged> {
    let mut targets: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, loose) in &*found {
        if let Loose::Packed(target) = loose {
            targets.entry(target.clone()).or_default().push(name.clone());
        }
    }
    let Some(file) = open_file(&folder.join("packed-refs"))? else { return Ok(()) };
    let mut file = BufReader::new(file.take(PACKED_REFS_BYTES_MAX + 1));
    let mut problem = None;
    let mut bytes_read = 0;
    loop {
        let mut line = Vec::new();
        bytes_read += (&mut file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
        if bytes_read > PACKED_REFS_BYTES_MAX || line.len() as u64 == LINE_BYTES_MAX {
            let problem = format!("longer than {PACKED_REFS_BYTES_MAX} bytes, or a line than {LINE_BYTES_MAX}");
            return Err(problem.into());
        }
        if line.is_empty() {
            return problem.map_or(Ok(()), Err);
        }
        // The other lines are remarks, and the commits behind tags.
        let Some(space) = line.iter().position(|&byte| byte == b' ') else { continue };
        let (id, name) = (&line[..space], line[space + 1..].trim_ascii_end());
        let is_target = targets.contains_key(name);
        let is_copy = is_copy(name, branch) && !found.contains_key(name) && found.len() <= TIPS_MAX;
        if !is_target && !is_copy {
            continue;
        }
        let Some(id) = Id::parse(id) else {
            let name = String::from_utf8_lossy(name);
            problem.get_or_insert_with(|| format!("{name} does not name a commit by its SHA-1").into());
            continue;
        };
        if is_copy {
            found.insert(name.to_vec(), Loose::Commit(id));
        }
        for name in targets.get(name).into_iter().flatten() {
            found.insert(name.clone(), Loose::Commit(id));
        }
    }
}

fn is_copy(name: &[u8], branch: &str) -> bool {
    let branch = branch.as_bytes();
    let remote = |rest: &[u8]| rest.strip_suffix(branch)?.strip_suffix(b"/").map(<[u8]>::is_empty);
    name.strip_prefix(b"refs/heads/") == Some(branch)
        || name.strip_prefix(b"refs/remotes/").and_then(remote) == Some(false)
}

/// Whether a name leads to a file inside of `refs`.
fn is_name(name: &[u8]) -> bool {
    let is_part = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    name.starts_with(b"refs/") && name.split(|&byte| byte == b'/').all(is_part)
}

fn path(folder: &Path, name: &[u8]) -> PathBuf {
    folder.join(OsStr::from_bytes(name))
}
