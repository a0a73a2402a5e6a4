//! docs/operations.md: a running ledger on the embedded parts, taken through every section.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kafka::{Cluster, EmbeddedBroker, Properties};
use testbed::anchors::{AnchorClone, anchored_size};
use testbed::ledger::{Ledger, Neighbours, PROVEN, Service, verify};
use testbed::{BareRepository, GitSsh, Kafka, Scratch, events, until};

use crate::page::{self, Command};
use crate::shell::Shell;
use crate::{Exception, assert_all_met};

const EXCEPTIONS: [Exception; 1] =
    [("kafka-topics.sh", "the test of README.md creates its topic of commitments with this command")];

const ORIGIN: &str = "example.com/audit";
const WITHIN: Duration = Duration::from_secs(60);

/// Partition 3 of `orders`, as in the page.
const PARTITION: u32 = 3;
const EVENTS: u64 = 100;

struct Operator {
    shell: Shell,
    broker: EmbeddedBroker,
    ledger: Ledger,
    remote: BareRepository,
    /// Only its host key is asked for.
    _ssh: GitSsh,
}

#[test]
fn operations_commands_run() {
    let folder = Scratch::new("operator");
    let commands = page::commands("docs/operations.md");
    assert_all_met(&EXCEPTIONS, &commands);
    let mut operator = Operator::start(folder.join("operator"));
    for command in commands {
        if !EXCEPTIONS.iter().any(|(part, _)| command.text.contains(part)) {
            operator.before(&command);
            operator.run(&command);
            operator.after(&command);
        }
    }
    operator.shell.assert_all_used();
    operator.ledger.assert_running();
    operator.ledger.fsck();
}

impl Operator {
    fn start(folder: PathBuf) -> Self {
        let mut shell = Shell::new(folder.clone());
        let broker = events::broker(&[("orders", 4), ("commitments", 1)]);
        let remote = BareRepository::new(shell.path("anchors.git"));
        let neighbours = Neighbours {
            bootstrap: broker.bootstrap_servers(),
            database: "sqlite:chain.db",
            remote: remote.path().to_str().unwrap(),
            topics: &["orders"],
            commitments: "commitments",
            batch_events: 50,
        };
        let ledger = Ledger::start("operated", shell.path("ledger"), ORIGIN, &neighbours);
        events::produce(broker.bootstrap_servers(), "orders", PARTITION, (0..EVENTS).map(|i| format!("order {i}")));
        // Kept offline, as the page says.
        fs::rename(ledger.path("keys/operator.key"), shell.path("operator.key")).unwrap();
        let ssh = GitSsh::start();
        let operator_words = [
            ("FILE", "ledger/streamseal.toml".to_owned()),
            ("ORIGIN", ORIGIN.to_owned()),
            ("BROKER", broker.bootstrap_servers().to_owned()),
            ("security.protocol=...", "security.protocol=PLAINTEXT".to_owned()),
            ("LOW", "0".to_owned()),
            ("N+1", (EVENTS + 1).to_string()),
            ("BASE_OFFSET", (EVENTS + 2).to_string()),
            ("URL", remote.path().to_str().unwrap().to_owned()),
            ("NAME", remote.path().to_str().unwrap().to_owned()),
            ("HOST", format!("-p {} 127.0.0.1", ssh.port())),
            ("SEGMENT.log", segment().to_str().unwrap().to_owned()),
            ("SEQ", "5".to_owned()),
        ];
        operator_words.into_iter().for_each(|(word, value)| shell.set(word, value));
        let operator = Self { shell, broker, ledger, remote, _ssh: ssh };
        operator.until_sealed_and_anchored();
        operator
    }

    fn until_sealed_and_anchored(&self) {
        let properties = Properties::new([("bootstrap.servers", self.broker.bootstrap_servers())]).unwrap();
        let cluster = Cluster::new(&properties, WITHIN).unwrap().id().unwrap();
        until("the events are sealed", WITHIN, || {
            self.ledger.assert_running();
            self.ledger.sealed(&cluster, "orders", PARTITION) == Some(EVENTS)
        });
        self.ledger.until_anchored(self.remote.path(), ORIGIN, &cluster, &[("orders".to_owned(), PARTITION)]);
    }
}

impl Operator {
    /// Brings the ledger into the state that the command assumes.
    fn before(&mut self, command: &Command) {
        let text = command.text.as_str();
        match command.section.as_str() {
            "Rotate the log key" => self.shell.set("OLD-VKEY", self.trusted("log ")),
            "Rotate the anchor key" => self.shell.set("OLD-VKEY", self.trusted("witness ")),
            // Rotated above.
            "A key was in other hands" => self.shell.set("ingest-a", "ingest-b"),
            _ => {}
        }
        if text.starts_with("mv ledger/keys/log.key") || text.starts_with("DELETE") || is_adoption(text, "committer") {
            assert!(self.ledger.committer.stop().success());
        }
        if is_adoption(text, "committer") {
            fs::remove_file(self.ledger.path("keys/log.key.high-water")).unwrap();
        }
        if text.starts_with("DELETE FROM publications") {
            let topic = "streamseal.commitments.again";
            self.broker.create_topic(topic, 1).unwrap();
            self.configure("commitments_topic = \"commitments\"", &format!("commitments_topic = \"{topic}\""));
        }
        if is_adoption(text, "anchor") {
            assert!(self.ledger.anchor.stop().success());
            if command.section == "Rotate the anchor key" {
                self.configure("\"keys/anchor.key\"", "\"../anchor-b.key\"");
            }
        }
    }

