//! The position of an event, as users write it.

use anyhow::Context;
use committer_client::{Client, CoveringQuery, CursorQuery};
use evidence::{Entry, Partition};
use kafka::Cluster;

use crate::config::Config;
use crate::export::PATIENCE;

/// `TOPIC/PARTITION@OFFSET`
#[derive(Debug, Clone)]
pub(crate) struct EventPosition {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
}

impl std::str::FromStr for EventPosition {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let parse = || {
            let (stream, offset) = s.rsplit_once('@')?;
            let (topic, partition) = stream.rsplit_once('/')?;
            Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        };
        parse().ok_or_else(|| "expected TOPIC/PARTITION@OFFSET, such as orders/3@104200".to_owned())
    }
}

impl EventPosition {
    /// Fetches the entry that covers the offset, in the given epoch or the newest.
    pub(crate) async fn entry(&self, config: &Config, client: &Client, epoch: Option<u64>) -> anyhow::Result<Entry> {
        let kafka = config.kafka()?;
        let cluster = tokio::task::block_in_place(|| Cluster::new(kafka, PATIENCE)?.id())?;
        let partition = Partition { cluster, topic: self.topic.clone(), number: self.partition };
        let Partition { cluster, topic, number } = partition.clone();
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => {
                let query = CursorQuery { cluster: cluster.clone(), topic: topic.clone(), partition: number };
                client.cursor(&query).await?.epoch
            }
        };
        let query = CoveringQuery { cluster, topic, partition: number, epoch, offset: self.offset };
        let text = client.covering_entry(&query).await?;
        let text =
            text.with_context(|| format!("{}: offset {} is not sealed", partition.stream(epoch), self.offset))?;
        Ok(Entry::parse(text.as_bytes())?)
    }
}
