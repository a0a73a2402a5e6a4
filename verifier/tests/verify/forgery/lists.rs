//! Lists as long as their formats allow: each is read in little memory.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use bundle::Run;
use evidence::chain::Role;
use evidence::statement::{Action, KeyStatement, SignedStatement, Statement};
use evidence::{Entry, Hash};

use super::Forger;
use crate::common::bundles::Desk;
use crate::common::{Ledger, T0, key, stream};
use crate::event_proofs::{outsider, put};

/// The memory of the verifier in KiB, without code and stacks. A report of 65,536 streams takes
/// the most.
const MEMORY_KIB: u32 = 200_000;

/// The same for evidence that is kept in memory: an event proof of 64 MiB.
const LARGE_KIB: u32 = 500_000;

/// Runs the stand-alone verifier in this much memory, and requires the exit code. Returns the output.
#[track_caller]
fn ends(desk: &Desk, memory_kib: u32, exit_code: i32, more: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -d {memory_kib} && exec \"$@\"")).arg("sh");
    command.arg(env!("CARGO_BIN_EXE_streamseal-verify")).arg(&desk.inputs.bundle);
    command.arg("--trust").arg(&desk.inputs.trust).args(["--accept-gap", "start"]).args(more);
    for clone in &desk.inputs.clones {
        command.arg("--clone").arg(clone);
    }
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let start: String = said.chars().take(2000).collect();
    assert_eq!(output.status.code(), Some(exit_code), "{start}");
    said
}

/// A desk whose trust file sets no age, because the command uses the real clock.
fn desk() -> Desk {
    let desk = Forger::new().desk(true);
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    fs::write(&desk.inputs.trust, trust.replace("max-anchor-age 86400", "max-anchor-age -")).expect("written");
    ends(&desk, MEMORY_KIB, 0, &[]);
    desk
}

#[test]
fn manifest_of_65536_streams_fits_memory() {
    let desk = desk();
    let path = desk.inputs.bundle.join("manifest");
    let manifest = fs::read_to_string(&path).expect("read");
    let streams = manifest.lines().filter(|line| line.starts_with("stream ")).count();
    let mut long = manifest.replace(&format!("streams {streams}\n"), "streams 65536\n");
    // They come after all others, so that those keep their folders.
    (streams..65_536).for_each(|i| writeln!(long, "stream - zzz {i} 0 0 0 0 0").expect("a String takes all"));
    fs::write(&path, &long).expect("written");
    assert!(ends(&desk, MEMORY_KIB, 0, &[]).contains("zzz/65535: proven"));
    let json = ends(&desk, MEMORY_KIB, 0, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["streams"].as_array().map(Vec::len), Some(65_536));
    // Each of them is expected, and absent.
    let said = ends(&desk, MEMORY_KIB, 3, &["--stream", "*/*@0..1"]);
    assert!(said.contains(" more findings\n"), "unnamed findings are counted");
    // As many ranges as the auditor may name.
    let ranges: Vec<String> = (0..16).map(|i| format!("*/*@{}..{}", 2 * i, 2 * i + 1)).collect();
    let ranges: Vec<&str> = ranges.iter().flat_map(|range| ["--stream", range]).collect();
    ends(&desk, MEMORY_KIB, 3, &ranges);
}

#[test]
fn many_heads_lines_fit_memory() {
    let desk = desk();
    let heads = desk.inputs.bundle.join("heads");
    let manifest = desk.inputs.bundle.join("manifest");
    let text = fs::read_to_string(&manifest).expect("read");
    let honest = fs::read(&heads).expect("read").len();
    let hash = Hash([7; 32]);
    let long = "t".repeat(250);
    let partitions = (0..100_000).map(|i| format!("{long} {long} {i} 0 5 {hash}\n"));
    // The most of one partition, and then one more.
    let epochs = (0..65_536).map(|i| format!("{long} {long} 0 {i} 5 {hash}\n"));
    let epochs = epochs.chain([format!("{long} {long} 1 0 5 {hash}\n")]);
    for lines in [&mut partitions.into_iter() as &mut dyn Iterator<Item = String>, &mut epochs.into_iter()] {
        let mut lines: Vec<String> = lines.collect();
        lines.sort_unstable();
        let lines = lines.concat();
        fs::write(&manifest, text.replace(&format!("heads {honest}\n"), &format!("heads {}\n", lines.len())))
            .expect("written");
        fs::write(&heads, lines).expect("written");
        assert!(ends(&desk, MEMORY_KIB, 1, &[]).contains("altered-heads"));
    }
}

