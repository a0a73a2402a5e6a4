//! The tips of the copies of a branch: loose references, symbolic ones, and `packed-refs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::bounds::open_file;
use crate::error::{Error, ReadError};
use crate::id::Id;

/// The longest `packed-refs`, in bytes.
const PACKED_REFS_BYTES_MAX: u64 = 256 << 20;

/// The longest reference and the longest line of `packed-refs`, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// The most bytes of `config` that are read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The most files and folders in `refs/remotes` that are listed, and how deep they may be nested.
const REMOTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 64;

/// The most references that a symbolic one may lead through, as in Git.
const SYMBOLIC_MAX: usize = 5;

/// The most copies of the branch that are returned.
const TIPS_MAX: usize = 64;

/// The most references that are returned although they may be other branches.
const DOUBTFUL_MAX: usize = 1 << 16;

const REMOTES: &str = "refs/remotes";

/// The copies of a branch in one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    /// The newest commit of each copy; the doubtful copies come last.
    pub tips: Vec<Tip>,
    /// Why some copies could not be read. Doubtful copies that cannot be read are left out silently.
    pub errors: Vec<Error>,
}

/// The newest commit of a copy of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The full name of the reference.
    pub reference: String,
    /// The commit.
    pub commit: Id,
    /// Whether it may be another branch: `x/<branch>` of the remote `origin`, and not `<branch>` of `origin/x`.
    pub is_doubtful: bool,
}

/// Which references are copies of the branch.
struct Names<'a> {
    branch: &'a [u8],
    /// The names of the remotes in `config`.
    remotes: BTreeSet<Vec<u8>>,
}

impl Names<'_> {
    /// Whether a copy is certain to be one; `None` for a reference that is no copy. One slash too many is enough for
    /// doubt: everyone who may push a branch could make that reference.
    fn is_certain(&self, name: &[u8]) -> Option<bool> {
        if let Some(local) = name.strip_prefix(b"refs/heads/") {
            return (local == self.branch).then_some(true);
        }
        let remote = name.strip_prefix(b"refs/remotes/")?.strip_suffix(self.branch)?.strip_suffix(b"/")?;
        (!remote.is_empty()).then(|| !remote.contains(&b'/') || self.remotes.contains(remote))
    }

    /// The references that are copies if they exist: the local one, and those of the remotes in `config`.
    fn known(&self) -> impl Iterator<Item = Vec<u8>> {
        let remote = |remote: &Vec<u8>| [b"refs/remotes/", &remote[..], b"/", self.branch].concat();
        std::iter::once([b"refs/heads/", self.branch].concat()).chain(self.remotes.iter().map(remote))
    }
}

/// The end of a loose reference, as far as it can be followed.
enum Loose {
    Commit(Id),
    /// The reference with this name is in `packed-refs`, or nowhere.
    Packed(Vec<u8>),
}

/// Finds the copies of a branch in a repository's folder: `refs/heads/<branch>` and every
/// `refs/remotes/<remote>/<branch>`. An error in one keeps no other from being found.
pub(crate) fn copies(folder: &Path, branch: &str) -> Copies {
    let mut errors = Vec::new();
    let tips = tips(folder, branch, &mut errors);
    Copies { tips, errors }
}

fn tips(folder: &Path, branch: &str, errors: &mut Vec<Error>) -> Vec<Tip> {
    let names = Names { branch: branch.as_bytes(), remotes: configured(folder) };
    if !is_name(format!("refs/heads/{branch}").as_bytes()) {
        errors.push(Error::Unreadable(format!("{branch:?} is not the name of a branch")));
        return Vec::new();
    }
    let listed = remotes(folder, errors).into_iter().map(|remote| [&remote[..], b"/", names.branch].concat());
    let candidates: BTreeSet<_> = names.known().chain(listed).filter(|name| is_name(name)).collect();
    let mut found = Found::default();
    for name in candidates {
        let is_certain = names.is_certain(&name) == Some(true);
        if !found.has_room(is_certain) {
            continue;
        }
        match follow(folder, &name) {
            Ok(Some(loose)) => found.add(name, is_certain, loose),
            Ok(None) => {}
            Err(ReadError(problem)) if is_certain => errors.push(Error::Unreadable(problem)),
            Err(_) => {}
        }
    }
    if let Err(ReadError(problem)) = packed(folder, &names, &mut found) {
        errors.push(Error::Unreadable(format!("packed-refs: {problem}")));
    }
    if found.certain.len() > TIPS_MAX {
        errors.push(Error::Unreadable(format!("more than {TIPS_MAX} copies of the branch {branch}")));
    }
    let certain = found.certain.into_iter().take(TIPS_MAX).map(|copy| (copy, false));
    let doubtful = found.doubtful.into_iter().map(|copy| (copy, true));
    let mut tips = Vec::new();
    for ((name, loose), is_doubtful) in certain.chain(doubtful) {
        let reference = String::from_utf8_lossy(&name).into_owned();
        match loose {
            Loose::Commit(commit) => tips.push(Tip { reference, commit, is_doubtful }),
            Loose::Packed(_) if is_doubtful => {}
            Loose::Packed(target) => {
                let problem = format!("{reference} leads to {}, which is absent", String::from_utf8_lossy(&target));
                errors.push(Error::Unreadable(problem));
            }
        }
    }
    tips
}

/// The copies that were found, by their names.
#[derive(Default)]
struct Found {
    certain: BTreeMap<Vec<u8>, Loose>,
    doubtful: BTreeMap<Vec<u8>, Loose>,
}

