//! The events of the demo.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use committer_client::{Client, CursorQuery};
use kafka::{Cluster, Producer, Record};
use tokio::time::Instant;

use crate::config::Config;

use super::{LOOK, PATIENCE};

/// Made-up orders by default: enough for several batches of each partition.
const EVENTS_DEFAULT: u64 = 20_000;

const PARTITIONS_MIN: u32 = 4;
const PARTITIONS_MAX: u32 = 32;

/// The most bytes for one partition. The in-process broker keeps 5 MiB of each, and the export must still find all.
const PARTITION_BYTES_MAX: u64 = 3 << 20;

/// The most bytes of a record besides its value.
const RECORD_OVERHEAD_BYTES: u64 = 80;

/// After this many bytes the demo waits until they are sealed.
const CHUNK_BYTES: u64 = 4 << 20;

const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The events to produce.
pub(crate) struct Events {
    values: Vec<Vec<u8>>,
    what: &'static str,
    partitions: u32,
}

impl Events {
    /// The lines of a file or of standard input, or made-up orders.
    pub(crate) fn read(input: Option<&Path>, count: Option<u64>) -> anyhow::Result<Self> {
        let (values, what) = match input {
            None => ((0..count.unwrap_or(EVENTS_DEFAULT)).map(order).collect(), "made-up orders"),
            Some(path) if path == Path::new("-") => (lines(std::io::stdin().lock())?, "lines"),
            Some(path) => {
                let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
                (lines(file).with_context(|| path.display().to_string())?, "lines")
            }
        };
        ensure!(!values.is_empty(), "there is nothing to seal");
        let bytes: u64 = values.iter().map(|value| size(value)).sum();
        let partitions = u32::try_from(bytes.div_ceil(PARTITION_BYTES_MAX)).unwrap_or(u32::MAX);
        if partitions > PARTITIONS_MAX {
            bail!("{}", too_large());
        }
        Ok(Self { values, what, partitions: partitions.max(PARTITIONS_MIN) })
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} {}", self.values.len(), self.what)
    }

    /// Produces everything, no faster than it is sealed, and returns the number of events.
    pub(crate) async fn produce(&self, config: &Config, client: &Client, topic: &str) -> anyhow::Result<u64> {
        let producer = Producer::new(config.kafka()?)?;
        let cluster = Cluster::new(config.kafka()?, PATIENCE)?;
        let cluster = tokio::task::block_in_place(|| cluster.id())?;
        let mut counts = vec![0; self.partitions as usize];
        let mut bytes = 0;
        for (i, value) in self.values.iter().enumerate() {
            let partition = i % counts.len();
            let record = Record { topic, partition: Some(partition as u32), value: Some(value), ..Record::default() };
            let sent = tokio::task::block_in_place(|| producer.send(&record, SEND_TIMEOUT))?;
            ensure!(sent, "the in-process broker does not accept events");
            counts[partition] += 1;
            bytes += size(value);
            if bytes >= CHUNK_BYTES {
                wait_until_sealed(&producer, client, &cluster, topic, &counts).await?;
                bytes = 0;
            }
        }
        wait_until_sealed(&producer, client, &cluster, topic, &counts).await?;
        Ok(counts.iter().sum())
    }
}

async fn wait_until_sealed(
    producer: &Producer,
    client: &Client,
    cluster: &str,
    topic: &str,
    counts: &[u64],
) -> anyhow::Result<()> {
    let delivered = tokio::task::block_in_place(|| producer.flush(SEND_TIMEOUT))?;
    ensure!(delivered, "the in-process broker did not acknowledge all events");
    let deadline = Instant::now() + PATIENCE;
    for (partition, &count) in counts.iter().enumerate() {
        let query = CursorQuery { cluster: cluster.to_owned(), topic: topic.to_owned(), partition: partition as u32 };
        while client.cursor(&query).await.map_or(0, |cursor| cursor.next) < count {
            ensure!(Instant::now() < deadline, "{topic}/{partition}: not sealed after {} s", PATIENCE.as_secs());
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

fn order(i: u64) -> Vec<u8> {
    let cents = 100 + i * 7919 % 99_900;
    format!(
        r#"{{"order":{i},"customer":"c-{:05}","item":"sku-{:04}","quantity":{},"price":"{}.{:02}"}}"#,
        i * 31 % 10_007,
        i * 17 % 2_503,
        1 + i % 9,
        cents / 100,
        cents % 100
    )
    .into_bytes()
}

fn lines(input: impl Read) -> anyhow::Result<Vec<Vec<u8>>> {
    let room = u64::from(PARTITIONS_MAX) * PARTITION_BYTES_MAX;
    let mut input = BufReader::new(input.take(room));
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut read = 0;
    while input.read_until(b'\n', &mut line)? > 0 {
        read += line.len() as u64;
        if read >= room {
            bail!("{}", too_large());
        }
        lines.push(line.strip_suffix(b"\n").unwrap_or(&line).to_vec());
        line.clear();
    }
    Ok(lines)
}

fn size(value: &[u8]) -> u64 {
    value.len() as u64 + RECORD_OVERHEAD_BYTES
}

fn too_large() -> String {
    format!(
        "more than {} MiB: the in-process broker cannot keep that much; use a real Kafka with \
         `streamseal init --bootstrap-servers`",
        (u64::from(PARTITIONS_MAX) * PARTITION_BYTES_MAX) >> 20
    )
}
