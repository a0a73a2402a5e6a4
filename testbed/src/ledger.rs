//! A ledger under test: its services as processes, and the commands of operator and auditor.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::anchors;
use crate::http::http_get;
use crate::network::without_network;
use crate::ports::free_port;
use crate::process::{Process, run};
use crate::streamseal::streamseal;
use crate::wait::until;
use serde_json::Value;

const CONFIG: &str = "streamseal.toml";

/// The line of the configuration that makes a committer sign.
const LOG_KEY: &str = "log_key = \"keys/log.key\"\n";

/// Time for a service to become ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Interval between requests to a service.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time until sealed offsets are anchored.
const ANCHORED_WITHIN: Duration = Duration::from_secs(60);

/// The servers and topics that a ledger's services use.
pub struct Neighbours<'a> {
    /// The address of the Kafka brokers.
    pub bootstrap: &'a str,
    /// The URL of the database.
    pub database: &'a str,
    /// The URL of the Git remote.
    pub remote: &'a str,
    /// Topics to seal.
    pub topics: &'a [&'a str],
    /// The topic of commitments, which no other ledger on the same broker may use.
    pub commitments: &'a str,
    /// Maximum events per batch.
    pub batch_events: u64,
}

/// A ledger and its services.
pub struct Ledger {
    /// The name of its consumer group, and the `client.id` of its Kafka clients.
    pub name: String,
    folder: PathBuf,
    /// `streamseal committer`, which signs.
    pub committer: Service,
    /// `streamseal ingest`.
    pub ingest: Service,
    /// `streamseal anchor`.
    pub anchor: Service,
}

impl Ledger {
    /// Makes a ledger in `folder` with `streamseal init` and starts its services.
    pub fn start(name: &str, folder: PathBuf, origin: &str, neighbours: &Neighbours<'_>) -> Self {
        let Neighbours { bootstrap, database, remote, topics, .. } = *neighbours;
        let mut init = Command::new(streamseal());
        init.arg("init").arg(&folder).args(["--origin", origin]);
        init.args(["--bootstrap-servers", bootstrap, "--database", database, "--remote", remote]);
        topics.iter().for_each(|topic| {
            init.args(["--topic", topic]);
        });
        run(&mut init);
        let [committer, ingest, anchor] = configure(&folder, name, neighbours);
        let config = folder.join(CONFIG);
        let [committer, ingest, anchor] = [("committer", committer), ("ingest", ingest), ("anchor", anchor)]
            .map(|(kind, address)| Service::start(kind, &config, address));
        let ledger = Self { name: name.to_owned(), folder, committer, ingest, anchor };
        ledger.services().into_iter().for_each(Service::until_ready);
        ledger
    }

    /// A ledger whose folder was configured by [`configure`], and whose services run already.
    pub fn of(name: &str, folder: PathBuf, [committer, ingest, anchor]: [Service; 3]) -> Self {
        Self { name: name.to_owned(), folder, committer, ingest, anchor }
    }

    /// Its services.
    pub fn services(&self) -> [&Service; 3] {
        [&self.committer, &self.ingest, &self.anchor]
    }

    /// Fails the test if a service ended by itself.
    #[track_caller]
    pub fn assert_running(&self) {
        self.services().into_iter().for_each(|service| service.assert_running());
    }

    /// Starts another committer on the same database, which does not sign.
    pub fn another_committer(&self) -> Service {
        let address = free_address();
        self.another("committer", "committer-b", address, |text| {
            let own = format!("listen = \"{}\"", self.committer.address);
            assert!(text.contains(&own) && text.contains(LOG_KEY), "{text}");
            text.replace(&own, &format!("listen = \"{address}\"")).replace(LOG_KEY, "")
        })
    }

