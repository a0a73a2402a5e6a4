//! A ledger under test: its services as processes of their own, and the commands of operator and auditor.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Process, free_port, http_get, run, streamseal, until, without_network};

/// For a service to be ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Where a ledger's services find their neighbours.
pub(crate) struct Neighbours<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) database: &'a str,
    pub(crate) remote: &'a str,
    pub(crate) topics: &'a [&'a str],
    /// How large batches get.
    pub(crate) batch_events: u64,
}

/// A ledger and its services.
pub(crate) struct Ledger {
    pub(crate) name: String,
    folder: PathBuf,
    committer_address: SocketAddr,
    pub(crate) committer: Process,
    pub(crate) ingest: Process,
    pub(crate) anchor: Process,
}

impl Ledger {
    /// Makes a ledger in `folder` with `streamseal init` and starts its services.
    pub(crate) fn start(name: &str, folder: PathBuf, origin: &str, neighbours: &Neighbours<'_>) -> Self {
        let Neighbours { bootstrap, database, remote, topics, batch_events } = *neighbours;
        let mut init = Command::new(streamseal());
        init.arg("init").arg(&folder).args(["--origin", origin]);
        init.args(["--bootstrap-servers", bootstrap, "--database", database, "--remote", remote]);
        topics.iter().for_each(|topic| {
            init.args(["--topic", topic]);
        });
        run(&mut init);
        let [committer, ingest, anchor] = configure(&folder, batch_events);
        let ledger = Self {
            name: name.to_owned(),
            committer_address: committer,
            committer: service(&folder, "committer"),
            ingest: service(&folder, "ingest"),
            anchor: service(&folder, "anchor"),
            folder,
        };
        for (service, address) in [(&ledger.committer, committer), (&ledger.ingest, ingest), (&ledger.anchor, anchor)] {
            until(&format!("{service:?} is ready"), READY_WITHIN, || {
                service.assert_running();
                http_get(address, "/readyz").is_some_and(|(status, _)| status == 200)
            });
        }
        ledger
    }

    /// Its services.
    pub(crate) fn services(&self) -> [&Process; 3] {
        [&self.committer, &self.ingest, &self.anchor]
    }

    /// The offset up to which a partition is sealed; `None` while the committer is away.
    pub(crate) fn sealed(&self, cluster: &str, topic: &str, partition: u32) -> Option<u64> {
        let query = format!("/v1/cursors?cluster={cluster}&topic={topic}&partition={partition}");
        number(&self.ask(&query)?["next"])
    }

    /// The size of the chain; `None` while the committer is away.
    pub(crate) fn size(&self) -> Option<u64> {
        number(&self.ask("/v1/status")?["size"])
    }

    /// How many entries are on the topic of commitments; `None` while the committer is away.
    pub(crate) fn published(&self) -> Option<u64> {
        number(&self.ask("/v1/status")?["published_size"])
    }

    /// `streamseal export` of everything that is anchored.
    pub(crate) fn export(&self, target: &Path) {
        run(Command::new(streamseal()).arg("export").arg(target).arg("--config").arg(config(&self.folder)));
    }

    /// `streamseal committer fsck`: whether the whole database hashes and applies again.
    pub(crate) fn fsck(&self) {
        run(Command::new(streamseal()).arg("committer").arg("--config").arg(config(&self.folder)).arg("fsck"));
    }

    /// What the auditor was given.
    pub(crate) fn trust(&self) -> PathBuf {
        self.folder.join("trust")
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let (status, body) = http_get(self.committer_address, path)?;
        (status == 200).then(|| serde_json::from_str(&body).expect("the committer answers with JSON"))
    }
}

/// What `streamseal verify --json` said.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) code: i32,
    pub(crate) report: Value,
}

/// Runs the verifier where there is no network.
pub(crate) fn verify(trust: &Path, bundle: &Path, clone: &Path, pin: Option<&Path>) -> Verdict {
    let mut command = without_network(streamseal());
    command.args(["verify", "--json", "--trust"]).arg(trust).arg("--clone").arg(clone).arg(bundle);
    if let Some(pin) = pin {
        command.arg("--pin").arg(pin);
    }
    verdict(command)
}

/// The same by the auditor's small binary, without a pin.
pub(crate) fn verify_alone(trust: &Path, bundle: &Path, clone: &Path) -> Verdict {
    let mut command = without_network(streamseal().with_file_name("streamseal-verify"));
    command.args(["--json", "--trust"]).arg(trust).arg("--clone").arg(clone).arg(bundle);
    verdict(command)
}

fn verdict(mut command: Command) -> Verdict {
    let start = Instant::now();
    let Output { status, stdout, stderr } = command.output().unwrap();
    eprintln!("verified in {:?}", start.elapsed());
    let code = status.code().expect("the verifier is not killed");
    let report = serde_json::from_slice(&stdout).unwrap_or_else(|error| {
        panic!(
            "{command:?} printed no JSON ({error}), exit {code}: {}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )
    });
    Verdict { code, report }
}

/// A 64-bit number as JSON views show it: in a string.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn config(folder: &Path) -> PathBuf {
    folder.join("streamseal.toml")
}

fn service(folder: &Path, name: &str) -> Process {
    let mut command = Process::command(streamseal());
    command.arg(name).arg("--config").arg(config(folder));
    Process::start(name, folder.join(format!("{name}.log")), command)
}

/// Gives the services free ports and the pace of a test: batches that are small and early, anchors every second.
/// Returns the addresses of committer, ingest-consumer and anchor.
fn configure(folder: &Path, batch_events: u64) -> [SocketAddr; 3] {
    let addresses = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let path = config(folder);
    let mut text = fs::read_to_string(&path).unwrap();
    for (default, address) in [7380, 7381, 7382].iter().zip(addresses) {
        text = text.replace(&format!("127.0.0.1:{default}"), &address.to_string());
    }
    let pace = [
        // A killed member of the group is missed soon.
        ("[kafka]", "\"session.timeout.ms\" = \"3000\"".to_owned()),
        ("[ingest]", format!("batch_events = {batch_events}\nbatch_age_ms = 200")),
        ("[committer]", "heads_s = 1".to_owned()),
        ("[anchor]", "interval_s = 1".to_owned()),
    ];
    for (section, settings) in pace {
        assert!(text.contains(section), "{text}");
        text = text.replace(section, &format!("{section}\n{settings}"));
    }
    fs::write(&path, text).unwrap();
    addresses
}
