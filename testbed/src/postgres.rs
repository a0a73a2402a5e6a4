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

/// How long a start may take, crash recovery included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running PostgreSQL with files and a port of its own, as durable as its defaults make it (fsync on).
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    data: PathBuf,
    process: Process,
    /// After the process: dropped in this order.
    _folder: Scratch,
}

impl Postgres {
    /// The server that all tests of this binary share; take a [`database`](Self::database) of your own in it, and do
    /// not stop it.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SHARED
    }

    /// A server of one's own, to be killed and restarted at will.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let folder = Scratch::new("postgres");
        let data = folder.join("data");
        Self::start_at(folder, data)
    }

    /// The same with its data on a disk that can be filled up.
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

    /// A standby of this server, which streams from it what it does not have yet.
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

    /// Has a standby take no more from its primary, as if the network between them were gone.
    ///
    /// # Panics
    /// When it is no standby.
    pub fn cut_off(&self) {
        self.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.psql("postgres", "SELECT pg_reload_conf()");
        until("the standby is on its own", READY_WITHIN, || {
            self.psql("postgres", "SELECT COUNT(*) FROM pg_stat_wal_receiver") == "0"
        });
    }

    /// Makes a standby a server that takes writes.
    ///
    /// # Panics
    /// When it is no standby.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t", "the standby was promoted");
    }

    /// The address of a database of the same name here.
    pub fn address_of(&self, database: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Copies the running server's data to `target`, as backups are made.
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

    /// Puts a backup in the place of the data of a server that does not run.
    ///
    /// # Panics
    /// When that fails.
    pub fn restore(&self, backup: &Path) {
        if self.data.exists() {
            fs::remove_dir_all(&self.data).expect("the data can be removed");
        }
        run(Command::new("cp").arg("-a").arg(backup).arg(&self.data));
    }

    /// A new empty database; returns the address to connect to.
    ///
    /// # Panics
    /// When the server does not create it.
    pub fn database(&self) -> String {
        let name = unique("test").replace('-', "_");
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address_of(&name)
    }

    /// Runs SQL in `database` (a name or an address) and returns the rows: fields separated by `|`, one row a line.
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

    /// Kills all its processes with SIGKILL, as a power cut would, and returns when they are gone.
    pub fn kill9(&self) {
        let children = self.process.children();
        self.process.kill9();
        for child in &children {
            send(*child, Signal::KILL);
        }
        // A new server refuses to start while any of them holds the shared memory.
        until("the end of PostgreSQL's processes", READY_WITHIN, || children.iter().all(|pid| is_gone(*pid)));
    }

    /// Ends it in an orderly way, clients or not.
    pub fn stop(&self) {
        // Fast shutdown; SIGTERM would wait for the clients to leave.
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

    /// Where its data are, for tests that damage or copy them.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Freezes all its processes (SIGSTOP).
    pub fn sigstop(&self) {
        // The one that makes the others first.
        self.process.sigstop();
        self.process.children().into_iter().for_each(|child| send(child, Signal::STOP));
    }

    /// Lets them go on.
    pub fn sigcont(&self) {
        self.process.children().into_iter().for_each(|child| send(child, Signal::CONT));
        self.process.sigcont();
    }

    /// Whether it ended by itself; it can then be started again.
    pub fn has_ended(&self) -> bool {
        self.process.exited().is_some_and(|_| {
            self.process.kill9();
            true
        })
    }

    /// Whether it takes connections.
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

/// Whether PostgreSQL's protocol is spoken at a port.
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

/// Adds settings, which count before those that are there.
fn set(data: &Path, settings: &str) {
    OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .and_then(|mut file| file.write_all(settings.as_bytes()))
        .expect("initdb wrote a postgresql.conf that its maker can extend");
}

/// Whether a process has ended; one that nobody has waited for yet has.
fn is_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// The newest installed version's `name`.
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