    /// Starts another ingest-consumer of the same group, with its own key, which submits to `committer`.
    pub fn another_ingest(&self, name: &str, committer: &Service) -> Service {
        let key = self.folder.join("keys").join(format!("{name}.key"));
        let made = run(Command::new(streamseal()).arg("keygen").arg(&key).args(["--name", name, "--role", "ingest"]));
        let vkey = made.split_whitespace().find(|word| word.starts_with(&format!("{name}+")));
        let vkey = vkey.unwrap_or_else(|| panic!("keygen printed no vkey: {made}"));
        self.operate(&["key"], &["grant", vkey, "--role", "ingest", "--scope", "*"]);
        let address = free_address();
        self.another("ingest", name, address, |text| {
            text.replace(&format!("listen = \"{}\"", self.ingest.address), &format!("listen = \"{address}\""))
                .replace("keys/ingest.key", &format!("keys/{name}.key"))
                // The ingest-consumer's section comes first.
                .replacen(&format!("http://{}", self.committer.address), &format!("http://{}", committer.address), 1)
        })
    }

    fn another(&self, kind: &str, name: &str, address: SocketAddr, edit: impl FnOnce(&str) -> String) -> Service {
        let text = fs::read_to_string(self.config()).unwrap();
        let config = self.folder.join(format!("{name}.toml"));
        fs::write(&config, edit(&text)).unwrap();
        let service = Service::start(kind, &config, address);
        service.until_ready();
        service
    }

