//! A bare consumer: takes records from librdkafka in batches and drops them, as fast as possible.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

/// Maximum records taken at once, the same as in the crate `kafka`.
const BATCH_MAX: usize = 1_000;

/// Time of one wait for records. A full array does not wait.
const WAIT_MS: i32 = 5;

/// Time for an answer of the broker, and for the first records.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The records to consume, and the number of clients that share the partitions.
#[derive(Debug, Clone)]
pub struct Bare<'a> {
    /// The topic.
    pub topic: &'a str,
    /// All of its partitions.
    pub partitions: u32,
    /// The offsets below it, of each partition.
    pub until: u64,
    /// Kafka clients, each with a thread.
    pub handles: u32,
    /// Their settings.
    pub config: ClientConfig,
}

impl Bare<'_> {
    /// Consumes all records, and returns the time since reading began.
    ///
    /// # Errors
    /// When Kafka reports an error.
    pub fn consume(&self) -> anyhow::Result<Duration> {
        ensure!((1..=self.partitions).contains(&self.handles), "{} handles for {}", self.handles, self.partitions);
        let ready = Barrier::new(self.handles as usize);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.handles)
                .map(|handle| {
                    scope.spawn({
                        let ready = &ready;
                        move || self.run(handle, ready)
                    })
                })
                .collect();
            let times = threads.into_iter().map(|thread| thread.join().expect("a consumer does not panic"));
            times.collect::<anyhow::Result<Vec<_>>>().map(|times| times.into_iter().max().unwrap_or_default())
        })
    }

    fn run(&self, handle: u32, ready: &Barrier) -> anyhow::Result<Duration> {
        let mut config = self.config.clone();
        config.set("group.id", "bare");
        let consumer: BaseConsumer = config.create()?;
        // Connects before the measurement begins, as the ingest-consumer does.
        let connected = consumer.fetch_metadata(Some(self.topic), ANSWER_WITHIN);
        ready.wait();
        connected?;
        let begun = Instant::now();
        let mut places = TopicPartitionList::new();
        for partition in (0..self.partitions).filter(|partition| partition % self.handles == handle) {
            places.add_partition_offset(self.topic, partition.cast_signed(), Offset::Beginning)?;
        }
        consumer.assign(&places)?;
        self.drain(&consumer, places.count())?;
        Ok(begun.elapsed())
    }

    /// Drops records until all partitions were read.
    fn drain(&self, consumer: &BaseConsumer, mut left: usize) -> anyhow::Result<()> {
        // SAFETY: the handle is valid while the consumer lives; what is returned is ours to destroy.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        ensure!(!queue.is_null(), "a consumer has a queue");
        let last = i64::try_from(self.until).context("an offset")? - 1;
        let mut messages = [ptr::null_mut(); BATCH_MAX];
        let mut heard = Instant::now();
        let mut trouble = None;
        while left > 0 && trouble.is_none() {
            // SAFETY: the queue is valid and the array has room for as many pointers as told.
            let count = unsafe { sys::rd_kafka_consume_batch_queue(queue, WAIT_MS, messages.as_mut_ptr(), BATCH_MAX) };
            let taken = &messages[..usize::try_from(count).unwrap_or(0)];
            if taken.is_empty() && heard.elapsed() > ANSWER_WITHIN {
                trouble = Some("no records came".to_owned());
            } else if !taken.is_empty() {
                heard = Instant::now();
            }
            for &message in taken {
                // SAFETY: each is a message that is ours until it is destroyed, once.
                unsafe {
                    match (*message).err {
                        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                            left -= usize::from((*message).offset == last);
                        }
                        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {}
                        error => trouble = Some(format!("{error:?}")),
                    }
                    sys::rd_kafka_message_destroy(message);
                }
            }
        }
        // SAFETY: ours, and used no more.
        unsafe { sys::rd_kafka_queue_destroy(queue) };
        if let Some(trouble) = trouble {
            bail!("{}: {trouble}", self.topic)
        }
        Ok(())
    }
}
