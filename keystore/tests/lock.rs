//! The lock between processes. It has a process of its own: a child that is just being started briefly holds the locks of
//! all other tests in its parent.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use keystore::{Error, HighWater};

const ORIGIN: &str = "example.com/audit";

#[test]
fn lock_of_another_process_is_respected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.key.high-water");
    let mut other = Command::new("flock")
        .arg(folder.path().join("log.key.high-water.lock"))
        .args(["sh", "-c", "echo held; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock of util-linux runs");
    let mut line = String::new();
    BufReader::new(other.stdout.as_mut().expect("piped")).read_line(&mut line).expect("speaks");
    assert_eq!(line, "held\n");
    let error = HighWater::open(&path, ORIGIN).expect_err("held");
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(other.stdin.take());
    other.wait().expect("ends with its input");
    HighWater::open(&path, ORIGIN).expect("opens");
}
