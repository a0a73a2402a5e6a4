//! A small disk for a test to fill.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;
use crate::scratch::Scratch;

/// The file that fills it.
const BALLAST: &str = "ballast";

/// A file system in memory with a fixed size. It is unmounted when dropped, or when this process ends.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    /// The mount point's parent. Declared last, because fields drop in this order.
    _folder: Scratch,
}

impl SmallDisk {
    /// Mounts an empty disk.
    ///
    /// # Panics
    /// When the mount fails; it needs root.
    pub fn mount(mebibytes: u32) -> Self {
        assert!(rustix::process::geteuid().is_root(), "run as root: mounting a small disk needs it");
        let folder = Scratch::new("disk");
        let path = folder.join("mounted");
        fs::create_dir(&path).expect("a new folder can be written to");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=755"), "tmpfs"])
            .arg(&path));
        Self { path, _folder: folder }
    }

    /// Its mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills the disk to the last byte.
    ///
    /// # Panics
    /// When it is filled already.
    pub fn fill(&self) {
        self.fill_but(0);
    }

    /// Fills the disk, except for the last `bytes` bytes.
    ///
    /// # Panics
    /// As [`fill`](Self::fill).
    pub fn fill_but(&self, bytes: u64) {
        assert!(!self.path.join(BALLAST).exists(), "it was filled");
        let mut file = File::create(self.path.join(BALLAST)).expect("a file takes no room");
        for size in [1 << 16, 1 << 12, 1] {
            let piece = vec![0; size];
            while file.write_all(&piece).is_ok() {}
        }
        let length = file.metadata().expect("a file has a length").len();
        file.set_len(length.saturating_sub(bytes)).expect("a file can be cut off");
    }

    /// Frees the space again.
    ///
    /// # Panics
    /// When it is not filled.
    pub fn make_room(&self) {
        fs::remove_file(self.path.join(BALLAST)).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A server that failed to end may still use it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
