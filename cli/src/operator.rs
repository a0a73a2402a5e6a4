//! `streamseal epoch` and `streamseal gap`: statements about a stream that only the operator may sign.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use committer_client::{Cursor, CursorQuery};
use evidence::statement::{Epoch, Gap, Reason};
use evidence::{Partition, SignedStatement, Statement, text};
use kafka::{Cluster, TopicPartition, Watermarks};

use crate::config::{Config, ConfigFile};
use crate::key::OperatorKey;
use crate::ledger::Ledger;
use crate::output;

const KAFKA_TIMEOUT: Duration = Duration::from_secs(15);

/// Begins a new stream after a topic was recreated or truncated: sealing continues in the next epoch
#[derive(Debug, clap::Args)]
pub(crate) struct EpochArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    place: Place,
    /// First offset of the new stream; the default is right for a recreated topic
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    start: u64,
    #[command(flatten)]
    operator: OperatorKey,
}

/// Skips offsets: states that a stream is not sealed from its cursor up to an offset
#[derive(Debug, clap::Args)]
pub(crate) struct GapArgs {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    place: Place,
    /// The offset at which sealing continues
    #[arg(long, value_name = "OFFSET")]
    next: u64,
    /// Why they are skipped: operator, truncated, retention or start
    #[arg(long, default_value = "operator")]
    reason: Reason,
    #[command(flatten)]
    operator: OperatorKey,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The topic
    #[arg(long)]
    topic: String,
    /// The partition. `gap` needs it; the default of `epoch` is every partition of the topic that has a stream
    #[arg(long)]
    partition: Option<u32>,
    /// The cluster id that the stream was sealed under; by default that of the configured cluster
    #[arg(long, value_name = "ID")]
    cluster: Option<String>,
}

/// The topic as Kafka has it now.
struct Now {
    cluster: String,
    topic_id: Option<String>,
    watermarks: Vec<(u32, Watermarks)>,
}

/// Signs and submits an epoch statement for each selected partition.
pub(crate) async fn epoch(args: &EpochArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let ledger = Ledger::open(&config).await?;
    let operator = keystore::read_signing_key(&args.operator.operator_key)?;
    let now = args.place.look_up(&config)?;
    let mut stated = 0;
    for (number, marks) in &now.watermarks {
        let partition = args.place.partition(&now, *number);
        let cursor = cursor(&ledger, &partition).await?;
        let Some(prev) = newest(&cursor)? else {
            ensure!(args.place.partition.is_none(), "{partition} has no stream yet, so there is no epoch to end");
            continue;
        };
        ensure!(
            args.start <= marks.high as u64,
            "{partition}: --start {} is above the high watermark {}",
            args.start,
            marks.high
        );
        let stream = partition.stream(cursor.epoch + 1);
        let statement = Statement::Epoch(Epoch {
            ledger: ledger.state.ledger().clone(),
            stream: stream.clone(),
            topic_id: now.topic_id.clone(),
            old_topic_id: cursor.topic_id.clone(),
            old_next: cursor.next,
            start: args.start,
            prev: prev.hash(),
        });
        let seq = ledger.submit(statement, &[&operator]).await?;
        output::line(format_args!("entry {seq}: {stream} begins at offset {}", args.start));
        stated += 1;
    }
    ensure!(stated > 0, "no partition of {} has a stream yet", args.place.topic);
    Ok(())
}

/// Signs and submits a gap statement for each selected partition.
pub(crate) async fn gap(args: &GapArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let ledger = Ledger::open(&config).await?;
    let operator = keystore::read_signing_key(&args.operator.operator_key)?;
    ensure!(args.place.partition.is_some(), "--partition: a gap is stated for one partition at a time");
    let now = args.place.look_up(&config)?;
    for (number, marks) in &now.watermarks {
        let partition = args.place.partition(&now, *number);
        let cursor = cursor(&ledger, &partition).await?;
        let prev = newest(&cursor)?;
        ensure!(args.next > cursor.next, "{partition}: --next {} is not above the cursor {}", args.next, cursor.next);
        let stream = partition.stream(cursor.epoch);
        let statement = Statement::Gap(Gap {
            ledger: ledger.state.ledger().clone(),
            stream: stream.clone(),
            topic_id: if prev.is_some() { cursor.topic_id.clone() } else { now.topic_id.clone() },
            first: cursor.next,
            next: args.next,
            reason: args.reason,
            low: marks.low as u64,
            high: marks.high as u64,
            prev: prev.map(|p| p.hash()),
        });
        let seq = ledger.submit(statement, &[&operator]).await?;
        output::line(format_args!("entry {seq}: {stream} is not sealed from {} to {}", cursor.next, args.next - 1));
    }
    Ok(())
}

impl Place {
    fn partition(&self, now: &Now, number: u32) -> Partition {
        let cluster = self.cluster.clone().unwrap_or_else(|| now.cluster.clone());
        Partition { cluster, topic: self.topic.clone(), number }
    }

    fn look_up(&self, config: &Config) -> anyhow::Result<Now> {
        ensure!(text::is_name(&self.topic), "--topic {:?} is not a topic name", self.topic);
        tokio::task::block_in_place(|| {
            let cluster = Cluster::new(config.kafka()?, KAFKA_TIMEOUT)?;
            let topic = cluster.topic(&self.topic)?.with_context(|| format!("Kafka has no topic {}", self.topic))?;
            let numbers: Vec<u32> = match self.partition {
                Some(number) if number >= topic.partitions => {
                    bail!("{} has {} partitions, no {number}", self.topic, topic.partitions)
                }
                Some(number) => vec![number],
                None => (0..topic.partitions).collect(),
            };
            let partitions: Vec<_> = numbers.iter().map(|n| TopicPartition::new(self.topic.as_str(), *n)).collect();
            let marks = cluster.watermarks(&partitions)?;
            let watermarks = partitions.iter().map(|p| (p.partition, marks[p])).collect();
            Ok(Now { cluster: cluster.id()?, topic_id: topic.id, watermarks })
        })
    }
}

async fn cursor(ledger: &Ledger, partition: &Partition) -> anyhow::Result<Cursor> {
    let Partition { cluster, topic, number } = partition.clone();
    Ok(ledger.client.cursor(&CursorQuery { cluster, topic, partition: number }).await?)
}

fn newest(cursor: &Cursor) -> anyhow::Result<Option<SignedStatement>> {
    let parse = |text: &String| SignedStatement::parse(text.as_bytes()).context("the committer's newest statement");
    cursor.statement.as_ref().map(parse).transpose()
}
