//! A load on a line that already runs, such as the one of `docker/compose.bench.yml`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use kafka::Properties;

use crate::line::bare::Bare;
use crate::line::commitments::Commitments;
use crate::line::fill::{Flood, Until};
use crate::line::paced::{PERCENTILES, Paced, histogram, milliseconds};
use crate::{Addresses, Better, CaseResults, Machine, Measurement, Servers, report, results, servers};

const ABOUT: &str = "A load on a line that ran already, with producers, servers and services on the same machine. Sealing \
                     ends with the last commitment that a reader of the topic of commitments got. The bare consumer read \
                     the same records afterwards.";

/// Time until the first records of a new topic are sealed: the ingest-consumer must find the topic first.
const FOUND_WITHIN: Duration = Duration::from_secs(330);

/// Time until more is sealed, while records remain.
const PATIENCE: Duration = Duration::from_secs(60);

/// Loads a line that already runs: produces, waits until all records are sealed, and compares with a bare consumer
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Kafka's bootstrap.servers
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_servers: String,
    /// The URL of the committer, which must be ready
    #[arg(long, value_name = "URL")]
    committer: String,
    /// The topic of commitments
    #[arg(long, default_value = "commitments")]
    commitments: String,
    /// Prefix of the names of new topics, which the line must seal
    #[arg(long, value_name = "PREFIX", default_value = "bench-")]
    topics: String,
    /// Records per second, or flat-out
    #[arg(long, default_value = "flat-out")]
    rate: Rate,
    /// Size of each record's value, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    size: usize,
    /// Partitions of each topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Seconds that each run produces
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Number of samples, each with its own topic
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Codec: none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none")]
    codec: String,
    /// Kafka clients of the bare consumer; use the number of the ingest-consumer
    #[arg(long, default_value_t = 1)]
    handles: u32,
    /// Folder for results; several loads may share one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Versions for the results, such as Kafka=4.3.1; may be repeated
    #[arg(long, value_name = "NAME=VERSION", value_parser = servers::version_of)]
    version_of: Vec<servers::VersionOf>,
}

/// The rate of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rate {
    FlatOut,
    EventsS(u64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flat-out" => Ok(Self::FlatOut),
            text => text
                .parse()
                .ok()
                .filter(|rate| *rate > 0)
                .map(Self::EventsS)
                .ok_or("wants a number, or flat-out".into()),
        }
    }
}

/// The rates of a run, in records per second.
#[derive(Debug)]
struct Run {
    produced: f64,
    sealed: f64,
    bare: f64,
    latencies: Option<Histogram<u64>>,
}

/// `streamseal-bench load`
///
/// # Errors
/// When a server does not answer, or records are not sealed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let addresses = Addresses {
        bootstrap_servers: Some(args.bootstrap_servers.clone()),
        postgres: None,
        version_of: args.version_of.clone(),
    };
    let servers = Servers::new(addresses)?;
    servers.until_ready(&args.committer)?;
    let commitments = Commitments::follow(servers.bootstrap(), &args.commitments)?;
    let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut runs = Vec::new();
    for number in 0..args.runs {
        let topic = format!("{}{begun}-{number}", args.topics);
        servers.topic(&topic, args.partitions)?;
        runs.push(args.one_run(&servers, &commitments, &topic).with_context(|| topic.clone())?);
    }
    write(&args.out, &args.results(&runs)?, &servers)
}

fn write(folder: &Path, results: &CaseResults, servers: &Servers) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut machine = Machine::this();
    machine.versions.extend(servers.versions());
    results::write_machine(folder, machine)?;
    results.add_to(folder)?;
    report::write(folder)
}

impl Args {
    fn one_run(&self, servers: &Servers, commitments: &Commitments, topic: &str) -> anyhow::Result<Run> {
        let Self { partitions, size, seconds, .. } = *self;
        let bootstrap = servers.bootstrap();
        let flood = Flood { topic, partitions, size, codec: &self.codec };
        // The line must find the topic before the measurement begins.
        let (_, first) = commitments.during(topic, partitions, FOUND_WITHIN, || {
            let first = flood.send(bootstrap, Until::Each(1))?;
            Ok((first, first))
        })?;
        let clock = Instant::now();
        let (events, produced_in, latencies) = match self.rate {
            Rate::FlatOut => {
                let (_, (each, took)) = commitments.during(topic, partitions, PATIENCE, || {
                    let each = flood.send(bootstrap, Until::Passed(Duration::from_secs(seconds)))?;
                    Ok(((each, clock.elapsed()), first + each))
                })?;
                (each * u64::from(partitions), took, None)
            }
            Rate::EventsS(events_s) => {
                // The same number for each partition.
                let each = (events_s * seconds).div_ceil(u64::from(partitions));
                let paced = Paced { topic, first, partitions, events_s, size };
                let (sealed, (sent, took)) = commitments.during(topic, partitions, PATIENCE, || {
                    let sent = paced.send(bootstrap, each * u64::from(partitions))?;
                    Ok(((sent, clock.elapsed()), first + each))
                })?;
                (sent.events, took, Some(sent.latencies(&sealed, sent.begun)?))
            }
        };
        let sealed_in = clock.elapsed();
        let until = first + events / u64::from(partitions);
        let properties = Properties::new([("bootstrap.servers", bootstrap)])?;
        let config = properties.shared_by(partitions as usize).consumer(None);
        let bare = Bare { topic, partitions, until, handles: self.handles, config }.consume()?;
        let rate = |took: Duration| events as f64 / took.as_secs_f64();
        Ok(Run { produced: rate(produced_in), sealed: rate(sealed_in), bare: rate(bare), latencies })
    }

    fn results(&self, runs: &[Run]) -> anyhow::Result<CaseResults> {
        let Self { partitions, size, codec, .. } = self;
        let rate = match self.rate {
            Rate::FlatOut => "flat out".to_owned(),
            Rate::EventsS(events_s) => format!("{events_s} events/s"),
        };
        let name = format!("{rate}, {size} B, {partitions} partitions");
        let samples = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<_>>();
        let events_s = |what: &str, samples| {
            let measured = Measurement::new(format!("{name}: {what}"), "events/s", Better::Higher, samples);
            measured.setting("codec", codec).setting("seconds", self.seconds).setting("handles", self.handles)
        };
        let mut measurements = vec![
            events_s("sealed", samples(|run| run.sealed)).against("bare consumer", samples(|run| run.bare)),
            events_s("produced", samples(|run| run.produced)),
        ];
        let histograms: Vec<_> = runs.iter().filter_map(|run| run.latencies.as_ref()).collect();
        if !histograms.is_empty() {
            let mut all = histogram()?;
            histograms.iter().try_for_each(|histogram| all.add(*histogram)).context("histograms of one kind")?;
            let percentiles = PERCENTILES.map(|at| (at, milliseconds(&all, at))).to_vec();
            for at in [50.0, 99.0] {
                let samples = histograms.iter().map(|histogram| milliseconds(histogram, at)).collect();
                let measured =
                    Measurement::new(format!("{name}: p{at} to its commitment"), "ms", Better::Lower, samples);
                measurements.push(if at == 50.0 { measured.percentiles(percentiles.clone()) } else { measured });
            }
        }
        Ok(CaseResults { case: "load".to_owned(), about: ABOUT.to_owned(), measurements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_none() {
        assert_eq!(["flat-out", "10000"].map(Rate::from_str), [Ok(Rate::FlatOut), Ok(Rate::EventsS(10_000))]);
        assert!(["0", "fast", "-1"].map(Rate::from_str).iter().all(Result::is_err));
    }
}