impl Found {
    /// Whether one more is kept. One certain copy too many is kept, to show that there are too many.
    fn has_room(&self, is_certain: bool) -> bool {
        if is_certain { self.certain.len() <= TIPS_MAX } else { self.doubtful.len() < DOUBTFUL_MAX }
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.certain.contains_key(name) || self.doubtful.contains_key(name)
    }

    fn add(&mut self, name: Vec<u8>, is_certain: bool, loose: Loose) {
        let kind = if is_certain { &mut self.certain } else { &mut self.doubtful };
        kind.insert(name, loose);
    }
}

/// The names of the remotes in the repository's `config`. A `config` that cannot be read names none, and a remote with a
/// slash in its name is then doubtful.
fn configured(folder: &Path) -> BTreeSet<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_file(&folder.join("config")).ok().flatten();
    let is_read = file.is_some_and(|file| file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes).is_ok());
    let lines = bytes.split(|&byte| byte == b'\n').filter(|_| is_read);
    lines.filter_map(remote_in).collect()
}

/// The `NAME` of a line `[remote "NAME"]`, in which a backslash escapes a quote or a backslash.
fn remote_in(line: &[u8]) -> Option<Vec<u8>> {
    let (section, rest) = line.trim_ascii_start().strip_prefix(b"[")?.split_at_checked(b"remote".len())?;
    let mut rest = rest.trim_ascii_start().strip_prefix(b"\"")?.iter();
    let mut name = Vec::new();
    loop {
        match rest.next()? {
            b'"' => break,
            b'\\' => name.push(*rest.next()?),
            byte => name.push(*byte),
        }
    }
    (section.eq_ignore_ascii_case(b"remote") && rest.next() == Some(&b']')).then_some(name)
}

/// The folders in `refs/remotes`; each may be that of a remote. Those who push branches decide how many folders there are
/// and how deep. So the only error is that `refs/remotes` itself cannot be listed.
fn remotes(folder: &Path, errors: &mut Vec<Error>) -> Vec<Vec<u8>> {
    let mut folders: Vec<Vec<u8>> = Vec::new();
    let mut seen = 0;
    let mut waiting = vec![(REMOTES.as_bytes().to_vec(), 0)];
    while let Some((name, depth)) = waiting.pop() {
        let mut list = || -> Result<(), ReadError> {
            for entry in fs::read_dir(path(folder, &name))? {
                let entry = entry?;
                seen += 1;
                if seen > REMOTES_MAX {
                    return Err(format!("more than {REMOTES_MAX} files and folders").into());
                }
                // Some repositories consist of links into others.
                if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
                    let name = [&name[..], b"/", entry.file_name().as_bytes()].concat();
                    folders.push(name.clone());
                    if depth + 1 < DEPTH_MAX {
                        waiting.push((name, depth + 1));
                    }
                }
            }
            Ok(())
        };
        if let Err(ReadError(problem)) = list() {
            let is_absent = fs::symlink_metadata(path(folder, &name)).is_err();
            if depth == 0 && !is_absent {
                errors.push(Error::Unreadable(format!("{REMOTES}: {problem}")));
            }
            if seen > REMOTES_MAX {
                break;
            }
        }
    }
    folders
}

/// Reads a loose reference and follows it; `None` when there is none.
fn follow(folder: &Path, name: &[u8]) -> Result<Option<Loose>, ReadError> {
    let shown = String::from_utf8_lossy(name);
    let mut target = name.to_vec();
    for steps in 0..=SYMBOLIC_MAX {
        let path = path(folder, &target);
        // A folder holds longer names.
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
            return Err(format!("{shown} leads to something that is not a reference").into());
        }
    }
    Err(format!("{shown} leads through more than {SYMBOLIC_MAX} references").into())
}

/// Adds the copies in `packed-refs` that have no loose reference, and the targets of symbolic references.
fn packed(folder: &Path, names: &Names<'_>, found: &mut Found) -> Result<(), ReadError> {
    let mut targets: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, loose) in found.certain.iter().chain(&found.doubtful) {
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
            let problem =
                format!("longer than {PACKED_REFS_BYTES_MAX} bytes, or with a line of {LINE_BYTES_MAX} bytes or more");
            return Err(problem.into());
        }
        if line.is_empty() {
            return problem.map_or(Ok(()), Err);
        }
        // Lines without a space give the commit of a tag.
        let Some(space) = line.iter().position(|&byte| byte == b' ') else { continue };
        let (id, name) = (&line[..space], line[space + 1..].trim_ascii_end());
        let is_target = targets.contains_key(name);
        let is_new = |&is_certain: &bool| !found.contains(name) && found.has_room(is_certain);
        let copy = names.is_certain(name).filter(is_new);
        if !is_target && copy.is_none() {
            continue;
        }
        let Some(id) = Id::parse(id) else {
            if is_target || copy == Some(true) {
                let name = String::from_utf8_lossy(name);
                problem.get_or_insert_with(|| format!("{name} does not name a commit by its SHA-1").into());
            }
            continue;
        };
        if let Some(is_certain) = copy {
            found.add(name.to_vec(), is_certain, Loose::Commit(id));
        }
        for name in targets.get(name).into_iter().flatten() {
            found.add(name.clone(), names.is_certain(name) == Some(true), Loose::Commit(id));
        }
    }
}

/// Whether a name is that of a file inside `refs`.
fn is_name(name: &[u8]) -> bool {
    let is_part = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    name.starts_with(b"refs/") && name.split(|&byte| byte == b'/').all(is_part)
}

fn path(folder: &Path, name: &[u8]) -> PathBuf {
    folder.join(OsStr::from_bytes(name))
}
