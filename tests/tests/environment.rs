//! Effects of the environment on a process: proxy variables, and a log that cannot be written.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::{Postgres, Process, Scratch, free_port, http_get, run, streamseal, until};

const WITHIN: Duration = Duration::from_secs(60);

/// A ledger on the embedded parts and on free ports.
struct Ledger {
    folder: Scratch,
    anchor: SocketAddr,
}

impl Ledger {
    fn new(name: &str) -> Self {
        let folder = Scratch::new(name);
        let ledger = folder.join("ledger");
        run(Command::new(streamseal()).arg("init").arg(&ledger));
        let config = ledger.join("streamseal.toml");
        let mut text = fs::read_to_string(&config).unwrap();
        let mut anchor = None;
        for port in ["7380", "7381", "7382"] {
            let free = free_port();
            text = text.replace(port, &free.to_string());
            anchor = Some(SocketAddr::from(([127, 0, 0, 1], free)));
        }
        fs::write(&config, text).unwrap();
        Self { folder, anchor: anchor.unwrap() }
    }

    fn config(&self) -> PathBuf {
        self.folder.join("ledger/streamseal.toml")
    }

    /// Changes the configuration.
    fn change(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    fn command(&self, service: &str) -> Command {
        let mut command = Process::command(streamseal());
        command.arg(service).arg("--config").arg(self.config());
        command
    }

    /// Waits until `/readyz` contains `wanted`, and returns the whole answer.
    fn until_anchor_says(&self, wanted: &str) -> String {
        let mut said = String::new();
        until(&format!("/readyz with {wanted:?}"), WITHIN, || {
            said = http_get(self.anchor, "/readyz").map(|(_, text)| text).unwrap_or_default();
            said.contains(wanted)
        });
        said
    }
}

const PROXY: &str = "http://me:secret@127.0.0.1:1";
const WAY: &str = "by way of the proxy http://127.0.0.1:1";

/// Sets every variable that names a proxy, and removes all that make exceptions.
fn behind_a_proxy(mut command: Command) -> Command {
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, PROXY);
    }
    for name in ["no_proxy", "NO_PROXY"] {
        command.env(name, "");
    }
    command
}

#[test]
fn parts_on_one_machine_use_no_proxy() {
    let ledger = Ledger::new("proxied");
    let key = ledger.folder.join("w.key");
    let printed = run(Command::new(streamseal()).args(["keygen", "--name", "w.example", "--role", "anchor"]).arg(&key));
    let vkey = printed.split_whitespace().find(|word| word.starts_with("w.example+")).expect("a vkey");
    let witness =
        format!("[[anchor.witnesses]]\nurl = \"http://w.example/w\"\nvkey = \"{vkey}\"\n\n[[anchor.remotes]]");
    ledger.change("[[anchor.remotes]]", &witness);
    let up = Process::start("up", ledger.folder.join("up.log"), behind_a_proxy(ledger.command("up")));
    // The head is anchored. The witness is on another host, so its request goes through the proxy.
    let said = ledger.until_anchor_says("ok\nwitness w.example: no cosignature of size");
    assert!(said.contains(WAY) && !said.contains("secret"), "{said}");
    assert!(up.stop().success());
}

#[test]
fn a_message_names_the_proxy_in_use() {
    for (field, from, to) in [
        ("committer", "committer = \"http://127.0.0.1:", "committer = \"http://committer.example:"),
        ("remote", "url = \"anchors.git\"", "url = \"http://git.example/anchors.git\""),
    ] {
        let ledger = Ledger::new("proxy-named");
        ledger.change(from, to);
        let log = ledger.folder.join("anchor.log");
        let anchor = Process::start("anchor", &log, behind_a_proxy(ledger.command("anchor")));
        let said = ledger.until_anchor_says(WAY);
        assert!(!said.contains("secret"), "{field}: {said}");
        assert!(anchor.stop().success());
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains(WAY) && !log.contains("secret"), "{field}: {log}");
    }
}

