//! System calls of a program that write, counted and made to fail (strace, and its injection).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use testbed::{Process, Scratch, eventually, run};

/// The calls by which bytes and names get to a disk.
const CALLS: &str = "write,pwrite64,fsync,fdatasync,rename,renameat2,link,unlink,mkdir,openat,ftruncate,fchmod";

/// For strace to have written what it saw to the end.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// How files are named whose names differ in every run.
pub(crate) const GIT_OBJECTS: &str = "Git objects";

/// What libgit2 seeds the names of its temporary files with, here always the same. Not 0, which it refuses.
const SEED: &[u8] = b"the same";

/// Stands in paths for the number of the process.
const PID: &str = "$$";

/// What happens instead of a call, or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It fails as a broken disk lets it: of an fsync, after the bytes were handed over; of all others, before.
    Io,
    /// It fails as a full disk lets it.
    Full,
    /// The process is killed on entering it; what stands before it in the sequence was done.
    Kill,
}

impl Fault {
    fn injection(self) -> &'static str {
        match self {
            Self::Io => "error=EIO",
            Self::Full => "error=ENOSPC",
            Self::Kill => "signal=KILL",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "EIO",
            Self::Full => "ENOSPC",
            Self::Kill => "KILL",
        })
    }
}

/// A call in the life of a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) call: String,
    /// The file below the folder watched, where its name is the same in every run; `None` for Git's objects.
    pub(crate) file: Option<String>,
    /// The how manieth such call on that file, or at all, of a thread; from 1.
    pub(crate) nth: u32,
}

/// How strace marks a call that it made fail.
const INJECTED: &str = "(INJECTED)";

impl Point {
    /// What it is counted with in the report.
    pub(crate) fn place(&self) -> String {
        let file = self.file.as_deref().map_or(GIT_OBJECTS, |file| if file.is_empty() { "the folder" } else { file });
        format!("{} {file}", self.call)
    }

    /// What can happen at it.
    pub(crate) fn faults(&self) -> &'static [Fault] {
        match self.call.as_str() {
            "fsync" | "fdatasync" | "unlink" | "fchmod" => &[Fault::Io, Fault::Kill],
            _ => &[Fault::Io, Fault::Full, Fault::Kill],
        }
    }

    /// Whether what was written may be lost although the program goes on, if the fault is one of a disk.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.call.as_str(), "fsync" | "fdatasync")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}", self.place(), self.nth)
    }
}

/// How a program is watched.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// Calls on files below it count.
    folder: PathBuf,
    log: PathBuf,
    fault: Option<(Point, Fault)>,
}

/// How a program under [`Trace`] ended.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    /// The file, below the folder watched, of the call that failed; empty for the folder itself, and when the program was
    /// killed. `None` when the call was not made.
    pub(crate) hit: Option<String>,
}

