//! Counts the writing system calls of a program, and makes them fail, by strace.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use testbed::{Process, Scratch, eventually, run};

/// The calls that write bytes and names to a disk.
const CALLS: &str = "write,pwrite64,fsync,fdatasync,rename,renameat2,link,unlink,mkdir,openat,ftruncate,fchmod";

/// Time for strace to write its log to the end.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// The name of all files whose names differ in every run.
pub(crate) const GIT_OBJECTS: &str = "Git objects";

/// A fixed seed for the names of libgit2's temporary files. libgit2 refuses 0.
const SEED: &[u8] = b"the same";

/// Placeholder of the process id in paths.
const PID: &str = "$$";

/// What strace injects into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Injection {
    /// The call fails as on a broken disk. An fsync fails after the bytes were written, other calls before.
    Io,
    /// The call fails as on a full disk.
    Full,
    /// The process is killed on entering the call. All earlier calls were done.
    Kill,
}

impl Injection {
    fn strace_option(self) -> &'static str {
        match self {
            Self::Io => "error=EIO",
            Self::Full => "error=ENOSPC",
            Self::Kill => "signal=KILL",
        }
    }
}

impl fmt::Display for Injection {
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
    /// The file below the watched folder, if its name is the same in every run; `None` for Git's objects.
    pub(crate) file: Option<String>,
    /// The number of the call on this file (or on any, without a file) in its thread, from 1.
    pub(crate) nth: u32,
}

/// strace's mark of a call that it made fail.
const INJECTED: &str = "(INJECTED)";

impl Point {
    /// The row of the report that counts it.
    pub(crate) fn place(&self) -> String {
        let file = self.file.as_deref().map_or(GIT_OBJECTS, |file| if file.is_empty() { "the folder" } else { file });
        format!("{} {file}", self.call)
    }

    /// The possible injections.
    pub(crate) fn injections(&self) -> &'static [Injection] {
        match self.call.as_str() {
            "fsync" | "fdatasync" | "unlink" | "fchmod" => &[Injection::Io, Injection::Kill],
            _ => &[Injection::Io, Injection::Full, Injection::Kill],
        }
    }

    /// Whether a failure of this call may lose written bytes although the program continues.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.call.as_str(), "fsync" | "fdatasync")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}", self.place(), self.nth)
    }
}

/// The settings of strace.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// Only calls on files below this folder count.
    folder: PathBuf,
    log: PathBuf,
    injection: Option<(Point, Injection)>,
}

/// How a program under [`Trace`] ended.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    /// The file of the failed call, below the watched folder. Empty for the folder itself, and if the program was
    /// killed. `None` if the call was not made.
    pub(crate) hit: Option<String>,
}

impl Trace {
    /// Only counts calls.
    pub(crate) fn count(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), log: folder.with_extension("calls"), injection: None }
    }

    /// Injects into one call.
    pub(crate) fn inject(folder: &Path, point: &Point, injection: Injection) -> Self {
        Self { injection: Some((point.clone(), injection)), ..Self::count(folder) }
    }

    /// A command line that runs `program` under strace. The process id is the program's own.
    ///
    /// # Panics
    /// When the seed cannot be written.
    pub(crate) fn command(&self, program: &Path) -> Command {
        // -I 2: a signal detaches strace, see `let_go_if_hit`.
        let mut options = format!("-D -I 2 -f -y -q -s 0 -o '{}' -e trace={CALLS}", self.log.display());
        if let Some((point, injection)) = &self.injection {
            let Point { call, nth, file } = point;
            options += &format!(" -e inject={call}:{}:when={nth}", injection.strace_option());
            if let Some(file) = file {
                // Not quoted: the shell inserts its process id, which becomes the program's.
                options += &format!(" -P {}", self.folder.join(file).display().to_string().trim_end_matches('/'));
            }
        }
        let mut command = seeded(&self.folder.with_extension("seed"), &format!("strace {options} \"$0\" \"$@\" 2>&1"));
        command.arg(program);
        command
    }

    /// Detaches strace from a process of [`Trace::command`] once a call failed.
    ///
    /// strace counts the calls of each thread separately, and each new connection to SQLite has its own thread.
    /// Otherwise the same write would fail again in each, as if the disk stayed full.
    pub(crate) fn let_go_if_hit(&self, pid: u32) {
        if !fs::read_to_string(&self.log).is_ok_and(|calls| calls.contains(INJECTED)) {
            return;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim);
        // If the process has ended, strace may wait for its first thread forever.
        let signal = if field("State:").starts_with('Z') { "-KILL" } else { "-TERM" };
        let tracer = field("TracerPid:");
        if !matches!(tracer, "" | "0") {
            // It may have ended by now.
            let _ = Command::new("kill").args([signal, tracer]).status();
        }
    }

    /// How a process of [`Trace::command`] ended.
    pub(crate) fn ended(&self, pid: u32, status: ExitStatus) -> Traced {
        let end = format!("{pid} +++ ");
        let calls = eventually("strace has written its log", TOLD_WITHIN, || {
            let calls = fs::read_to_string(&self.log).ok()?;
            // A detached process has no end in the log.
            (calls.contains(INJECTED) || calls.lines().rev().any(|line| words(line).starts_with(&end))).then_some(calls)
        });
        let hit = match &self.injection {
            Some((_, Injection::Kill)) => calls.contains("+++ killed by SIGKILL").then(String::new),
            Some((Point { call, .. }, _)) => calls.lines().find(|line| line.contains(INJECTED)).map(|line| {
                let path = line.split_once('(').and_then(|(_, arguments)| path(call, arguments));
                let file = path.and_then(|path| Path::new(path).strip_prefix(&self.folder).ok());
                file.and_then(Path::to_str).unwrap_or_default().to_owned()
            }),
            None => None,
        };
        Traced { pid, status, hit }
    }

    /// The points of a counted run, with the calls of each thread numbered separately.
    pub(crate) fn points(&self, pid: u32) -> Vec<Point> {
        let calls = fs::read_to_string(&self.log).expect("strace has written its log");
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
            // Every call counts for an injection without a file.
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

/// A line of strace with single spaces, because strace pads the process id.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of a call: of its descriptor, or the first path among its arguments.
fn path<'a>(call: &str, arguments: &'a str) -> Option<&'a str> {
    match call {
        "openat" | "rename" | "renameat2" | "link" | "unlink" | "mkdir" => arguments.split('"').nth(1),
        _ => arguments.split_once('<')?.1.split('>').next(),
    }
}

/// Whether a file has the same name in every run. Git's objects are named by hash, except while they are temporary
/// files.
fn is_lasting(file: &str) -> bool {
    !file.contains(".git/objects") || file.contains("_git2_")
}

fn fits_a_shell(file: &str) -> bool {
    file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_$".contains(&byte))
}

/// A command line that runs a shell script, with further arguments allowed, where `/dev/urandom` is a file with
/// [`SEED`]. libgit2 takes random names from there, so its temporary files have the same names in every run.
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

/// Requires that strace can trace and that a mount namespace can be made.
///
/// # Panics
/// When they cannot.
pub(crate) fn require() {
    let folder = Scratch::new("seed");
    let said = run(&mut seeded(&folder.join("seed"), "strace -qq -o /dev/null -e trace=none cat /dev/urandom"));
    let unable = "these tests need ptrace (for strace) and mount namespaces; this machine forbids one of them";
    assert_eq!(said.as_bytes(), SEED, "{unable}");
}
