//! Reads the topic of commitments and records arrival times.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use committer_client::Commitment;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::paced::Sealings;

/// Time for an answer of the broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Time of one wait for a commitment.
const WAIT: Duration = Duration::from_millis(100);

/// A reader of the topic of commitments, which starts at its end.
pub struct Commitments {
    consumer: BaseConsumer,
}

impl Commitments {
    /// Begins to read new commitments.
    ///
    /// # Errors
    /// When the broker does not answer, or has no such topic.
    pub fn follow(bootstrap: &str, topic: &str) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "streamseal-bench")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        ensure!(partitions > 0, "there is no topic {topic}");
        let mut places = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN)?;
            places.add_partition_offset(topic, partition, Offset::Offset(end))?;
        }
        consumer.assign(&places)?;
        Ok(Self { consumer })
    }

    /// Reads, beside `work`, until every partition of `topic` is sealed up to the offset that `work` returns. Returns
    /// the time of each step, and the result of `work`.
    ///
    /// # Errors
    /// When the work fails, or nothing is sealed for too long.
    pub fn during<T: Send>(
        &self,
        topic: &str,
        partitions: u32,
        patience: Duration,
        work: impl FnOnce() -> anyhow::Result<(T, u64)> + Send,
    ) -> anyhow::Result<(Sealings, T)> {
        thread::scope(|scope| {
            let mut working = Some(scope.spawn(work));
            let (mut sealed, mut done, mut heard) = (Sealings::new(), None, Instant::now());
            loop {
                if let Some(ended) = working.take_if(|working| working.is_finished()) {
                    done = Some(ended.join().expect("a load does not panic")?);
                }
                let is_sealed = |next| (0..partitions).all(|partition| reached(&sealed, partition) >= next);
                if let Some((result, _)) = done.take_if(|(_, next)| is_sealed(*next)) {
                    return Ok((sealed, result));
                }
                if let Some((partition, next)) = self.next(topic)? {
                    sealed.entry(partition).or_default().push((SystemTime::now(), next));
                    heard = Instant::now();
                }
                ensure!(
                    heard.elapsed() < patience,
                    "nothing of {topic} was sealed for {patience:?}: is it to be sealed?"
                );
            }
        })
    }

    /// The next commitment about a partition of this topic, if one comes.
    fn next(&self, topic: &str) -> anyhow::Result<Option<(u32, u64)>> {
        let Some(message) = self.consumer.poll(WAIT).transpose()? else { return Ok(None) };
        let value = message.payload().context("a commitment has a value")?;
        let commitment: Commitment = serde_json::from_slice(value).context("not a commitment")?;
        let is_about_it = commitment.topic.as_deref() == Some(topic);
        Ok(commitment.partition.zip(commitment.next).filter(|_| is_about_it))
    }
}

fn reached(sealed: &Sealings, partition: u32) -> u64 {
    sealed.get(&partition).and_then(|sealed| sealed.last()).map_or(0, |(_, next)| *next)
}

impl std::fmt::Debug for Commitments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commitments").finish_non_exhaustive()
    }
}
