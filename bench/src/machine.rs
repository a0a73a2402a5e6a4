//! The machine and the versions of a run.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Relevant dependencies, by their names in Cargo.lock.
const PACKAGES: [&str; 7] = ["blake3", "ed25519-dalek", "git2", "rdkafka-sys", "reqwest", "sqlx", "tokio"];

/// The commit of this build and of the measured programs, with `-dirty` after changes.
pub(crate) const COMMIT: &str = env!("BENCH_COMMIT");

/// A machine and the measured programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The end of the run's newest piece.
    pub time: Timestamp,
    /// Its host name.
    pub host: String,
    /// The model of its processor.
    pub processor: String,
    /// Number of available processors.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// Versions of all programs.
    pub versions: BTreeMap<String, String>,
}

impl Machine {
    /// This machine and this build.
    pub(crate) fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
        };
        let memory = field(&memory, "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let mut versions = packages();
        for (name, version) in [
            ("streamseal", COMMIT.to_owned()),
            ("rustc", env!("BENCH_RUSTC").to_owned()),
            ("librdkafka", rdkafka::util::get_rdkafka_version().1),
        ] {
            versions.insert(name.to_owned(), version);
        }
        Self {
            time: Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| Timestamp::now()),
            host: said("uname", &["-n"]),
            processor: field(&info, "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib / 1024,
            kernel: said("uname", &["-sr"]),
            versions,
        }
    }

    /// Whether absolute values of both machines are comparable.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.processor, self.cores) == (&other.processor, other.cores)
    }
}

/// The versions of the relevant dependencies in Cargo.lock.
fn packages() -> BTreeMap<String, String> {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().expect("cargo reads it too");
    let packages = lock["package"].as_array().into_iter().flatten();
    let field = |package: &toml::Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    packages
        .filter(|package| PACKAGES.contains(&field(package, "name").as_str()))
        .map(|package| (field(package, "name"), field(package, "version")))
        .collect()
}

/// The output of a command, if it exists: a container may lack it.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok();
    let output = output.filter(|output| output.status.success());
    output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