    /// Runs a `streamseal` command with the configuration and the operator key, which must succeed.
    pub fn operate(&self, command: &[&str], arguments: &[&str]) {
        let Output { status, stderr, .. } = self.try_operate(command, arguments);
        assert!(status.success(), "{command:?} {arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    }

    /// As [`operate`](Self::operate), but the command may fail.
    pub fn try_operate(&self, command: &[&str], arguments: &[&str]) -> Output {
        let mut operate = self.command(command);
        operate.args(arguments).arg("--operator-key").arg(self.folder.join("keys/operator.key"));
        operate.output().unwrap()
    }

    /// A `streamseal` command line with the configuration.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut streamseal = Command::new(streamseal());
        streamseal.args(command).arg("--config").arg(self.config());
        streamseal
    }

    /// The path of a file in the ledger's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The cursor of a partition; `None` while the committer is away.
    pub fn sealed(&self, cluster: &str, topic: &str, partition: u32) -> Option<u64> {
        let query = format!("/v1/cursors?cluster={cluster}&topic={topic}&partition={partition}");
        number(&self.ask(&query)?["next"])
    }

    /// The size of the chain; `None` while the committer is away.
    pub fn size(&self) -> Option<u64> {
        number(&self.ask("/v1/status")?["size"])
    }

    /// The number of published entries; `None` while the committer is away.
    pub fn published(&self) -> Option<u64> {
        number(&self.ask("/v1/status")?["published_size"])
    }

    /// Waits until the newest anchor in `repository` covers a heads statement with the present cursors of these
    /// partitions (topic and number) of a cluster.
    pub fn until_anchored(&self, repository: &Path, origin: &str, cluster: &str, partitions: &[(String, u32)]) {
        until("the heads are anchored", ANCHORED_WITHIN, || {
            self.assert_running();
            let anchored = anchors::anchored_size(repository, origin);
            anchored.is_some_and(|size| self.stated(size, cluster, partitions) == Some(true))
        });
    }

    /// Whether the newest heads statement among the first `size` entries has these cursors; `None` while the committer
    /// is away.
    fn stated(&self, size: u64, cluster: &str, partitions: &[(String, u32)]) -> Option<bool> {
        let heads = self.ask(&format!("/v1/heads?size={size}"))?;
        let mut stated = BTreeMap::new();
        for line in heads["lines"].as_array()? {
            let fields: Vec<&str> = line.as_str()?.split(' ').collect();
            let [_, topic, partition, _, next, _] = fields[..] else { panic!("a line of heads: {line}") };
            // A partition's newest epoch comes last.
            stated.insert((topic.to_owned(), partition.parse::<u32>().ok()?), next.parse::<u64>().ok()?);
        }
        for place in partitions {
            if stated.get(place).copied().unwrap_or_default() != self.sealed(cluster, &place.0, place.1)? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Runs `streamseal export` for everything that is anchored.
    pub fn export(&self, target: &Path) {
        let Output { status, stderr, .. } = self.try_export(target, &[]);
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    }

    /// Runs `streamseal export` with more arguments. It also fails if Kafka no longer has the sealed events.
    pub fn try_export(&self, target: &Path, arguments: &[&str]) -> Output {
        let mut export = Command::new(streamseal());
        export.arg("export").arg(target).arg("--config").arg(self.config()).args(arguments).output().unwrap()
    }

    /// Requires that `streamseal committer fsck` finds nothing.
    pub fn fsck(&self) {
        if let Err(problems) = self.try_fsck() {
            panic!("{problems}");
        }
    }

    /// Runs `streamseal committer fsck`.
    ///
    /// # Errors
    /// The output of `fsck`, if it finds something.
    pub fn try_fsck(&self) -> Result<(), String> {
        let mut fsck = Command::new(streamseal());
        let Output { status, stdout, stderr } =
            fsck.arg("committer").arg("--config").arg(self.config()).arg("fsck").output().unwrap();
        let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if status.success() { Ok(()) } else { Err(output) }
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.folder.join("trust")
    }

    /// The anchor's own repository.
    pub fn own_repository(&self) -> PathBuf {
        self.folder.join("anchor.git")
    }

    fn config(&self) -> PathBuf {
        self.folder.join(CONFIG)
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let (status, body) = http_get(self.committer.address, path)?;
        (status == 200).then(|| serde_json::from_str(&body).expect("the committer answers with JSON"))
    }
}

/// A service, in its own process.
pub struct Service {
    process: Process,
    address: SocketAddr,
}

impl Service {
    fn start(kind: &str, config: &Path, address: SocketAddr) -> Self {
        let mut command = Process::command(streamseal());
        command.arg(kind).arg("--config").arg(config);
        Self::of(Process::start(kind, config.with_extension(format!("{kind}.log")), command), address)
    }

    /// A service that listens on `address`.
    pub fn of(process: Process, address: SocketAddr) -> Self {
        Self { process, address }
    }

    /// Waits until it is ready.
    pub fn until_ready(&self) {
        until(&format!("{:?} is ready", self.process), READY_WITHIN, || {
            self.assert_running();
            self.is_ready()
        });
    }

    /// Waits until `/readyz` reports the service not ready with these words. Returns the whole answer.
    pub fn until_not_ready(&self, words: &str) -> String {
        let mut last = None;
        let start = Instant::now();
        loop {
            self.assert_running();
            assert!(start.elapsed() < READY_WITHIN, "{:?} does not say {words:?} but {last:?}", self.process);
            if let Some((_, said)) = self.readiness().filter(|(status, _)| *status != 200) {
                if said.contains(words) {
                    return said;
                }
                last = Some(said);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether `/readyz` reports the service ready.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_some_and(|(status, _)| status == 200)
    }

    /// Metrics with these names, each summed over its labels; `None` while the service does not answer.
    pub fn metrics<const N: usize>(&self, names: [&str; N]) -> Option<[f64; N]> {
        let (_, text) = http_get(self.address, "/metrics")?;
        Some(names.map(|name| {
            let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(['{', ' ']));
            values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        }))
    }

    fn readiness(&self) -> Option<(u16, String)> {
        http_get(self.address, "/readyz")
    }
}

impl Deref for Service {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// The verifier's exit code for *proven*.
pub const PROVEN: i32 = 0;
/// The verifier's exit code for *tampered*.
pub const TAMPERED: i32 = 1;
/// The verifier's exit code for *incomplete*.
pub const INCOMPLETE: i32 = 3;
/// The verifier's exit code for *not anchored*.
pub const NOT_ANCHORED: i32 = 4;

/// The result of `streamseal verify --json`.
#[derive(Debug, PartialEq)]
pub struct Verification {
    /// The exit code.
    pub code: i32,
    /// The report.
    pub report: Value,
}

impl Verification {
    /// Whether there is a finding of this code with these values at these JSON pointers.
    pub fn has(&self, code: &str, place: &[(&str, Value)]) -> bool {
        let findings = self.report["findings"].as_array().unwrap();
        findings.iter().any(|finding| {
            finding["code"] == code && place.iter().all(|(field, value)| finding.pointer(field) == Some(value))
        })
    }

    /// Requires this exit code, and a finding as in [`has`](Self::has).
    #[track_caller]
    pub fn require(&self, exit: i32, code: &str, place: &[(&str, Value)]) {
        let Self { code: exited, report } = self;
        let fits = *exited == exit && self.has(code, place);
        assert!(fits, "exit {exited}, wanted {exit} and {code} at {place:?}; {report:#}");
    }
}

/// Runs `streamseal verify` without a network.
pub fn verify(trust: &Path, bundle: &Path, clone: &Path, pin: Option<&Path>) -> Verification {
    let pin = pin.map(|pin| ["--pin".as_ref(), pin.as_os_str()]);
    verify_with(trust, bundle, clone, pin.iter().flatten())
}

/// As [`verify`], with more arguments.
pub fn verify_with(
    trust: &Path,
    bundle: &Path,
    clone: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Verification {
    let mut command = without_network(streamseal());
    command.args(["verify", "--json", "--trust"]).arg(trust).arg("--clone").arg(clone).arg(bundle).args(arguments);
    verdict(command)
}

/// As [`verify`], with the auditor's binary `streamseal-verify`.
pub fn verify_alone(trust: &Path, bundle: &Path, clone: &Path) -> Verification {
    let mut command = without_network(streamseal().with_file_name("streamseal-verify"));
    command.args(["--json", "--trust"]).arg(trust).arg("--clone").arg(clone).arg(bundle);
    verdict(command)
}

fn verdict(mut command: Command) -> Verification {
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
    Verification { code, report }
}

/// A 64-bit number, which JSON holds as a string.
pub fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// Gives the services free ports and short intervals: small batches, and an anchor every second. Returns the addresses
/// of committer, ingest-consumer and anchor.
pub fn configure(folder: &Path, name: &str, neighbours: &Neighbours<'_>) -> [SocketAddr; 3] {
    let Neighbours { commitments, batch_events, .. } = neighbours;
    let addresses = [(); 3].map(|()| free_address());
    let path = folder.join(CONFIG);
    let mut text = fs::read_to_string(&path).unwrap();
    for (default, address) in [7380, 7381, 7382].iter().zip(addresses) {
        text = text.replace(&format!("127.0.0.1:{default}"), &address.to_string());
    }
    let kafka = [
        ("client.id", name),
        // The group soon drops a killed member.
        ("session.timeout.ms", "3000"),
        ("heartbeat.interval.ms", "500"),
        // Clients soon find a restarted broker and new partitions.
        ("reconnect.backoff.max.ms", "500"),
        ("topic.metadata.refresh.interval.ms", "1000"),
    ];
    let kafka: String = kafka.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"\n")).collect();
    let pace = [
        ("[kafka]", kafka),
        ("[ingest]", format!("group = \"{name}\"\nbatch_events = {batch_events}\nbatch_age_ms = 200")),
        ("[committer]", format!("commitments_topic = \"{commitments}\"\nheads_s = 1")),
        ("[anchor]", "interval_s = 1".to_owned()),
    ];
    for (section, settings) in pace {
        assert!(text.contains(section), "{text}");
        text = text.replace(section, &format!("{section}\n{settings}"));
    }
    fs::write(&path, text).unwrap();
    addresses
}
