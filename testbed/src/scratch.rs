//! Folders for a test's files. They are removed after the run, unless it failed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// `name` with a suffix that is unique in this run, for topics, databases and folders.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A folder for a test or a server, removed when dropped. If the dropping thread panics, the folder stays and its path
/// is printed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// A new empty folder whose name begins with `name`. Other users may enter it, because PostgreSQL does not run as
    /// root.
    ///
    /// # Panics
    /// When it cannot be created.
    pub fn new(name: &str) -> Self {
        let path = RUN.path.join(unique(name));
        create(&path);
        Self { path, kept: false }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Scratch {
    /// Keeps the folder after the run.
    pub fn keep(&mut self) {
        if !std::mem::replace(&mut self.kept, true) {
            keep();
            eprintln!("kept: {}", self.path.display());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep();
        }
        if !self.kept {
            // If a server is still writing, the rest goes with the run's folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Keeps this run's folder when the process ends.
fn keep() {
    let _ = fs::write(RUN.path.join("keep"), "");
}

/// The folder of this process, and the watcher that removes it after the process. A static is never dropped, and a
/// killed process drops nothing.
struct Run {
    path: PathBuf,
    /// Its standard input is a pipe, which closes when this process ends.
    _watcher: Child,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().and_then(OsStr::to_str).unwrap_or("test");
    let path = std::env::temp_dir().join(format!("streamseal-{program}-{}", process::id()));
    create(&path);
    let remove = r#"cat >/dev/null
while read -r _ place _; do case $place in "$0"/*) umount --lazy "$place";; esac; done </proc/mounts
[ -e "$0/keep" ] && exit
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$0" && exit; sleep 0.2; done"#;
    let watcher = Command::new("sh")
        .args(["-c", remove])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Survives Ctrl-C at the terminal.
        .process_group(0)
        .spawn()
        .expect("sh starts");
    Run { path, _watcher: watcher }
});

fn create(path: &Path) {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
}
