//! The command as users run it: the demo, a new ledger, bad input, and the operator's commands on a real Kafka.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testbed::{Kafka, Postgres, Process, Scratch, free_port, http_get, run, streamseal, until};

const WITHIN: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(streamseal());
    command.args(arguments);
    command
}

fn refused(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{stderr}");
    stderr
}

#[test]
fn the_demo_shows_proven_and_tampered() {
    let folder = Scratch::new("demo");
    let dir = folder.join("demo");
    let shown = run(command(&["demo", "--events", "3000", "--dir"]).arg(&dir));
    let proven = shown.find("PROVEN ").expect("a proven verdict");
    let tampered = shown.find("TAMPERED ").expect("a tampered verdict");
    assert!(proven < tampered, "{shown}");
    assert!(shown.contains("exported 3000 events"), "{shown}");
    assert!(shown[tampered..].contains("[altered-event]"), "{shown}");

    // A user can verify the files that it leaves.
    let verify = |bundle: &str| {
        let mut verify = command(&["verify", "--trust"]);
        verify.arg(dir.join("trust")).arg("--clone").arg(dir.join("anchors.git")).arg(dir.join(bundle));
        verify.output().unwrap().status.code()
    };
    assert_eq!((verify("bundle"), verify("bundle-tampered")), (Some(0), Some(1)));
}

