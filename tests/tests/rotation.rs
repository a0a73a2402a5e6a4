//! Rotation of the log key while a ledger runs, on the in-process broker, SQLite and a bare repository.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use kafka::{Cluster, EmbeddedBroker, Producer, Properties, Record};
use testbed::anchors::AnchorClone;
use testbed::ledger::{Ledger, Neighbours, PROVEN, TAMPERED, verify};
use testbed::{BareRepository, Scratch, run, streamseal, until};

const ORIGIN: &str = "example.com/rotated";
const TOPIC: &str = "orders";
const WITHIN: Duration = Duration::from_secs(60);

/// A ledger and its servers.
struct Site {
    folder: Scratch,
    broker: EmbeddedBroker,
    ledger: Ledger,
    produced: u64,
}

impl Site {
    fn start() -> Self {
        let folder = Scratch::new("rotation");
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic(TOPIC, 1).unwrap();
        broker.create_topic("commitments", 1).unwrap();
        let remote = folder.join("anchors.git");
        BareRepository::new(remote.clone());
        let neighbours = Neighbours {
            bootstrap: broker.bootstrap_servers(),
            database: "sqlite:chain.db",
            remote: remote.to_str().unwrap(),
            topics: &[TOPIC],
            commitments: "commitments",
            batch_events: 50,
        };
        let ledger = Ledger::start("rotated", folder.join("ledger"), ORIGIN, &neighbours);
        Self { folder, broker, ledger, produced: 0 }
    }

    /// Produces events and waits until they are sealed and anchored.
    fn go_on(&mut self) {
        let producer = Producer::new(&self.properties()).unwrap();
        for i in 0..100_u32 {
            let value = format!("event {i}");
            let record =
                Record { topic: TOPIC, partition: Some(0), value: Some(value.as_bytes()), ..Record::default() };
            assert!(producer.send(&record, WITHIN).unwrap());
        }
        assert!(producer.flush(WITHIN).unwrap());
        self.produced += 100;
        let cluster = Cluster::new(&self.properties(), WITHIN).unwrap().id().unwrap();
        until("the events are sealed", WITHIN, || {
            self.ledger.assert_running();
            self.ledger.sealed(&cluster, TOPIC, 0) == Some(self.produced)
        });
        self.ledger.until_anchored(&self.remote(), ORIGIN, &cluster, &[(TOPIC.to_owned(), 0)]);
    }

    fn properties(&self) -> Properties {
        Properties::new([("bootstrap.servers", self.broker.bootstrap_servers())]).unwrap()
    }

    fn remote(&self) -> PathBuf {
        self.folder.join("anchors.git")
    }

    /// The refusal of the operator's revocation of `key`.
    fn refused_to_revoke(&self, key: &str) -> String {
        let Output { status, stderr, .. } = self.ledger.try_operate(&["key"], &["revoke", key]);
        assert_eq!(status.code(), Some(2));
        String::from_utf8(stderr).unwrap()
    }
}

#[test]
fn everything_follows_a_new_log_key() {
    let mut site = Site::start();
    site.go_on();
    let (old_key, new_key) = (site.ledger.path("keys/log.key"), site.ledger.path("keys/log-b.key"));
    let trust = fs::read_to_string(site.ledger.trust()).unwrap();
    let old = trust.lines().find_map(|line| line.strip_prefix("log ")).expect("the genesis' log key").to_owned();
    assert!(site.refused_to_revoke(ORIGIN).contains("is the last log key"));

    // The new key is granted and replaces the old one beside its state file.
    let made = run(Command::new(streamseal()).arg("keygen").arg(&new_key).args(["--name", ORIGIN, "--role", "log"]));
    let new = made.trim().to_owned();
    site.ledger.operate(&["key"], &["grant", &new, "--role", "log"]);
    assert!(site.ledger.committer.stop().success());
    fs::rename(&old_key, site.ledger.path("keys/log-a.key")).unwrap();
    fs::rename(&new_key, &old_key).unwrap();
    site.ledger.committer.start_again();
    site.ledger.committer.until_ready();
    site.go_on();

    let which = site.refused_to_revoke(ORIGIN);
    assert!(which.contains(&old) && which.contains(&new), "{which}");
    site.ledger.operate(&["key"], &["revoke", &old]);
    assert!(site.refused_to_revoke(&new).contains("is the last log key"));
    site.go_on();
    site.ledger.services().into_iter().for_each(|service| service.until_ready());
    site.ledger.fsck();

    // The live check, and the auditor whose trust file has both keys.
    run(site.ledger.command(&["verify-batch"]).arg(format!("{TOPIC}/0@{}", site.produced - 1)));
    run(site.ledger.command(&["verify-batch"]).arg(format!("{TOPIC}/0@0")));
    let (bundle, clone) = (site.folder.join("bundle"), site.folder.join("clone"));
    site.ledger.export(&bundle);
    let clone = AnchorClone::of(site.remote().to_str().unwrap(), clone);
    let with = |name: &str, text: String| {
        let path = site.folder.join(name);
        fs::write(&path, text).unwrap();
        verify(&path, &bundle, clone.path(), None)
    };
    let both = trust.replace(&format!("log {old}\n"), &format!("log {old}\nlog {new}\n"));
    let verdict = with("both", both);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    let proven = &verdict.report["streams"][0];
    assert!(proven.to_string().contains(&site.produced.to_string()), "{proven:#}");
    // Without the new key in the trust file, its checkpoints are refused.
    with("old", trust.clone()).require(TAMPERED, "not-by-log", &[]);
    // Without the old key, the old anchors are refused.
    with("new", trust.replace(&old, &new)).require(TAMPERED, "not-by-log", &[]);
}
