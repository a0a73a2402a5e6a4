//! `streamseal-verify` as an auditor runs it.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::T0;
use crate::proven;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamseal-verify")).args(args).output().expect("runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn verdicts_are_exit_codes() {
    let (ledger, mut desk) = proven::desk();
    // By the real clock, the example's anchors are old.
    std::fs::write(&desk.inputs.trust, ledger.trust_with(&ledger.anchor, "-")).expect("written");
    let (bundle, trust, clone) = (desk.path("bundle"), desk.path("trust"), desk.path("anchors.git"));
    let all = [text(&bundle), "--trust", text(&trust), "--clone", text(&clone)];
    let proven = run(&all);
    assert_eq!(proven.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&proven.stdout).starts_with("PROVEN  ledger example.com/audit"));

    let json = run(&[&all[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["verdict"], "proven");
    assert_eq!(json["newest_at_s"], (T0 + 180).to_string());

    assert_eq!(run(&[&all[..], &["--stream", "orders/0@0..31"]].concat()).status.code(), Some(3));
    assert_eq!(run(&all[..3]).status.code(), Some(4));
    let mut forged = ledger.bundle();
    forged.batch(5).events[0].timestamp += 1;
    desk.put(&forged);
    let tampered = run(&all);
    assert_eq!(tampered.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&tampered.stdout).into_owned();
    assert!(
        stdout.contains("tampered: orders/0, offset 10, entry 5: the event is not what was sealed [altered-event]")
    );
    assert_eq!(run(&["nowhere", "--trust", text(&trust)]).status.code(), Some(5));
}

#[test]
fn time_of_verification_can_be_given() {
    let (_, desk) = proven::desk();
    let (bundle, trust, clone) = (desk.path("bundle"), desk.path("trust"), desk.path("anchors.git"));
    let at = |now: &[&str]| {
        let all = [text(&bundle), "--trust", text(&trust), "--clone", text(&clone)];
        run(&[&all[..], now].concat()).status.code()
    };
    // The newest anchor is of T0 + 180 and may be a day old. T0 is 2027-01-15T08:00:00Z.
    let last = T0 + 180 + 86_400;
    assert_eq!(at(&["--now", &last.to_string()]), Some(0));
    assert_eq!(at(&["--now", &(last + 1).to_string()]), Some(4));
    assert_eq!(at(&["--now", "2027-01-16T08:03:00Z"]), Some(0));
    assert_eq!(at(&["--now", "2027-01-16T09:03:01+01:00"]), Some(4));
}

#[test]
fn trust_file_is_required() {
    let (_, desk) = proven::desk();
    let bundle = desk.path("bundle");
    let output = run(&[text(&bundle)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--trust"));
}

#[test]
fn nonsense_is_usage() {
    for args in [
        &["b", "--trust", "t", "--stream", "orders"][..],
        &["b", "--trust", "t", "--stream", "orders/2147483648"],
        &["b", "--trust", "t", "--now", "noon"],
        &["b", "--trust", "t", "--accept-gap", "bored"],
        &["b", "--trust", "t", "--nonsense"],
        &[],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}