/// 64 MiB of key entries that decode: many small ones, and fewer with the most topic patterns.
fn key_entries(ledger: &Ledger) -> [Vec<Vec<u8>>; 2] {
    let entry = |pattern: &str| {
        let key = key("ingest-b", evidence::Algorithm::Ed25519, 33).verifier_key().clone();
        let Statement::Key(statement) = ledger.key_statement(Action::Grant, Role::Ingest, key, None) else {
            unreachable!("a key statement is made")
        };
        let topics = vec![pattern.parse().expect("a pattern"); if pattern.len() > 1 { 60 } else { 1 }];
        let statement = Statement::Key(KeyStatement { topics, ..statement });
        let signed = SignedStatement::sign(statement, &[&ledger.operator]);
        ledger.state.draft(signed, 0).to_bytes()
    };
    [entry("x"), entry(&"x".repeat(250))].map(|entry| {
        Entry::parse(&entry).expect("an entry");
        vec![entry.clone(); (62 << 20) / (entry.len() + 32)]
    })
}

#[test]
fn many_key_entries_fit_memory() {
    let ledger = Ledger::example();
    for entries in key_entries(&ledger) {
        let mut desk = Desk::new(&ledger.trust());
        let mut bundle = ledger.bundle_of(&[0].into(), 12);
        let runs = entries.chunks(1024).zip(0..);
        // They are in no tree, which is found only after they were scanned.
        let run = |(entries, i): (&[Vec<u8>], u64)| Run {
            first: 1024 * i,
            left: vec![Hash([0; 32])],
            right: Vec::new(),
            entries: entries.to_vec(),
        };
        bundle.runs = runs.map(run).collect();
        desk.put(&bundle);
        assert!(ends(&desk, MEMORY_KIB, 5, &[]).contains("hashes instead of"));
    }
}

#[test]
fn many_key_entries_in_event_proof_fit_memory() {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust_with(&outsider(), "-"));
    for entries in key_entries(&ledger) {
        let mut proof = ledger.event_proof(&stream("orders", 0, 0), 13, 12);
        proof.proof.checkpoint = ledger.checkpoint(12);
        proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
        proof.keys = entries;
        put(&mut desk, &proof);
        drop(proof);
        assert!(ends(&desk, LARGE_KIB, 3, &[]).contains("absent-entry"));
    }
}

#[test]
fn many_runs_of_one_entry_fit_memory() {
    let ledger = Ledger::example();
    let mut desk = Desk::new(&ledger.trust());
    let mut bundle = ledger.bundle_of(&[0].into(), 12);
    let run = |first| Run { first, left: vec![Hash([0; 32]); 2], right: Vec::new(), entries: vec![b"x".to_vec()] };
    bundle.runs = (0..200_000).map(run).collect();
    desk.put(&bundle);
    assert!(ends(&desk, MEMORY_KIB, 5, &[]).contains(" more findings\n"));
}

#[test]
fn many_witnesses_fit_memory() {
    let desk = desk();
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    let mut lines = String::new();
    for i in 0..600_u32 {
        let seed = [i.to_be_bytes(); 8].concat().try_into().expect("32 bytes");
        let key = evidence::SigningKey::from_seed("w", evidence::Algorithm::Cosignature, &seed).expect("a name");
        writeln!(lines, "witness w{i} {}", key.verifier_key()).expect("a String takes all");
    }
    fs::write(&desk.inputs.trust, trust.replace("\nquorum ", &format!("\n{lines}quorum "))).expect("written");
    ends(&desk, MEMORY_KIB, 0, &[]);
}

#[test]
fn too_many_expectations_are_usage() {
    let mut desk = desk();
    let all = vec!["orders/0"; 1001];
    assert_eq!(desk.expect(&all[..1000]).verify().findings, []);
    desk.expect(&all).refused(2, "usage");
    let arguments: Vec<&str> = all.iter().flat_map(|expectation| ["--stream", expectation]).collect();
    assert!(ends(&desk, MEMORY_KIB, 2, &arguments).contains("more than 1000 expectations"));
}