#[test]
fn the_demo_seals_its_input() {
    let folder = Scratch::new("lines");
    let mut demo = command(&["demo", "--input", "-", "--dir"]);
    let demo = demo.arg(folder.join("demo")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    demo.stdin.take().unwrap().write_all(b"first\n\nlast, without a newline").unwrap();
    let Output { status, stdout, stderr } = demo.wait_with_output().unwrap();
    let (shown, logged) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{shown}{logged}");
    assert!(shown.contains("exported 3 events"), "{shown}");
}

#[test]
fn bad_input_is_named() {
    let folder = Scratch::new("bad-input");
    let ledger = folder.join("ledger");
    run(command(&["init", "--origin", "example.com/audit", "--bootstrap-servers", "127.0.0.1:1"]).arg(&ledger));
    let again = refused(command(&["init"]).arg(&ledger));
    assert!(again.contains("is not empty"), "{again}");

    let config = ledger.join("streamseal.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (change, to, wanted) in [
        ("topics =", "topcis =", &["streamseal.toml:", "`ingest", "topcis"][..]),
        ("listen = \"127.0.0.1:7381\"", "listen = 7381", &["`ingest.listen`"]),
        ("genesis.note", "absent.note", &["ledger.genesis", "absent.note"]),
        ("[ingest]", "[ingest]\nbatch_events = 0", &["ingest.batch_events", "at least 1"]),
        ("origin = \"example.com/audit\"", "origin = \"example.com/other\"", &["ledger.origin"]),
    ] {
        fs::write(&config, good.replacen(change, to, 1)).unwrap();
        let refused = refused(command(&["ingest", "--config"]).arg(&config));
        for part in wanted {
            assert!(refused.contains(part), "{refused:?} should name {part:?}");
        }
    }
    let absent = refused(&mut command(&["up", "--config", "/nonexistent/streamseal.toml"]));
    assert!(absent.contains("/nonexistent/streamseal.toml"), "{absent}");
    let key = ledger.join("keys/ingest.key");
    let kept = refused(command(&["keygen", "--name", "x", "--role", "ingest"]).arg(&key));
    assert!(kept.contains("ingest.key"), "{kept}");
}

/// A ledger on a real Kafka and PostgreSQL, all services in one process.
struct Ledger {
    folder: Scratch,
    kafka: &'static Kafka,
    topic: String,
    committer: SocketAddr,
    ingest: SocketAddr,
    up: Process,
}

impl Ledger {
    fn start() -> Self {
        let folder = Scratch::new("operator");
        let kafka = Kafka::shared();
        let topic = kafka.topic("operated", 1);
        let mut init = command(&["init", "--topic", &topic, "--bootstrap-servers", kafka.bootstrap()]);
        run(init.args(["--database", &Postgres::shared().database()]).arg(folder.join("ledger")));
        let [committer, ingest, anchor] =
            [free_port(), free_port(), free_port()].map(|p| SocketAddr::from(([127, 0, 0, 1], p)));
        let path = folder.join("ledger/streamseal.toml");
        let config = fs::read_to_string(&path).unwrap();
        let config = config.replace("127.0.0.1:7380", &committer.to_string());
        let config = config.replace("127.0.0.1:7381", &ingest.to_string());
        let config = config.replace("127.0.0.1:7382", &anchor.to_string());
        // Each test has its own topic of commitments. Heads and anchors come every second.
        let own = format!("[committer]\ncommitments_topic = \"streamseal.commitments.{topic}\"\nheads_s = 1");
        let config = config.replace("[committer]", &own).replace("[anchor]", "[anchor]\ninterval_s = 1");
        // Each test has its own group, so that tests do not wait for each other's members.
        let config = config.replace("[ingest]", &format!("[ingest]\ngroup = \"{topic}\""));
        let config = config.replace("[kafka]", "[kafka]\n\"session.timeout.ms\" = 6000");
        fs::write(&path, config).unwrap();
        kafka.create_topic(&format!("streamseal.commitments.{topic}"), 1, &[]);
        let mut up = Process::command(streamseal());
        up.args(["up", "--config"]).arg(&path);
        let up = Process::start("up", folder.join("up.log"), up);
        let ledger = Self { folder, kafka, topic, committer, ingest, up };
        until("all services are ready", WITHIN, || {
            ledger.up.assert_running();
            [committer, ingest, anchor].iter().all(|a| http_get(*a, "/readyz").is_some_and(|(status, _)| status == 200))
        });
        ledger
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("ledger").join(name)
    }

    /// Runs a command with the ledger's configuration.
    fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--config").arg(self.path("streamseal.toml"));
        command
    }

    fn operator(&self, arguments: &[&str]) -> String {
        run(self.command(arguments).arg("--operator-key").arg(self.path("keys/operator.key")))
    }

    fn produce(&self, lines: u32) {
        let file = self.folder.join("lines");
        let text: String = (0..lines).map(|i| format!("event {i}\n")).collect();
        fs::write(&file, text).unwrap();
        self.kafka.kcat().produce(&self.topic, 0, &file);
    }

    fn cursor(&self) -> Value {
        let (cluster, topic) = (self.kafka.cluster_id(), &self.topic);
        let query = format!("/v1/cursors?cluster={cluster}&topic={topic}&partition=0");
        let (_, body) = http_get(self.committer, &query).expect("the committer answers");
        serde_json::from_str(&body).unwrap()
    }

    fn until_sealed(&self, epoch: u64, next: u64) {
        until(&format!("epoch {epoch} is sealed up to {next}"), WITHIN, || {
            self.up.assert_running();
            let cursor = self.cursor();
            let number = |field: &str| cursor[field].as_str().and_then(|text| text.parse::<u64>().ok());
            (number("epoch"), number("next")) == (Some(epoch), Some(next))
        });
    }

    /// Exports a full bundle once an anchor covers all offsets up to `last`.
    fn exported_up_to(&self, last: u64) -> PathBuf {
        let bundle = self.folder.join("bundle");
        until("everything is anchored", WITHIN, || {
            let _ = fs::remove_dir_all(&bundle);
            let exported = self.command(&["export"]).arg(&bundle).output().unwrap().status.success();
            exported && self.verify(&bundle, &[]).1.contains(&format!("offsets 0 to {last}"))
        });
        bundle
    }

    fn verify(&self, bundle: &Path, more: &[&str]) -> (Option<i32>, String) {
        let mut verify = command(&["verify", "--trust"]);
        verify.arg(self.path("trust")).arg("--clone").arg(self.path("anchors.git")).args(more).arg(bundle);
        let Output { status, stdout, .. } = verify.output().unwrap();
        (status.code(), String::from_utf8_lossy(&stdout).into_owned())
    }

    fn halted(&self, why: &str) {
        until(&format!("sealing halts: {why}"), WITHIN, || {
            http_get(self.ingest, "/readyz").is_some_and(|(status, body)| status == 503 && body.contains(why))
        });
    }
}

