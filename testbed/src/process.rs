//! Child processes, which a test starts, kills, freezes and restarts. None outlives the test program.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::usage::{Usage, cpu_of};
use crate::wait::eventually;

/// Time for a process to end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Maximum lines of a log that a failed test shows.
const TAIL_LINES: usize = 40;

/// A long-running child: a server or a service. All its runs write to one log file. Dropping it kills it (SIGKILL), and
/// prints the end of the log if the dropping thread panics.
pub struct Process {
    name: String,
    log: PathBuf,
    /// `None` only while the spawner uses it.
    command: Mutex<Option<Command>>,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts `command` and appends its output to `log`. The command must come from [`Process::command`], or die with
    /// its parent in another way.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, log: impl Into<PathBuf>, mut command: Command) -> Self {
        let log = log.into();
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let copy = file.try_clone().expect("a file handle can be copied");
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let process = Self { name: name.to_owned(), log, command: Mutex::new(Some(command)), child: Mutex::new(None) };
        process.start_again();
        process
    }

    /// A command line for `program`. The kernel kills its process when this one dies for any reason.
    pub fn command(program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program.as_ref());
        command
    }

    /// Starts the same command line again.
    ///
    /// # Panics
    /// When it still runs or cannot be started.
    pub fn start_again(&self) {
        let mut child = lock(&self.child);
        assert!(child.is_none(), "{} runs already", self.name);
        let command = lock(&self.command).take().expect("the spawner gave it back");
        let (command, result) = spawn(command);
        *lock(&self.command) = Some(command);
        *child = Some(result.unwrap_or_else(|error| panic!("{} does not start: {error}", self.name)));
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was stopped or killed.
    pub fn pid(&self) -> u32 {
        let child = lock(&self.child);
        child.as_ref().map(Child::id).unwrap_or_else(|| {
            panic!("{} is not running", self.name);
        })
    }

    /// Kills it with SIGKILL and returns when it has ended.
    pub fn kill9(&self) {
        if let Some(mut child) = lock(&self.child).take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Sends SIGTERM, waits for the end, and returns the exit status.
    ///
    /// # Panics
    /// When it is not running, or still runs after half a minute.
    pub fn stop(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(STOP_WITHIN)
    }

    /// Waits until it ends by itself and returns the exit status.
    ///
    /// # Panics
    /// When it is not running, or still runs after `deadline`.
    pub fn wait(&self, deadline: Duration) -> ExitStatus {
        let mut child = lock(&self.child);
        let running = child.as_mut().unwrap_or_else(|| panic!("{} is not running", self.name));
        let status = eventually(&format!("the end of {}", self.name), deadline, || {
            running.try_wait().expect("a child can be waited for")
        });
        *child = None;
        status
    }

    /// Stops it if it runs, and starts it again.
    pub fn restart(&self) {
        if lock(&self.child).is_some() {
            self.stop();
        }
        self.start_again();
    }

    /// Freezes it (SIGSTOP).
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it after [`Process::sigstop`].
    pub fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    /// The exit status, if it ended by itself; `None` while it runs.
    pub fn exited(&self) -> Option<ExitStatus> {
        let mut child = lock(&self.child);
        child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// Fails the test with the end of the log, if the process ended by itself.
    ///
    /// # Panics
    /// In this case.
    #[track_caller]
    pub fn assert_running(&self) {
        if let Some(status) = self.exited() {
            panic!("{} ended by itself ({status}):\n{}", self.name, tail(&self.log_text()));
        }
    }

    /// The output of all its runs so far.
    pub fn log_text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Peak resident memory of the current run, in bytes.
    ///
    /// # Panics
    /// When it is not running.
    pub fn memory_peak_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.parse::<u64>().ok()).expect("Linux tells a process's peak memory in kB") * 1024
    }

    /// Processor time of all threads in the current run.
    ///
    /// # Panics
    /// When it is not running.
    pub fn cpu_time(&self) -> Duration {
        cpu_of(self.pid()).expect("a running process has a stat")
    }

    /// Its present resource usage; `None` while it does not run.
    pub fn usage(&self) -> Option<Usage> {
        let pid = lock(&self.child).as_ref().map(Child::id)?;
        Usage::of(pid)
    }

    /// The process ids of its children.
    pub(crate) fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        list.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }
}

impl Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("log", &self.log).finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            eprintln!("--- end of {}'s log\n{}", self.name, tail(&self.log_text()));
        }
    }
}

/// Runs a short command and returns its standard output.
///
/// # Panics
/// When the command cannot start or fails, with its standard error.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", missing(command)));
    assert!(
        output.status.success(),
        "{command:?}: {}{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends `signal` to `pid`. Ignores a process that has already ended.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.expect("a process id is positive"), signal);
}

/// The message for a command that cannot start: the package to install.
fn missing(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let package = match program.rsplit('/').next().unwrap_or_default() {
        "kcat" => "kcat",
        "mvn" => "maven",
        "java" => "openjdk-17-jre-headless",
        "git" => "git",
        "strace" => "strace",
        "ssh-keygen" => "openssh-client",
        "setpriv" | "unshare" => "util-linux",
        "chown" | "id" | "timeout" => "coreutils",
        _ => return format!("cannot run {program}"),
    };
    format!("cannot run {program}; Debian has it in the package {package} (./test installs it)")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Locks even a poisoned mutex: a test that failed elsewhere left the value intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Job = (Command, Sender<(Command, io::Result<Child>)>);

/// Starts `command` on a thread that lives as long as the process. The kernel sends the death signal when the *thread*
/// that started a child ends, and a test's thread ends with its test.
fn spawn(command: Command) -> (Command, io::Result<Child>) {
    static SPAWNER: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                let result = command.spawn();
                let _ = reply.send((command, result));
            }
        });
        Mutex::new(jobs)
    });
    let (reply, answer) = channel();
    lock(&SPAWNER).send((command, reply)).expect("the spawner never ends");
    answer.recv().expect("the spawner answers")
}
