//! Latency from sending an event to committing its entry, at a fixed rate.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::line::paced::{PERCENTILES, Paced, Sealings, histogram, milliseconds};
use crate::line::{Line, Options, Setting, logged_at};
use crate::{Better, Case, Context, Goal, Measurement};

pub(super) const CASE: Case = Case {
    name: "latency",
    about: "From the moment in which an event was to be sent, at a fixed rate, to the moment in which the ingest-consumer \
            has the committer's answer that its entry is committed: no later than that, and with nothing left out. A \
            producer that falls behind sends late, and its events count from when they were due. A producer without \
            linger, PostgreSQL with fsync, the line's settings for latency.",
    run,
};

const EVENTS_S: u64 = 10_000;

/// Size of each event's value, in bytes.
const SIZE: usize = 256;

const P50_MS_MAX: f64 = 20.0;
const P99_MS_MAX: f64 = 50.0;

/// Time until the last events are sealed.
const SEALED_WITHIN: Duration = Duration::from_secs(30);

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    for (name, partitions) in [("1 partition", 1), ("8 partitions", 8)] {
        if context.wants(name) {
            measure(context, name, partitions)?;
        }
    }
    Ok(())
}

fn measure(context: &Context<'_>, name: &str, partitions: u32) -> anyhow::Result<()> {
    let options = for_latency(context.line);
    let mut all = histogram()?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..context.runs {
        let histogram = one_run(context, partitions, &options)?;
        p50.push(milliseconds(&histogram, 50.0));
        p99.push(milliseconds(&histogram, 99.0));
        all.add(&histogram).context("histograms of one kind")?;
    }
    let percentiles = PERCENTILES.map(|at| (at, milliseconds(&all, at)));
    for (what, samples, most) in [("p50", p50, P50_MS_MAX), ("p99", p99, P99_MS_MAX)] {
        let mut measured = Measurement::new(format!("{name}: {what}"), "ms", Better::Lower, samples)
            .goal(Goal::AtMost(most))
            .setting("events/s", EVENTS_S)
            .setting("bytes", SIZE);
        for (field, value) in &options.set {
            measured = measured.setting(field, value);
        }
        if what == "p50" {
            measured = measured.percentiles(percentiles.to_vec());
        }
        context.record(measured)?;
    }
    Ok(())
}

/// The settings for latency. Those of the command line override them.
fn for_latency(options: &Options) -> Options {
    let age: Setting = ("ingest.batch_age_ms".to_owned(), toml::Value::Integer(5));
    let set = [age].into_iter().chain(options.set.iter().cloned()).collect();
    Options { set, ..options.clone() }
}

fn one_run(context: &Context<'_>, partitions: u32, options: &Options) -> anyhow::Result<Histogram<u64>> {
    // Kept servers have topics of earlier processes.
    let topic = format!("bench-{}-{}", std::process::id(), testbed::unique("paced"));
    context.servers.topic(&topic, partitions)?;
    let line = Line::start(context.servers, &[&topic], options)?;
    let ingest = line.start_ingest("info,ingest_consumer=debug");
    let (warm, length) = context.size((3, 10), (1, 1));
    let paced = Paced { topic: &topic, first: 0, partitions, events_s: EVENTS_S, size: SIZE };
    let sent = paced.send(context.servers.bootstrap(), EVENTS_S * (warm + length))?;
    testbed::until("everything is sealed", SEALED_WITHIN, || {
        ingest.assert_running();
        sent.is_sealed(&acknowledgements(&ingest.log_text()))
    });
    let histogram = sent.latencies(&acknowledgements(&ingest.log_text()), sent.begun + Duration::from_secs(warm))?;
    ingest.stop();
    Ok(histogram)
}

/// For each partition, the times at which the ingest-consumer received each acknowledged cursor, by its log.
fn acknowledgements(log: &str) -> Sealings {
    let mut sealed = Sealings::new();
    for line in log.lines() {
        let Some((head, next)) = line.split_once(": sealed next=") else { continue };
        let span = head.split_once(" partition=").and_then(|(_, rest)| rest.split_once('}'));
        let partition = span.and_then(|(number, _)| number.parse().ok());
        if let (Some(time), Some(partition), Ok(next)) = (logged_at(head), partition, next.parse()) {
            sealed.entry(partition).or_default().push((time, next));
        }
    }
    sealed
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn acknowledgements_are_read_by_partition() {
        let log = "2026-01-02T03:04:05.000001Z DEBUG stream{topic=a partition=1}: ingest_consumer::assignment: sealed next=7\n\
                   2026-01-02T03:04:05.000002Z  INFO stream{topic=a partition=0}: ingest_consumer::assignment: reading offset=0\n\
                   2026-01-02T03:04:05.000003Z DEBUG stream{topic=a partition=1}: ingest_consumer::assignment: sealed next=9\n\
                   2026-01-02T03:04:05.000004Z DEBUG stream{topic=a partition=0}: ingest_consumer::assignment: sealed next=3\n";
        let sealed = acknowledgements(log);
        let next: Vec<_> = sealed[&1].iter().map(|(_, next)| *next).collect();
        assert_eq!(next, [7, 9]);
        let [(time, 3)] = sealed[&0][..] else { panic!("{sealed:?}") };
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros(), 1_767_323_045_000_004);
    }
}