#[test]
fn verify_batch_takes_a_place_or_a_commitment() {
    let ledger = Ledger::start();
    ledger.produce(100);
    ledger.until_sealed(0, 100);
    let (place, commitments) = (format!("{}/0@50", ledger.topic), format!("streamseal.commitments.{}", ledger.topic));
    until("the batch is in a checkpoint", WITHIN, || {
        ledger.command(&["verify-batch", &place]).output().unwrap().status.success()
    });
    let shown = ledger.run(&["verify-batch", &place]);
    assert!(shown.contains("as sealed"), "{shown}");

    let commitment = || ledger.kafka.kcat().consume_with_format(&commitments, "%s\n");
    until("the batch is published", WITHIN, || commitment().contains("\"kind\":\"summary\""));
    let published = commitment();
    let commitment = published.lines().find(|line| line.contains("\"kind\":\"summary\"")).unwrap();
    let file = ledger.folder.join("commitment");
    fs::write(&file, commitment).unwrap();
    let shown = run(ledger.command(&["verify-batch"]).arg("--commitment").arg(&file));
    assert!(shown.contains("as sealed"), "{shown}");

    let unsealed = refused(&mut ledger.command(&["verify-batch", &format!("{}/0@100", ledger.topic)]));
    assert!(unsealed.contains("offset 100 is not sealed"), "{unsealed}");
    // Kafka lost events of the batch, which does not prove tampering.
    ledger.kafka.delete_records(&ledger.topic, 0, 60);
    let Output { status, stdout, .. } = ledger.command(&["verify-batch", &place]).output().unwrap();
    let shown = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(3), "{shown}");
    assert!(shown.contains("Kafka has 40 of 100 events, by their number"), "{shown}");
}

#[test]
fn an_event_proof_verifies_offline() {
    let ledger = Ledger::start();
    ledger.produce(100);
    ledger.until_sealed(0, 100);
    let place = |offset| format!("{}/0@{offset}", ledger.topic);
    let mut proof = String::new();
    until("the event is anchored", WITHIN, || {
        let Output { status, stdout, .. } = ledger.command(&["prove", &place(50)]).output().unwrap();
        proof = String::from_utf8(stdout).unwrap();
        status.success()
    });
    let verify = |proof: &str| {
        let file = ledger.folder.join("event.proof");
        fs::write(&file, proof).unwrap();
        ledger.verify(&file, &[])
    };
    let (code, shown) = verify(&proof);
    assert_eq!(code, Some(0), "{shown}");
    let (code, shown) = verify(&proof.replacen("\nevent 50 ", "\nevent 51 ", 1));
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("[altered-event]"), "{shown}");

    let unsealed = refused(&mut ledger.command(&["prove", &place(100)]));
    assert!(unsealed.contains("offset 100 is not sealed"), "{unsealed}");
}

