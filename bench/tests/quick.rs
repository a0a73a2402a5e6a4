//! Every case runs on real servers and leaves results and a report. The values mean nothing here.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use bench::{Addresses, Plan, Results, Servers, cases, line};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: line::Options,
}

/// Runs a case, or its measurements with these words in their names, and returns the names.
fn measure(case: &str, only: Option<&str>) -> Vec<String> {
    let folder = testbed::Scratch::new("run");
    let plan = Plan {
        cases: vec![cases::named(case).unwrap()],
        runs: 1,
        quick: true,
        only: only.map(str::to_owned),
        line: Line::parse_from(["line"]).options,
    };
    plan.run(&Servers::new(Addresses::default()).unwrap(), folder.path()).unwrap();
    let report = std::fs::read_to_string(folder.join("report.md")).unwrap();
    let results = Results::read(folder.path()).unwrap();
    let names: Vec<String> = results.measurements().map(|(_, measured)| measured.name.clone()).collect();
    for name in &names {
        assert!(report.contains(&format!("| {name} |")), "{name} is not in\n{report}");
    }
    names
}

#[test]
fn line() {
    let name = "1 KiB, 8 partitions";
    let more = ["peak memory", "stored per entry", "time of all processors"].map(|what| format!("{name}: {what}"));
    let names: Vec<_> = [name.to_owned()].into_iter().chain(more).collect();
    assert_eq!(measure("line", Some(name)), names);
}

#[test]
fn latency() {
    assert_eq!(measure("latency", Some("8 partitions")), ["8 partitions: p50", "8 partitions: p99"]);
}

#[test]
fn leaves() {
    assert_eq!(measure("leaves", Some("1 KiB")), ["1 KiB"]);
}

#[test]
fn anchor() {
    let names = ["1000 anchors in the repository", "100000 anchors in the repository"];
    assert_eq!(measure("anchor", None), names);
}

#[test]
fn committer() {
    let name = "2 committers, 64 to a request";
    assert_eq!(measure("committer", Some(name)), [name]);
}

#[test]
fn append() {
    assert_eq!(measure("append", Some("64 to a request")), ["64 to a request", "64 to a request: signed"]);
}

#[test]
fn scale() {
    let names = ["start", "append", "checkpoint", "proof"].map(|what| format!("{what}, 10^8 entries"));
    assert_eq!(measure("scale", Some("10^8")), names);
}

#[test]
fn verify() {
    assert_eq!(measure("verify", Some("100 B")), ["100 B", "100 B: each core", "100 B: peak memory"]);
}

#[test]
fn proofs() {
    let names = ["one at a time", "in bulk, any events", "in bulk, whole batches", "from bytes, any events", "alone"];
    assert_eq!(measure("proofs", None), names);
}
