//! All services in one process, on SQLite: what `streamseal up` shows at /metrics, and the database file that it leaves.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka::EmbeddedBroker;
use serde_json::Value;
use testbed::{BareRepository, Process, Scratch, free_port, http_get, promtool, run, streamseal, until};

const READY_WITHIN: Duration = Duration::from_secs(60);

fn database_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name.starts_with("chain.db")).collect();
    names.sort();
    names
}

fn fsck(config: &Path) -> String {
    run(Command::new(streamseal()).args(["committer", "fsck", "--config"]).arg(config))
}

/// Metrics of the reference that `shown` lacks.
fn missing_metrics(shown: &str) -> Vec<String> {
    let reference = run(Command::new(streamseal()).arg("metrics-reference"));
    let names = reference.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    let names = names.collect::<Vec<_>>();
    assert!(names.len() > 30, "{reference}");
    names.into_iter().filter(|name| !shown.contains(&format!("# HELP {name} "))).collect()
}

/// Requires that each line is a JSON object, that lines about a partition name it, and that each service introduces itself.
fn check_log(log: &str) {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let lines = lines.collect::<Vec<_>>();
    let line = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{log}"));
    for (message, field, wanted) in [
        ("committer started", "database", "SQLite "),
        ("committer started", "topic", "commitments"),
        ("ingest-consumer started", "sealed", "orders"),
        ("ingest-consumer started", "brokers", "127.0.0.1:"),
        ("anchor started", "remotes", "anchors.git"),
        ("anchor started", "witnesses", "w.example"),
    ] {
        let started = line(message);
        assert!(started[field].as_str().is_some_and(|value| value.contains(wanted)), "{field}: {started}");
        assert_eq!(started["ledger"], "example.com/one-file");
        assert!(["version", "listen"].iter().all(|field| started[field].is_string()), "{started}");
    }
    assert!(line("committer started")["size"].is_u64() && line("anchor started")["size"].is_u64());
    let reading = line("reading");
    assert_eq!((&reading["level"], &reading["offset"]), (&"INFO".into(), &0.into()), "{reading}");
    assert_eq!((&reading["span"]["topic"], &reading["span"]["partition"]), (&"orders".into(), &0.into()), "{reading}");
}

#[test]
fn a_stopped_line_leaves_one_database_file() {
    let (folder, broker) = (Scratch::new("one-file"), EmbeddedBroker::start().unwrap());
    broker.create_topic("orders", 1).unwrap();
    broker.create_topic("commitments", 1).unwrap();
    let (home, remote) = (folder.join("ledger"), folder.join("anchors.git"));
    BareRepository::new(remote.clone());
    let mut init = Command::new(streamseal());
    init.arg("init")
        .arg(&home)
        .args(["--origin", "example.com/one-file", "--topic", "orders", "--remote"])
        .arg(&remote);
    run(init.args(["--bootstrap-servers", broker.bootstrap_servers()]));
    let config = home.join("streamseal.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    let addresses = [7380, 7381, 7382].map(|default| {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        text = text.replace(&format!("127.0.0.1:{default}"), &address.to_string());
        address
    });
    // So that the metrics of witnesses are there. This one does not answer.
    let key = folder.join("witness.key");
    let printed = run(Command::new(streamseal()).args(["keygen", "--name", "w.example", "--role", "anchor"]).arg(&key));
    let vkey = printed.split_whitespace().find(|word| word.starts_with("w.example+")).unwrap();
    let witness =
        format!("[[anchor.witnesses]]\nurl = \"http://127.0.0.1:1\"\nvkey = \"{vkey}\"\n\n[[anchor.remotes]]");
    text = text.replacen("[[anchor.remotes]]", &witness, 1);
    fs::write(&config, text).unwrap();

    let mut up = Process::command(streamseal());
    up.args(["up", "--log-format", "json", "--config"]).arg(&config);
    let up = Process::start("up", folder.join("up.log"), up);
    until("the line is ready", READY_WITHIN, || {
        up.assert_running();
        addresses.iter().all(|address| http_get(*address, "/readyz").is_some_and(|(status, _)| status == 200))
    });
    let mut metrics = String::new();
    // A gauge is there once it has something to show, such as the time of the first push.
    until("all metrics are shown", READY_WITHIN, || {
        metrics = http_get(addresses[0], "/metrics").unwrap().1;
        missing_metrics(&metrics).is_empty()
    });
    assert_eq!(promtool(&metrics), "", "{metrics}");
    assert!(database_files(&home).contains(&"chain.db-wal".to_owned()), "{:?}", database_files(&home));
    assert!(up.stop().success());
    check_log(&fs::read_to_string(folder.join("up.log")).unwrap());
    // The last one is an empty lock file.
    let left = ["chain.db", "chain.db.publisher-1"];
    assert_eq!(database_files(&home), left);
    let found = fsck(&config);
    assert_eq!(database_files(&home), left, "fsck leaves no more");

    // A copy of the one file is complete.
    let copy = folder.join("copy.db");
    fs::rename(home.join("chain.db"), &copy).unwrap();
    fs::copy(&copy, home.join("chain.db")).unwrap();
    assert_eq!(fsck(&config), found);
}