    fn run(&mut self, command: &Command) {
        if let Some(comment) = command.text.strip_prefix("# ") {
            assert!(comment.starts_with("restart `streamseal ingest`"), "{}: {comment}: not known here", command.place);
            self.restart(&self.ledger.ingest);
            return;
        }
        if command.text.starts_with("DELETE") {
            let text = format!("sqlite3 ledger/chain.db \"{}\"", command.text);
            self.shell.run(&Command { place: command.place.clone(), section: command.section.clone(), text });
            return;
        }
        let printed = self.shell.run(command);
        if command.text.starts_with("streamseal keygen") {
            let key = printed.split_whitespace().find(|word| word.contains('+'));
            self.shell.set("VKEY", key.unwrap_or_else(|| panic!("keygen prints no key: {printed}")));
        }
    }

    /// Does the steps that the page has in words after a command.
    fn after(&mut self, command: &Command) {
        let text = command.text.as_str();
        if text.starts_with("mv log-b.key") || text.starts_with("DELETE") || is_adoption(text, "committer") {
            self.start_again(&self.ledger.committer);
        }
        if is_adoption(text, "anchor") {
            self.start_again(&self.ledger.anchor);
        }
        match command.section.as_str() {
            "Rotate the log key" if text.contains(" grant ") => self.change_trust(&[], "log VKEY"),
            "Rotate the anchor key" if text.contains(" revoke ") => {
                self.change_trust(&["witness ", "quorum "], &trust_lines());
                self.audit();
            }
            "Rotate the operator key" if text.contains(" revoke ") => {
                fs::rename(self.shell.path("operator-b.key"), self.shell.path("operator.key")).unwrap();
            }
            _ => {}
        }
    }

    /// Replaces the lines of the auditors' trust file that begin with one of `kinds`, as the page says.
    fn change_trust(&mut self, kinds: &[&str], lines: &str) {
        let path = self.shell.path("trust");
        let old = fs::read_to_string(if path.exists() { path.clone() } else { self.ledger.trust() }).unwrap();
        let kept = old.lines().filter(|line| !kinds.iter().any(|kind| line.starts_with(kind)));
        let lines = self.shell.substitute(lines);
        let new: String = kept.chain(lines.lines()).map(|line| format!("{line}\n")).collect();
        fs::write(path, new).unwrap();
    }

    /// Verifies everything with the auditors' trust file, once the new keys have signed.
    fn audit(&self) {
        until("the newest entry is anchored", WITHIN, || {
            anchored_size(self.remote.path(), ORIGIN) >= self.ledger.size()
        });
        let bundle = self.shell.path("rotated");
        self.ledger.export(&bundle);
        let url = self.remote.path().to_str().unwrap();
        let clone = AnchorClone::of(url, self.shell.path("rotated.clone"));
        let verdict = verify(&self.shell.path("trust"), &bundle, clone.path(), None);
        assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
    }

    /// The key of a line of the trust file.
    fn trusted(&self, kind: &str) -> String {
        let trust = fs::read_to_string(self.ledger.trust()).unwrap();
        let line = trust.lines().find(|line| line.starts_with(kind)).expect("init writes it");
        line.split_whitespace().last().expect("a key").to_owned()
    }

    fn configure(&self, from: &str, to: &str) {
        let path = self.ledger.path("streamseal.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn restart(&self, service: &Service) {
        assert!(service.stop().success());
        self.start_again(service);
    }

    fn start_again(&self, service: &Service) {
        service.start_again();
        service.until_ready();
    }
}

fn is_adoption(text: &str, service: &str) -> bool {
    text.starts_with(&format!("streamseal {service} ")) && text.contains("adopt")
}

/// The lines of the trust file that the page gives for two anchor keys.
fn trust_lines() -> String {
    let page = page::read("docs/operations.md");
    let block = page
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("witness "))
        .take_while(|line| !line.is_empty());
    block.map(|line| format!("{line}\n")).collect()
}

/// A segment of a real Kafka's log.
fn segment() -> PathBuf {
    let kafka = Kafka::shared();
    let topic = kafka.topic("segment", 1);
    events::produce(kafka.bootstrap(), &topic, 0, ["an event"]);
    kafka.data().join(format!("{topic}-0/00000000000000000000.log"))
}
