//! Reading a range of one partition again, to export or verify it.

use std::ops::Range;
use std::time::{Duration, Instant};

use evidence::EventRef;

use crate::{Cluster, Consumer, Error, Item, Polled, Properties, ReadError, ReadErrorKind, TopicPartition, Watermarks};

/// Maximum attempts when events are deleted while the range is read.
const ATTEMPTS_MAX: u32 = 10;

/// The result of [`Reader::read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The number of events visited.
    pub events: u64,
    /// Parts of the range whose events were deleted, by retention or DeleteRecords.
    pub erased: Vec<Range<i64>>,
    /// Everything below it was visited, was deleted, or is something that no reader gets.
    ///
    /// This is the end of the range, or the last stable offset when reading began, if that is lower.
    pub next: i64,
}

/// Reads ranges of partitions, without a group.
#[derive(Debug)]
pub struct Reader {
    consumer: Consumer,
    cluster: Cluster,
    timeout: Duration,
}

impl Reader {
    /// A reader that fails if the cluster returns nothing for `timeout`.
    ///
    /// # Errors
    /// [`Error::Property`] if librdkafka refuses a property.
    pub fn new(properties: &Properties, timeout: Duration) -> Result<Self, Error> {
        Ok(Self {
            // The range exists already, so a broker that waits at the end of one partition only delays the next one.
            consumer: Consumer::standalone(&properties.or("fetch.wait.max.ms", "10"), "streamseal-reader")?,
            cluster: Cluster::new(properties, timeout)?,
            timeout,
        })
    }

    /// Visits the events of a range of offsets, in order.
    ///
    /// Offsets may be missing between events: transaction markers, aborted events and compacted events look the same
    /// here. A leaf index tells which events existed.
    ///
    /// # Errors
    /// Those of `visit`, which end the reading. [`Error::Partition`] if the partition cannot be read further,
    /// [`Error::Client`] if the cluster does not answer.
    pub fn read<E: From<Error>>(
        &mut self,
        partition: &TopicPartition,
        range: Range<i64>,
        mut visit: impl FnMut(&EventRef<'_>) -> Result<(), E>,
    ) -> Result<Read, E> {
        let mut read = Read { events: 0, erased: Vec::new(), next: range.start };
        let mut end = range.end;
        for attempt in 0.. {
            let marks = self.watermarks(partition)?;
            // New events do not move the end, or it might never be reached.
            end = end.min(marks.stable);
            if read.next < marks.low {
                let low = marks.low.min(range.end);
                read.erased.push(read.next..low);
                read.next = low;
            }
            if read.next >= end {
                break;
            }
            self.consumer.start([(partition.clone(), read.next)])?;
            let outcome = self.pass(partition, end, &mut read, &mut visit);
            self.consumer.stop(std::slice::from_ref(partition))?;
            match outcome? {
                None => break,
                // Events were deleted before they could be read: query the watermarks again.
                Some(error) if error.kind == ReadErrorKind::OutOfRange && attempt < ATTEMPTS_MAX => {}
                Some(error) => {
                    Err(Error::Partition { partition: partition.clone(), reason: format!("cannot read it {error}") })?
                }
            }
        }
        Ok(read)
    }

    /// Reads until `end` or an error.
    fn pass<E: From<Error>>(
        &mut self,
        partition: &TopicPartition,
        end: i64,
        read: &mut Read,
        visit: &mut impl FnMut(&EventRef<'_>) -> Result<(), E>,
    ) -> Result<Option<ReadError>, E> {
        let mut last_batch = Instant::now();
        let mut warning = String::new();
        loop {
            match self.consumer.poll(self.timeout)? {
                Polled::Batch(mut batch) => {
                    last_batch = Instant::now();
                    while let Some(item) = batch.next_item() {
                        match item {
                            Item::Event { event, .. } if event.offset < end => {
                                visit(&event)?;
                                read.events += 1;
                                read.next = event.offset + 1;
                            }
                            Item::Event { .. } => read.next = end,
                            Item::End { next } => read.next = next.min(end),
                            Item::Error(error) => return Ok(Some(error)),
                        }
                        if read.next >= end {
                            return Ok(None);
                        }
                    }
                }
                Polled::Warning(new) => warning = new,
                Polled::Rebalance(_) | Polled::Idle => {}
            }
            if last_batch.elapsed() >= self.timeout {
                let (timeout, next) = (self.timeout, read.next);
                let doing = format!("reading {partition} at offset {next}");
                let reason = format!("nothing came within {timeout:?} {warning}");
                return Err(Error::client(doing, reason.trim_end()).into());
            }
        }
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, Error> {
        let marks = self.cluster.watermarks(std::slice::from_ref(partition))?;
        Ok(marks[partition])
    }
}
