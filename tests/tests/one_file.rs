//! The database file that `streamseal up` leaves on SQLite, with all services in one process.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka::EmbeddedBroker;
use testbed::{BareRepository, Process, Scratch, free_port, http_get, run, streamseal, until};

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
    fs::write(&config, text).unwrap();

    let mut up = Process::command(streamseal());
    up.args(["up", "--config"]).arg(&config);
    let up = Process::start("up", folder.join("up.log"), up);
    until("the line is ready", READY_WITHIN, || {
        up.assert_running();
        addresses.iter().all(|address| http_get(*address, "/readyz").is_some_and(|(status, _)| status == 200))
    });
    assert!(database_files(&home).contains(&"chain.db-wal".to_owned()), "{:?}", database_files(&home));
    assert!(up.stop().success());
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