#[test]
fn keys_are_granted_listed_and_revoked() {
    let ledger = Ledger::start();
    let key = run(command(&["keygen", "--name", "ingest-b", "--role", "ingest"]).arg(ledger.folder.join("b.key")));
    let key = key.trim();
    let granted = ledger.operator(&["key", "grant", key, "--role", "ingest", "--scope", "other*"]);
    assert!(granted.contains("ingest key ingest-b is granted"), "{granted}");
    let operator = |arguments: &[&str]| {
        let mut command = ledger.command(arguments);
        command.arg("--operator-key").arg(ledger.path("keys/operator.key"));
        command
    };
    let again = refused(&mut operator(&["key", "grant", key, "--role", "ingest", "--scope", "other*"]));
    assert!(again.contains("bad-key"), "{again}");
    let revoked = ledger.operator(&["key", "revoke", "ingest-b", "--distrust-from", "1"]);
    assert!(revoked.contains("ingest key ingest-b is revoked"), "{revoked}");
    let listed = ledger.run(&["key", "list"]);
    let line = listed.lines().find(|line| line.contains(key)).expect("is listed");
    assert!(line.contains("other*") && line.contains("revoked in entry") && line.contains("distrusted from entry 1"));
    let last = refused(&mut operator(&["key", "revoke", "operator"]));
    assert!(last.contains("the last operator key"), "{last}");
    let wrong = ledger.path("keys/ingest.key");
    let mut by_ingest = ledger.command(&["key", "revoke", "ingest-a"]);
    let by_ingest = refused(by_ingest.arg("--operator-key").arg(wrong));
    assert!(by_ingest.contains("wrong-role"), "{by_ingest}");
}

#[test]
fn operator_begins_epoch_and_signs_gap() {
    let ledger = Ledger::start();
    ledger.produce(10);
    ledger.until_sealed(0, 10);
    ledger.kafka.delete_topic(&ledger.topic);
    ledger.kafka.create_topic(&ledger.topic, 1, &[]);
    ledger.produce(20);
    ledger.halted("recreated");
    let begun = ledger.operator(&["epoch", "--topic", &ledger.topic]);
    assert!(begun.contains("epoch 1 begins at offset 0"), "{begun}");
    ledger.until_sealed(1, 20);
    // Kafka now has other events at the offsets of the first epoch, which does not prove tampering.
    let place = format!("{}/0@5", ledger.topic);
    until("the batch is in a checkpoint", WITHIN, || {
        ledger.command(&["verify-batch", &place]).output().unwrap().status.success()
    });
    let Output { status, stdout, .. } = ledger.command(&["verify-batch", "--epoch", "0", &place]).output().unwrap();
    let shown = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(3), "{shown}");
    assert!(shown.contains("it was recreated"), "{shown}");

    let gap = ledger.operator(&["gap", "--topic", &ledger.topic, "--partition", "0", "--next", "25"]);
    assert!(gap.contains("is not sealed from 20 to 24"), "{gap}");
    ledger.produce(10);
    ledger.until_sealed(1, 30);

    let bundle = ledger.exported_up_to(29);
    let expect = format!("{}/0#1", ledger.topic);
    let (code, report) = ledger.verify(&bundle, &["--stream", &expect]);
    assert_eq!(code, Some(3), "a gap is not complete unless it is accepted: {report}");
    let (code, report) = ledger.verify(&bundle, &["--stream", &expect, "--accept-gap", "operator"]);
    assert_eq!(code, Some(0), "{report}");
    let (code, report) = ledger.verify(&bundle, &["--accept-gap", "operator"]);
    assert_eq!(code, Some(3), "Kafka lost the events of the first epoch with their topic: {report}");
    assert!(report.contains("offsets 0 to 9"), "{report}");
}

#[test]
fn export_takes_a_range_of_time() {
    let ledger = Ledger::start();
    ledger.produce(10);
    ledger.until_sealed(0, 10);
    let between = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    ledger.produce(5);
    ledger.until_sealed(0, 15);
    ledger.exported_up_to(14);
    for (option, events, offsets) in [("--since", 5, "10..15"), ("--until", 10, "0..10")] {
        let bundle = ledger.folder.join(option);
        let shown = run(ledger.command(&["export", option, &between]).arg(&bundle));
        assert!(shown.contains(&format!("{events} events")), "{shown}");
        let (code, report) = ledger.verify(&bundle, &["--stream", &format!("{}/0@{offsets}", ledger.topic)]);
        assert_eq!(code, Some(0), "{report}");
        let (code, report) = ledger.verify(&bundle, &["--stream", &format!("{}/0@0..15", ledger.topic)]);
        assert_eq!(code, Some(3), "the other events are not in the bundle: {report}");
    }
}