impl Trace {
    /// Only counts.
    pub(crate) fn count(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), log: folder.with_extension("calls"), fault: None }
    }

    /// Lets something happen at a point.
    pub(crate) fn inject(folder: &Path, point: &Point, fault: Fault) -> Self {
        Self { fault: Some((point.clone(), fault)), ..Self::count(folder) }
    }

    /// A command line that runs `program` watched; the process is the program's own.
    ///
    /// # Panics
    /// When the seed cannot be written.
    pub(crate) fn command(&self, program: &Path) -> Command {
        // -I 2: a signal lets the program go, see `let_go_if_hit`.
        let mut options = format!("-D -I 2 -f -y -q -s 0 -o '{}' -e trace={CALLS}", self.log.display());
        if let Some((point, fault)) = &self.fault {
            let Point { call, nth, file } = point;
            options += &format!(" -e inject={call}:{}:when={nth}", fault.injection());
            if let Some(file) = file {
                // Not in quotes: the shell puts the number of the process in, which becomes the program's.
                options += &format!(" -P {}", self.folder.join(file).display().to_string().trim_end_matches('/'));
            }
        }
        let mut command = seeded(&self.folder.with_extension("seed"), &format!("strace {options} \"$0\" \"$@\" 2>&1"));
        command.arg(program);
        command
    }

    /// Lets a process that [`Trace::command`] started go on unwatched once a call of it failed.
    ///
    /// strace counts each thread's calls by themselves, and each new connection to SQLite has a thread of its own: the same
    /// write would fail in each again, as if there never were room again.
    pub(crate) fn let_go_if_hit(&self, pid: u32) {
        if !fs::read_to_string(&self.log).is_ok_and(|calls| calls.contains(INJECTED)) {
            return;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim);
        // Of one that has ended meanwhile strace may wait for its first thread for ever, which comes after all others.
        let signal = if field("State:").starts_with('Z') { "-KILL" } else { "-TERM" };
        let tracer = field("TracerPid:");
        if !matches!(tracer, "" | "0") {
            // It may be gone by now.
            let _ = Command::new("kill").args([signal, tracer]).status();
        }
    }

    /// What became of a process that [`Trace::command`] started and that has ended.
    pub(crate) fn ended(&self, pid: u32, status: ExitStatus) -> Traced {
        let end = format!("{pid} +++ ");
        let calls = eventually("strace has told all", TOLD_WITHIN, || {
            let calls = fs::read_to_string(&self.log).ok()?;
            // One that was let go tells no end.
            (calls.contains(INJECTED) || calls.lines().rev().any(|line| words(line).starts_with(&end))).then_some(calls)
        });
        let hit = match &self.fault {
            Some((_, Fault::Kill)) => calls.contains("+++ killed by SIGKILL").then(String::new),
            Some((Point { call, .. }, _)) => calls.lines().find(|line| line.contains(INJECTED)).map(|line| {
                let path = line.split_once('(').and_then(|(_, arguments)| path(call, arguments));
                let file = path.and_then(|path| Path::new(path).strip_prefix(&self.folder).ok());
                file.and_then(Path::to_str).unwrap_or_default().to_owned()
            }),
            None => None,
        };
        Traced { pid, status, hit }
    }

    /// The points of a run that was only counted, each thread's calls by themselves.
    pub(crate) fn points(&self, pid: u32) -> Vec<Point> {
        let calls = fs::read_to_string(&self.log).expect("strace has written what it saw");
        let mut counts: BTreeMap<(&str, String, Option<String>), u32> = BTreeMap::new();
        let mut points = Vec::new();
        for line in calls.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
            if !CALLS.split(',').any(|known| known == call) {
                continue;
            }
            let path = path(call, arguments).unwrap_or_default().replace(&pid.to_string(), PID);
            let file = Path::new(&path).strip_prefix(&self.folder).ok();
            let file = file.map(|file| file.to_str().expect("the files under test have plain names").to_owned());
            // Every call counts for a fault that is bound to no file.
            let mut count = |file: Option<String>| {
                let count = counts.entry((thread, call.to_owned(), file)).or_default();
                *count += 1;
                *count
            };
            let of_all = count(None);
            let Some(file) = file else { continue };
            let of_file = count(Some(file.clone()));
            let reads = call == "openat" && !arguments.contains("O_WRONLY") && !arguments.contains("O_RDWR");
            if reads || !fits_a_shell(&file) {
                continue;
            }
            points.push(match is_lasting(&file) {
                true => Point { call: call.to_owned(), file: Some(file), nth: of_file },
                false => Point { call: call.to_owned(), file: None, nth: of_all },
            });
        }
        points.sort();
        points.dedup();
        points
    }
}

/// A line of strace with one space between words: it pads the number of the process.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of a call: that of its descriptor, or the first path among its arguments.
fn path<'a>(call: &str, arguments: &'a str) -> Option<&'a str> {
    match call {
        "openat" | "rename" | "renameat2" | "link" | "unlink" | "mkdir" => arguments.split('"').nth(1),
        _ => arguments.split_once('<')?.1.split('>').next(),
    }
}

/// Whether a file has the same name in every run: of Git's objects, which are named by their hashes, until they are whole.
fn is_lasting(file: &str) -> bool {
    !file.contains(".git/objects") || file.contains("_git2_")
}

fn fits_a_shell(file: &str) -> bool {
    file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_$".contains(&byte))
}

/// A command line that runs a script of the shell, to which arguments may be added, where /dev/urandom is a file of [`SEED`],
/// which is written: libgit2 draws names from there, so that an object of Git has, until it is whole, the same in every run.
fn seeded(seed: &Path, script: &str) -> Command {
    fs::write(seed, SEED).expect("there is room for the seed");
    let mut command = Process::command("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("mount --bind '{}' /dev/urandom && exec {script}", seed.display());
    command.args(["--mount", "sh", "-c", &script]);
    command
}

/// Fails when processes cannot be traced here, or have no place of their own for a seed, and says so.
///
/// # Panics
/// Then.
pub(crate) fn require() {
    let folder = Scratch::new("seed");
    let said = run(&mut seeded(&folder.join("seed"), "strace -qq -o /dev/null -e trace=none cat /dev/urandom"));
    let unable = "strace does not trace here, or nothing can be mounted; where ptrace or mount namespaces are forbidden these \
                  tests cannot run";
    assert_eq!(said.as_bytes(), SEED, "{unable}");
}
