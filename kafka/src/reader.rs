//! Reading a range of one partition again, to export or verify it.

use std::ops::Range;
use std::time::{Duration, Instant};

use evidence::EventRef;

use crate::{Cluster, Consumer, Error, Failure, FailureKind, Item, Polled, Properties, TopicPartition, Watermarks};

/// How often a range is begun again when events are deleted while it is read.
const ATTEMPTS_MAX: u32 = 10;

/// What [`Reader::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// How many events were handed out.
    pub events: u64,
    /// Parts of the range whose events were deleted, by retention or DeleteRecords.
    pub erased: Vec<Range<i64>>,
    /// Everything below it was handed out, is erased, or is nothing that a reader gets. The end of the range, or where
    /// the partition ended for a reader of committed events when reading began, if that is before.
    pub next: i64,
}

/// Reads ranges of partitions, without a group.
#[derive(Debug)]
pub struct Reader {
    consumer: Consumer,
    cluster: Cluster,
    patience: Duration,
}

impl Reader {
    /// A reader that gives up when the cluster gives nothing for as long as `patience`.
    ///
    /// # Errors
    /// [`Error::Property`] when librdkafka refuses a property.
    pub fn new(properties: &Properties, patience: Duration) -> Result<Self, Error> {
        Ok(Self {
            // What is read is there already, so waiting at the end of one partition only keeps the next one waiting.
            consumer: Consumer::alone(&properties.or("fetch.wait.max.ms", "10"), "streamseal-reader")?,
            cluster: Cluster::new(properties, patience)?,
            patience,
        })
    }

    /// Hands out the events of a range of offsets, in order.
    ///
    /// Offsets may be missing between events: transaction markers, aborted and compacted events are not told apart
    /// here. Who knows which events there were, from their leaf index, knows which of them are gone.
    ///
    /// # Errors
    /// Those of `visit`, at which reading stops. [`Error::Partition`] when the partition cannot be read further,
    /// [`Error::Client`] when the cluster does not answer.
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
            // New events do not move the end: it would never be reached.
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
                // Deleted before it could be read: the watermarks tell.
                Some(failure) if failure.kind == FailureKind::OutOfRange && attempt < ATTEMPTS_MAX => {}
                Some(failure) => {
                    Err(Error::Partition { partition: partition.clone(), reason: format!("cannot read it {failure}") })?
                }
            }
        }
        Ok(read)
    }

    /// Reads until `end` or a failure.
    fn pass<E: From<Error>>(
        &mut self,
        partition: &TopicPartition,
        end: i64,
        read: &mut Read,
        visit: &mut impl FnMut(&EventRef<'_>) -> Result<(), E>,
    ) -> Result<Option<Failure>, E> {
        let mut heard = Instant::now();
        let mut trouble = String::new();
        loop {
            match self.consumer.poll(self.patience)? {
                Polled::Batch(mut batch) => {
                    heard = Instant::now();
                    while let Some(item) = batch.next_item() {
                        match item {
                            Item::Event { event, .. } if event.offset < end => {
                                visit(&event)?;
                                read.events += 1;
                                read.next = event.offset + 1;
                            }
                            Item::Event { .. } => read.next = end,
                            Item::End { next } => read.next = next.min(end),
                            Item::Failed(failure) => return Ok(Some(failure)),
                        }
                        if read.next >= end {
                            return Ok(None);
                        }
                    }
                }
                Polled::Trouble(new) => trouble = new,
                Polled::Rebalance(_) | Polled::Idle => {}
            }
            if heard.elapsed() >= self.patience {
                let (patience, next) = (self.patience, read.next);
                let doing = format!("reading {partition} at offset {next}");
                let reason = format!("nothing came within {patience:?} {trouble}");
                return Err(Error::client(doing, reason.trim_end()).into());
            }
        }
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, Error> {
        let marks = self.cluster.watermarks(std::slice::from_ref(partition))?;
        Ok(marks[partition])
    }
}
