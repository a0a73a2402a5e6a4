//! The line as users run it: each service of the release binary in its own process, on real servers.

pub mod bare;
pub mod commitments;
pub mod fill;
pub mod paced;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kafka::Properties;
use serde_json::Value;
use testbed::{Process, Scratch, eventually, free_port, http_get, run, streamseal, unique, until};

use crate::Servers;
use crate::processor::busy;

/// Time until a service is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Time until everything is sealed, even in an unoptimised build.
const SEALED_WITHIN: Duration = Duration::from_secs(300);

/// Bounds of the interval between requests for the cursor. It is long while much is left, because each request costs
/// the committer time.
const ASK_MIN: Duration = Duration::from_millis(2);
const ASK_MAX: Duration = Duration::from_millis(250);

/// How the line is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Codec of the records: none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none")]
    pub codec: String,
    /// Kafka clients of the bare consumer; use the number of the ingest-consumer
    #[arg(long, default_value_t = 1)]
    pub handles: u32,
    /// A field of the line's configuration, such as ingest.batch_age_ms=50; may be repeated
    #[arg(long = "set", value_name = "SECTION.FIELD=VALUE", value_parser = setting)]
    pub set: Vec<Setting>,
    /// The `streamseal` to measure; by default the one of this work tree, which is built first
    #[arg(long, value_name = "FILE")]
    pub streamseal: Option<PathBuf>,
}

/// A field of the configuration, such as `ingest.batch_age_ms`, and its value.
pub type Setting = (String, toml::Value);

/// A TOML value. Anything that is not TOML is a string, so that the shell needs no nested quotes.
fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("wants SECTION.FIELD=VALUE")?;
    let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    Ok((name.to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))))
}

/// A ledger with a running committer on its own database, and an ingest-consumer to start.
#[derive(Debug)]
pub struct Line {
    config: PathBuf,
    cluster: String,
    binary: PathBuf,
    /// The committer's database, and its size without entries.
    database: (String, u64),
    committer: Process,
    committer_address: SocketAddr,
    /// Declared after the processes, because fields drop in this order.
    _folder: Scratch,
}

/// Time and resources of an ingest-consumer's run.
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    /// From the first read until the committer committed the last entry.
    pub took: Duration,
    /// Peak resident memory.
    pub memory_peak_bytes: u64,
    /// Processor time of the whole machine during the run.
    pub processor_time: Duration,
}

impl Line {
    /// Makes a ledger for these topics and starts its committer.
    ///
    /// # Errors
    /// When a server refuses or the configuration cannot be written.
    pub fn start(servers: &Servers, topics: &[&str], options: &Options) -> anyhow::Result<Self> {
        let (folder, name) = (Scratch::new("line"), unique("bench"));
        let binary = options.streamseal.clone().unwrap_or_else(|| streamseal().to_owned());
        let ledger = folder.join("ledger");
        let mut init = Command::new(&binary);
        init.arg("init").arg(&ledger).args(["--origin", "example.com/bench"]);
        let database = servers.database()?;
        init.args(["--bootstrap-servers", servers.bootstrap(), "--database", &database]);
        topics.iter().for_each(|topic| {
            init.args(["--topic", topic]);
        });
        run(&mut init);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let [committer_address, ingest_address] = [(); 2].map(|()| address(free_port()));
        let group = format!("{name}-{}", std::process::id());
        let commitments = format!("streamseal.commitments.{group}");
        servers.topic(&commitments, 1)?;
        let own = [
            ("ingest.group", group),
            ("ingest.committer", format!("http://{committer_address}")),
            ("anchor.committer", format!("http://{committer_address}")),
            ("ingest.listen", ingest_address.to_string()),
            ("committer.listen", committer_address.to_string()),
            ("committer.commitments_topic", commitments.clone()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), toml::Value::String(value)));
        let config = ledger.join("streamseal.toml");
        set(&config, own.iter().chain(&options.set))?;
        let committer = service(&binary, "committer", &config, "info");
        until("the committer is ready", READY_WITHIN, || {
            committer.assert_running();
            http_get(committer_address, "/readyz").is_some_and(|(status, _)| status == 200)
        });
        let cluster = servers.cluster_id()?;
        let empty = servers.database_bytes(&database)?;
        Ok(Self { database: (database, empty), config, cluster, binary, committer, committer_address, _folder: folder })
    }

    /// Starts the ingest-consumer, waits until the offsets below `until` of all partitions of `topic` are committed,
    /// and stops it.
    ///
    /// # Errors
    /// When the committer does not answer, or answers with an error.
    pub fn seal(&self, topic: &str, partitions: u32, until: u64) -> anyhow::Result<Sealed> {
        let ingest = self.start_ingest("info");
        let begun = eventually("the ingest-consumer reads", READY_WITHIN, || {
            ingest.assert_running();
            began_to_read(&ingest.log_text())
        });
        let busy = busy()?;
        for partition in 0..partitions {
            loop {
                let next = self.next_offset(topic, partition)?;
                if next >= until {
                    break;
                }
                ingest.assert_running();
                self.committer.assert_running();
                let elapsed = begun.elapsed().unwrap_or_default();
                if elapsed > SEALED_WITHIN {
                    bail!("{topic}/{partition} is sealed up to {next} of {until} after {elapsed:?}");
                }
                let left = (until - next) as f64 / (next.max(1)) as f64;
                std::thread::sleep(elapsed.mul_f64((left / 4.0).min(1.0)).clamp(ASK_MIN, ASK_MAX));
            }
        }
        let took = begun.elapsed().context("the clock went back")?;
        let processor_time = self::busy()?.saturating_sub(busy);
        let memory_peak_bytes = ingest.memory_peak_bytes();
        ingest.stop();
        Ok(Sealed { took, memory_peak_bytes, processor_time })
    }

    /// Starts the ingest-consumer with a log filter.
    pub fn start_ingest(&self, log: &str) -> Process {
        service(&self.binary, "ingest", &self.config, log)
    }

    /// Bytes per entry in the database, including indexes and tree nodes.
    ///
    /// # Errors
    /// When database or committer do not answer.
    pub fn bytes_per_entry(&self, servers: &Servers) -> anyhow::Result<f64> {
        let (url, empty) = &self.database;
        let (_, status) = http_get(self.committer_address, "/v1/status").context("the committer does not answer")?;
        let status: Value = serde_json::from_str(&status)?;
        let entries: f64 = status["size"].as_str().context("a status has a size")?.parse()?;
        Ok(servers.database_bytes(url)?.saturating_sub(*empty) as f64 / entries)
    }

    /// The measured command.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A file of the ledger.
    pub fn file(&self, name: &str) -> PathBuf {
        self.config.with_file_name(name)
    }

    /// Writes another configuration beside the ledger's own, for another service.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configured(&self, name: &str, settings: &[Setting]) -> anyhow::Result<PathBuf> {
        let config = self.file(&format!("{name}.toml"));
        fs::copy(&self.config, &config)?;
        set(&config, settings)?;
        Ok(config)
    }

    /// The cursor of a partition.
    ///
    /// # Errors
    /// When the committer does not answer.
    pub fn next_offset(&self, topic: &str, partition: u32) -> anyhow::Result<u64> {
        next_offset(self.committer_address, &self.cluster, topic, partition)
    }

    /// The properties of its Kafka clients.
    ///
    /// # Errors
    /// When the configuration has none.
    pub fn properties(&self) -> anyhow::Result<Properties> {
        let config: toml::Table = fs::read_to_string(&self.config)?.parse()?;
        let section = config.get("kafka").context("the configuration has a section [kafka]")?;
        Ok(section.clone().try_into()?)
    }
}

