//! A PostgreSQL server.

pub(crate) mod pooler;
pub(crate) mod proxy;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::disk::SmallDisk;
use crate::ports::free_port;
use crate::process::{Process, run, send};
use crate::scratch::{Scratch, unique};
use crate::user::{as_server, give_to_server};
use crate::wait::until;

/// Time for a start, including crash recovery.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running PostgreSQL with its own files and port, as durable as its defaults make it (fsync on).
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    data: PathBuf,
    process: Process,
    /// Declared after the process, because fields drop in this order.
    _folder: Scratch,
}

impl Postgres {
    /// The server that all tests of this program share. Use your own [`database`](Self::database), and do not stop the
    /// server.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SHARED
    }

    /// A new server, which its test may kill and restart.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let folder = Scratch::new("postgres");
        let data = folder.join("data");
        Self::start_at(folder, data)
    }

    /// A new server with its data on a small disk, which its test may fill.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_on(disk: &SmallDisk) -> Self {
        give_to_server(disk.path());
        Self::start_at(Scratch::new("postgres"), disk.path().join("data"))
    }

    fn start_at(folder: Scratch, data: PathBuf) -> Self {
        let port = free_port();
        initialise(&folder, &data, port);
        Self::run(folder, data, port)
    }

    /// A standby, which streams from this server.
    ///
    /// # Panics
    /// When PostgreSQL does not copy the data, or does not start.
    pub fn standby(&self) -> Self {
        let folder = Scratch::new("standby");
        let (data, port) = (folder.join("data"), free_port());
        give_to_server(folder.path());
        self.copy_to(&data, &["--write-recovery-conf"]);
        set(&data, &format!("port={port}\n"));
        Self::run(folder, data, port)
    }

    fn run(folder: Scratch, data: PathBuf, port: u16) -> Self {
        let mut command = as_server("QUIT", &program("postgres"));
        command.current_dir(folder.path()).arg("-D").arg(&data);
        let process = Process::start("postgres", folder.join("log"), command);
        let server = Self { port, data, process, _folder: folder };
        server.wait_until_ready();
        server
    }

    /// Stops the stream to a standby, as if its network were down.
    ///
    /// # Panics
    /// When it is not a standby.
    pub fn cut_off(&self) {
        self.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.psql("postgres", "SELECT pg_reload_conf()");
        until("the standby is on its own", READY_WITHIN, || {
            self.psql("postgres", "SELECT COUNT(*) FROM pg_stat_wal_receiver") == "0"
        });
    }

    /// Promotes a standby, which then takes writes.
    ///
    /// # Panics
    /// When it is not a standby.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t", "the standby was promoted");
    }

    /// The URL of the database with the same name on this server.
    pub fn address_of(&self, database: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Makes a base backup of the running server in `target`.
    ///
    /// # Panics
    /// When that fails.
    pub fn back_up(&self, target: &Path) {
        self.copy_to(target, &[]);
    }

    fn copy_to(&self, target: &Path, options: &[&str]) {
        fs::DirBuilder::new().mode(0o700).create(target).expect("there is nothing yet");
        give_to_server(target);
        let mut command = as_server("KILL", &program("pg_basebackup"));
        command.current_dir(target).args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        run(command.args(["-c", "fast", "--no-sync"]).args(options).arg("-D").arg(target));
    }

    /// Replaces the data of the stopped server by a backup.
    ///
    /// # Panics
    /// When that fails.
    pub fn restore(&self, backup: &Path) {
        if self.data.exists() {
            fs::remove_dir_all(&self.data).expect("the data can be removed");
        }
        run(Command::new("cp").arg("-a").arg(backup).arg(&self.data));
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// When the server does not create it.
    pub fn database(&self) -> String {
        let name = unique("test").replace('-', "_");
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address_of(&name)
    }

    /// Runs SQL in `database` (a name or a URL) and returns the rows, one per line, with fields separated by `|`.
    ///
    /// # Panics
    /// When a statement fails.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = Command::new(program("psql"));
        command
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
            .args(["-U", "postgres", "-p", &self.port.to_string()])
            .args(["-d", database, "-c", sql]);
        run(&mut command).trim_end().to_owned()
    }

    /// Kills all its processes with SIGKILL and returns when they have ended.
    pub fn kill9(&self) {
        let children = self.process.children();
        self.process.kill9();
        for child in &children {
            send(*child, Signal::KILL);
        }
        // A new server does not start while an old process holds the shared memory.
        until("the end of PostgreSQL's processes", READY_WITHIN, || children.iter().all(|pid| is_gone(*pid)));
    }

    /// Shuts it down cleanly, even with clients connected.
    pub fn stop(&self) {
        // Fast shutdown; SIGTERM would wait for the clients.
        send(self.process.pid(), Signal::INT);
        self.process.wait(READY_WITHIN);
    }

    /// Starts it again on the same files and port after [`kill9`](Self::kill9) or [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it still runs or does not start.
    pub fn start_again(&self) {
        self.process.start_again();
        self.wait_until_ready();
    }

    /// Stops and starts it.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// The folder of its data. Some tests damage or copy it.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Freezes all its processes (SIGSTOP).
    pub fn sigstop(&self) {
        // The parent first, because it would replace the others.
        self.process.sigstop();
        self.process.children().into_iter().for_each(|child| send(child, Signal::STOP));
    }

    /// Resumes them (SIGCONT).
    pub fn sigcont(&self) {
        self.process.children().into_iter().for_each(|child| send(child, Signal::CONT));
        self.process.sigcont();
    }

    /// Whether it ended by itself. If so, a test can start it again.
    pub fn has_ended(&self) -> bool {
        self.process.exited().is_some_and(|_| {
            self.process.kill9();
            true
        })
    }

    /// Whether it accepts connections.
    pub fn answers(&self) -> bool {
        answers_at(self.port)
    }

    fn wait_until_ready(&self) {
        until("PostgreSQL answers", READY_WITHIN, || {
            self.process.assert_running();
            self.answers()
        });
    }
}

/// Whether a PostgreSQL server answers at a port.
fn answers_at(port: u16) -> bool {
    Command::new(program("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-U", "postgres", "-p"])
        .arg(port.to_string())
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn initialise(folder: &Scratch, data: &Path, port: u16) {
    give_to_server(folder.path());
    run(as_server("KILL", &program("initdb"))
        .current_dir(folder.path())
        .env("LC_ALL", "C")
        .arg("-D")
        .arg(data)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
        .args(["--locale=C", "--no-instructions", "--no-sync"]));
    let settings = format!(
        "listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories=''\nshared_buffers=64MB\nmax_connections=100\n"
    );
    set(data, &settings);
}

/// Adds settings, which override earlier ones.
fn set(data: &Path, settings: &str) {
    OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .and_then(|mut file| file.write_all(settings.as_bytes()))
        .expect("initdb wrote a postgresql.conf that its maker can extend");
}

/// Whether a process has ended. A zombie counts as ended.
fn is_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// The program `name` of the newest installed version.
fn program(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        versions
            .filter_map(|entry| {
                let folder = entry.ok()?.path();
                let version: u32 = folder.file_name()?.to_str()?.parse().ok()?;
                let programs = folder.join("bin");
                programs.join("postgres").exists().then_some((version, programs))
            })
            .max()
            .map(|(_, programs)| programs)
            .expect("no PostgreSQL server in /usr/lib/postgresql; Debian has it in the package postgresql (./test installs it)")
    });
    FOLDER.join(name)
}
