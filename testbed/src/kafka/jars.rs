//! Kafka's jars. Maven fetches them once into the user's cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rustix::fs::{FlockOperation, flock};

use super::run_once;
use crate::cache::cache;
use crate::process::run;

const POM: &str = include_str!("../../kafka/pom.xml");
/// Part of the cache folder's name, so that versions do not mix.
pub(super) const VERSION: &str = "4.3.1";

/// A folder of jars, and the class path for Java.
#[derive(Debug)]
pub(super) struct Jars {
    class_path: String,
    /// A class-data archive, which halves the start time of a broker. Java ignores an archive that does not fit, for
    /// example one of another Java version.
    archive: PathBuf,
}

impl Jars {
    /// The cached jars; the first call on a machine fetches them.
    ///
    /// # Panics
    /// When Maven is missing or cannot fetch them.
    pub(super) fn get() -> &'static Self {
        static JARS: LazyLock<Jars> = LazyLock::new(|| {
            assert!(POM.contains(VERSION), "kafka/pom.xml asks for another Kafka than {VERSION}");
            let folder = cache().join(format!("kafka-{VERSION}"));
            let _lock = lock(&folder);
            if !folder.exists() {
                fetch(&folder);
            }
            let jars = Jars::in_folder(&folder);
            if !jars.archive.exists() {
                run_once(&jars, &[format!("-XX:ArchiveClassesAtExit={}", jars.archive.display())]);
            }
            jars
        });
        &JARS
    }

    /// Lists the jars one by one, because a class-data archive does not work with a wildcard in the class path.
    fn in_folder(folder: &Path) -> Self {
        let entries = fs::read_dir(folder).expect("the folder of jars can be listed");
        let mut jars: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()))
            .filter(|path| path.ends_with(".jar"))
            .collect();
        jars.sort();
        Self { class_path: jars.join(":"), archive: folder.join("classes.jsa") }
    }

    /// Adds all options before the main class to `command`, whose last word is `java`.
    pub(super) fn java(&self, mut command: Command) -> Command {
        command
            .args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"])
            // Compiles quickly rather than well, because a test's broker lives briefly.
            .args(["-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        if self.archive.exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", self.archive.display()));
        }
        command.args(["-cp", &self.class_path]);
        command
    }
}

/// Locks the folder against other test programs, also of other work trees.
fn lock(folder: &Path) -> File {
    let parent = folder.parent().expect("the cache folder has a parent");
    fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
    let path = beside(folder, "lock");
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    flock(&file, FlockOperation::LockExclusive).expect("a file of the cache folder can be locked");
    file
}

/// Fetches the jars. The folder gets its name only when it is complete.
fn fetch(folder: &Path) {
    let partial = beside(folder, "partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).unwrap_or_else(|error| panic!("{}: {error}", partial.display()));
    let pom = partial.join("pom.xml");
    fs::write(&pom, POM).expect("a new folder can be written to");
    eprintln!("fetching Kafka {VERSION} with Maven, once, into {}", folder.display());
    run(Command::new("mvn")
        .args(["-B", "-q", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", partial.display())));
    fs::rename(&partial, folder).expect("a folder can be renamed in place");
}

/// `folder` with `.suffix` appended to its name. The name contains a dot already, so `with_extension` does not work.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