/// A partition's cursor at the committer with this address.
///
/// # Errors
/// When it does not answer.
pub fn next_offset(committer: SocketAddr, cluster: &str, topic: &str, partition: u32) -> anyhow::Result<u64> {
    let query = format!("/v1/cursors?cluster={cluster}&topic={topic}&partition={partition}");
    let (status, body) = http_get(committer, &query).context("the committer does not answer")?;
    anyhow::ensure!(status == 200, "{query}: {status} {body}");
    let cursor: Value = serde_json::from_str(&body)?;
    let next = cursor["next"].as_str().and_then(|next| next.parse().ok());
    next.with_context(|| format!("{query}: {body}"))
}

fn service(binary: &Path, kind: &str, config: &Path, log: &str) -> Process {
    let mut command = Process::command(binary);
    command.env("RUST_LOG", log).arg(kind).arg("--config").arg(config);
    Process::start(kind, config.with_extension(format!("{kind}.log")), command)
}

/// When the ingest-consumer began to read its first partition, by its log. This is before its first record arrived.
fn began_to_read(log: &str) -> Option<SystemTime> {
    logged_at(log.lines().find(|line| line.contains(": reading offset="))?)
}

/// The time of a log line, to the microsecond.
pub(crate) fn logged_at(line: &str) -> Option<SystemTime> {
    let time: Timestamp = line.split_whitespace().next()?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.as_microsecond()).ok()?))
}

/// Writes settings into a configuration.
fn set<'a>(path: &Path, settings: impl IntoIterator<Item = &'a Setting>) -> anyhow::Result<()> {
    let mut config: toml::Table = fs::read_to_string(path)?.parse()?;
    for (name, value) in settings {
        let (section, field) = name.split_once('.').with_context(|| format!("{name} wants section.field"))?;
        let section = config.get_mut(section).and_then(toml::Value::as_table_mut);
        let section = section.with_context(|| format!("{name}: the configuration has no such section"))?;
        section.insert(field.to_owned(), value.clone());
    }
    Ok(fs::write(path, config.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_a_toml_value_or_string() {
        let parsed = |text| setting(text).map(|(name, value)| (name, value.to_string()));
        assert_eq!(parsed("ingest.batch_age_ms=50"), Ok(("ingest.batch_age_ms".into(), "50".into())));
        assert_eq!(parsed("kafka.check.crcs=true"), Ok(("kafka.check.crcs".into(), "true".into())));
        assert_eq!(parsed("ingest.group=a=b"), Ok(("ingest.group".into(), "\"a=b\"".into())));
        assert!(setting("ingest.group").is_err());
    }

    #[test]
    fn reading_begins_with_its_line_in_the_log() {
        let log = "2026-01-02T03:04:05.000000Z  INFO a: ready\n\
                   2026-01-02T03:04:06.123456Z  INFO stream{topic=orders partition=3}: ingest_consumer::assignment: reading offset=0\n\
                   2026-01-02T03:04:07.000000Z  INFO stream{topic=orders partition=4}: ingest_consumer::assignment: reading offset=0\n";
        let begun = began_to_read(log).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(begun.as_micros(), 1_767_323_046_123_456);
    }
}
