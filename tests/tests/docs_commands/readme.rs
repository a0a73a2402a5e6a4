//! README.md and docs/auditing.md: a new ledger on a real Kafka, PostgreSQL and a Git remote, and its auditor.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use testbed::ledger::{Ledger, Neighbours, Service, configure};
use testbed::{BareRepository, Kafka, Postgres, Scratch, git, run, until};

use crate::page::{self, Command};
use crate::shell::Shell;
use crate::{Exception, assert_all_met};

const EXCEPTIONS: [Exception; 2] =
    [("./test", "it runs this test"), ("demo --stay", "it never ends; tests/tests/command.rs runs the demo")];

const ORIGIN: &str = "example.com/audit";
const WITHIN: Duration = Duration::from_secs(60);

/// Partition 3 of `orders`, whose offsets the pages name.
const PARTITION: u32 = 3;
/// Enough for all offsets that the pages name.
const EVENTS: u64 = 200_000;

/// The ledger of the reader, as far as it is.
struct Reader {
    shell: Shell,
    kafka: &'static Kafka,
    database: String,
    remote: BareRepository,
    addresses: Vec<std::net::SocketAddr>,
    services: Vec<Service>,
    ledger: Option<Ledger>,
    done: BTreeSet<&'static str>,
}

#[test]
fn readme_and_auditing_commands_run() {
    let folder = Scratch::new("reader");
    let kafka = Kafka::shared();
    let remote = BareRepository::new(folder.join("remote.git"));
    let mut shell = Shell::new(folder.join("reader"));
    let database = Postgres::shared().database();
    shell.set("127.0.0.1:9092", kafka.bootstrap());
    shell.set("postgres://streamseal@127.0.0.1/ledger", &database);
    shell.set("https://git.example.com/anchors.git", remote.path().to_str().unwrap());
    let mut reader = Reader {
        shell,
        kafka,
        database,
        remote,
        addresses: Vec::new(),
        services: Vec::new(),
        ledger: None,
        done: BTreeSet::new(),
    };
    let commands = page::commands("README.md");
    assert_all_met(&EXCEPTIONS, &commands);
    for command in commands {
        if !EXCEPTIONS.iter().any(|(part, _)| command.text.contains(part)) {
            reader.follow(&command);
        }
    }
    reader.become_auditor(folder.join("auditor"));
    for command in page::commands("docs/auditing.md") {
        reader.audit(&command);
    }
    reader.shell.assert_all_used();
}

impl Reader {
    /// Runs a command of README.md.
    fn follow(&mut self, command: &Command) {
        let service = command.text.strip_prefix("streamseal ").and_then(|rest| rest.split_once(" --config "));
        if let Some((kind @ ("up" | "committer" | "ingest" | "anchor"), _)) =
            service.map(|(kind, rest)| (kind.trim(), rest))
        {
            self.start(kind, command);
            return;
        }
        if let Some(ledger) = &self.ledger
            && self.done.insert("sealed")
        {
            seal(ledger, self.kafka, &self.remote, &self.shell);
        }
        if command.text.contains("--trust trust") && self.done.insert("trusted") {
            fs::copy(self.shell.path("ledger/trust"), self.shell.path("trust")).unwrap();
        }
        let printed = self.shell.run(command);
        if command.text.starts_with("streamseal init") {
            self.configure();
        }
        expect(command, &printed);
    }

    /// Does what the page says in words: free ports, and the topics.
    fn configure(&mut self) {
        let neighbours = Neighbours {
            bootstrap: self.kafka.bootstrap(),
            database: &self.database,
            remote: self.remote.path().to_str().unwrap(),
            topics: &[],
            commitments: "commitments",
            batch_events: 10_000,
        };
        self.addresses = configure(&self.shell.path("ledger"), "reader", &neighbours).to_vec();
        ["orders", "payments"].iter().for_each(|topic| self.kafka.create_topic(topic, 4, &[]));
        let operations = page::commands("docs/operations.md");
        let create = operations.iter().find(|command| command.text.starts_with("kafka-topics.sh"));
        self.shell.set("BROKER", self.kafka.bootstrap());
        self.shell.run(create.expect("the page says how to create the topic of commitments"));
    }

    fn start(&mut self, kind: &str, command: &Command) {
        let process = self.shell.start(kind, command);
        if kind == "up" {
            for address in &self.addresses {
                until(&format!("{address} is ready"), WITHIN, || {
                    process.assert_running();
                    testbed::http_get(*address, "/readyz").is_some_and(|(status, _)| status == 200)
                });
            }
            assert!(process.stop().success());
            return;
        }
        let place = ["committer", "ingest", "anchor"].iter().position(|name| *name == kind).unwrap();
        let service = Service::of(process, self.addresses[place]);
        self.services.push(service);
        if self.services.len() == self.addresses.len() {
            let services = std::mem::take(&mut self.services);
            services.iter().for_each(Service::until_ready);
            let services = services.try_into().unwrap_or_else(|_| panic!("the page starts three services"));
            self.ledger = Some(Ledger::of("reader", self.shell.path("ledger"), services));
        }
    }

    /// Goes to another folder with what an auditor gets.
    fn become_auditor(&mut self, folder: std::path::PathBuf) {
        fs::create_dir(&folder).unwrap();
        for name in ["trust", "event.proof", "evidence"] {
            run(std::process::Command::new("cp").arg("-R").arg(self.shell.path(name)).arg(&folder));
        }
        run(git()
            .args(["clone", "--quiet", "--branch", "anchors"])
            .arg(self.remote.path())
            .arg(folder.join("anchors-2")));
        self.shell.enter(folder);
    }

    /// Runs a command of docs/auditing.md.
    fn audit(&mut self, command: &Command) {
        let printed = self.shell.run(command);
        expect(command, &printed);
    }
}

/// Produces the events that the pages name, and waits until they are sealed and anchored.
fn seal(ledger: &Ledger, kafka: &Kafka, remote: &BareRepository, shell: &Shell) {
    let lines: String = (0..EVENTS).map(|i| format!("order {i}\n")).collect();
    let file = shell.path("lines");
    fs::write(&file, lines).unwrap();
    kafka.kcat().produce("orders", PARTITION.cast_signed(), &file);
    until("the events are sealed", WITHIN, || {
        ledger.assert_running();
        ledger.sealed(kafka.cluster_id(), "orders", PARTITION) == Some(EVENTS)
    });
    ledger.until_anchored(remote.path(), ORIGIN, kafka.cluster_id(), &[("orders".to_owned(), PARTITION)]);
    until("the summaries are published", WITHIN, || ledger.published() == ledger.size());
}

/// Requires what the page promises of a command's output.
fn expect(command: &Command, printed: &str) {
    let wanted = match command.text.split_whitespace().next() {
        Some("streamseal-verify") => "PROVEN ",
        Some("kcat") if command.text.contains("verify-batch") => "as sealed",
        Some("kcat") => "\"seq\":",
        Some("streamseal") if command.text.contains("verify-batch") => "as sealed",
        _ => "",
    };
    assert!(printed.contains(wanted), "{}: {wanted:?} is not in:\n{printed}", command.place);
}