/// Runs all services with `stderr` as their log. They work, count the lost lines, and stop on demand.
fn ends_well_without_a_log(
    name: &str,
    format: &str,
    stderr: impl FnOnce(&Ledger) -> Stdio,
    begun: impl FnOnce(&mut Child),
) {
    let ledger = Ledger::new(name);
    let stderr = stderr(&ledger);
    let mut command = ledger.command("up");
    command.args(["--log-format", format]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    begun(&mut child);
    ledger.until_anchor_says("ok\n");
    until("lines that nobody got", WITHIN, || {
        let (_, metrics) = http_get(ledger.anchor, "/metrics").expect("it goes on");
        let line = metrics.lines().find_map(|line| line.strip_prefix("streamseal_log_lines_dropped_total "));
        line.expect("the counter").parse::<u64>().unwrap() > 0
    });
    run(Command::new("kill").arg(child.id().to_string()));
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    let full = |_: &Ledger| Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    ends_well_without_a_log("log-full", "json", full, |_| {});
}

#[test]
fn a_log_without_a_reader_ends_nothing() {
    ends_well_without_a_log("log-gone", "text", |_| Stdio::piped(), |child| drop(child.stderr.take()));
}

#[test]
fn a_tool_survives_the_end_of_its_reader() {
    for (arguments, code) in [
        (&["config-reference"][..], 0),
        (&["metrics-reference"], 0),
        (&["--help"], 0),
        (&["verify", "--trust", "absent", "absent"], 5),
        (&["ingest", "--config", "absent"], 2),
        (&["no-such-command"], 2),
    ] {
        let mut child = Command::new(streamseal())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

/// The origin that `init` prints first, and the name of the anchor's key.
fn names(folder: &Scratch, dir: &str, more: &[&str]) -> (String, String) {
    let dir = folder.join(dir);
    let said = run(Command::new(streamseal()).arg("init").arg(&dir).args(more));
    let origin = said.strip_prefix("origin ").and_then(|said| said.split(':').next()).expect("the origin comes first");
    let config = fs::read_to_string(dir.join("streamseal.toml")).unwrap();
    assert!(config.contains(&format!("origin = \"{origin}\"\n")), "{config}");
    let trust = fs::read_to_string(dir.join("trust")).unwrap();
    assert!(trust.contains(&format!("\norigin {origin}\n")), "{trust}");
    let witness = trust.lines().find_map(|line| line.strip_prefix("witness ")).expect("the anchor");
    assert_eq!(said.contains("--origin NAME"), more.is_empty(), "{said}");
    (origin.to_owned(), witness.split(' ').next().unwrap().to_owned())
}

#[test]
fn ledgers_made_alike_have_different_names() {
    let folder = Scratch::new("origins");
    let (first, anchor) = names(&folder, "a/ledger", &[]);
    let (second, _) = names(&folder, "b/ledger", &[]);
    assert_ne!(first, second);
    assert!(first.contains("/ledger-"), "{first}");
    assert_eq!(anchor, format!("{first}/anchor"));
    let chosen = names(&folder, "chosen", &["--origin", "example.com/audit"]);
    assert_eq!(chosen, ("example.com/audit".to_owned(), "example.com/audit/anchor".to_owned()));
}

#[test]
fn bad_log_filter_is_refused() {
    let ingest = |option: &str, value: &str| {
        let mut command = Command::new(streamseal());
        command.args(["ingest", "--config", "absent"]).env_remove("RUST_LOG");
        match option {
            "RUST_LOG" => command.env(option, value),
            option => command.args([option, value]),
        };
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (option, value, wanted) in [
        ("--log-level", "inof", "--log-level \"inof\": \"inof\" is not a level"),
        ("RUST_LOG", "info,kafka=loud", "RUST_LOG \"info,kafka=loud\": "),
        ("--log-format", "xml", "[possible values: text, json]"),
        ("--log-level", "info,kafka=warn", "cannot read the configuration absent"),
    ] {
        let (code, said) = ingest(option, value);
        assert!(code == Some(2) && said.contains(wanted), "{option} {value}: {code:?} {said}");
    }
}

#[test]
fn database_password_is_never_logged() {
    let ledger = Ledger::new("password");
    let database = Postgres::shared().database().replace("postgres@", "postgres:hunter2@");
    ledger.change("\"sqlite:chain.db\"", &format!("{database:?}"));
    let log = ledger.folder.join("committer.log");
    let mut command = ledger.command("committer");
    command.args(["--log-level", "debug"]);
    let committer = Process::start("committer", &log, command);
    until("it says what it is", WITHIN, || fs::read_to_string(&log).unwrap().contains("committer started"));
    assert!(committer.stop().success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("database=\"PostgreSQL 127.0.0.1:") && !log.contains("hunter2"), "{log}");
}
