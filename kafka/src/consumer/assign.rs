//! Which partitions librdkafka fetches, and from which offsets. librdkafka calls this "assign".

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;

use super::Consumer;
use super::batch::{Position, StartedPartition};
use crate::partition::positions;
use crate::queue::PartitionQueue;
use crate::{Error, TopicPartition};

impl Consumer {
    /// Reads partitions from these offsets. A partition that is already started moves to its new offset. If a partition
    /// is named twice, the last offset counts.
    ///
    /// # Errors
    /// [`Error::Partition`] if the group did not assign a partition or an offset is negative; then nothing is started.
    /// [`Error::Fatal`] if librdkafka refuses. This consumer is then unusable.
    pub fn start(&mut self, starts: impl IntoIterator<Item = (TopicPartition, i64)>) -> Result<(), Error> {
        let starts: BTreeMap<TopicPartition, i64> = starts.into_iter().collect();
        for (partition, offset) in &starts {
            let reason = if *offset < 0 {
                format!("cannot start at offset {offset}: offsets begin at 0")
            } else if self.subscribed && !self.state().partitions.contains_key(partition) {
                "cannot start it: the group assigned it to another member".to_owned()
            } else {
                continue;
            };
            return Err(Error::Partition { partition: partition.clone(), reason });
        }
        self.fetch_from(starts)
    }

    /// Stops reading partitions, and frees what was fetched. They stay ours and can be started again.
    ///
    /// # Errors
    /// [`Error::Fatal`] if librdkafka refuses. This consumer is then unusable.
    pub fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let replaced = self.take_started(|started| partitions.contains(&started.partition));
        if self.is_eager() {
            return self.fetch_from(BTreeMap::new());
        }
        self.unassign(replaced.keys())
    }

    /// Fetches these partitions from these offsets, whether they are started or not.
    ///
    /// This unassigns and assigns a partition; it never seeks. librdkafka cannot seek a partition that it stopped at an
    /// error. The assignment of an eager group can only be replaced as a whole, so its other started partitions begin
    /// again from their positions.
    pub(super) fn fetch_from(&mut self, starts: BTreeMap<TopicPartition, i64>) -> Result<(), Error> {
        let eager = self.is_eager();
        let mut targets: BTreeMap<_, _> =
            starts.into_iter().map(|(partition, offset)| (partition, Position::at(offset))).collect();
        let replaced = self.take_started(|started| eager || targets.contains_key(&started.partition));
        for (partition, old) in &replaced {
            targets.entry(partition.clone()).and_modify(|target| target.held = old.held).or_insert(*old);
        }
        if !eager {
            self.unassign(replaced.keys())?;
        }
        for (partition, position) in &targets {
            self.split(partition, *position)?;
        }
        self.assign(&targets, eager)
    }

    /// Whether assignments can only be replaced as a whole.
    fn is_eager(&self) -> bool {
        self.subscribed && matches!(self.base.rebalance_protocol(), RebalanceProtocol::Eager)
    }

    /// Drops started partitions, with what was fetched. Returns their positions.
    fn take_started(&mut self, which: impl Fn(&StartedPartition) -> bool) -> BTreeMap<TopicPartition, Position> {
        let taken = self.started.extract_if(.., |started| which(started));
        let taken: BTreeMap<_, _> = taken.map(|started| (started.partition.clone(), started.position)).collect();
        let mut state = self.base.context().state();
        for partition in taken.keys() {
            state.partitions.insert(partition.clone(), false);
        }
        taken
    }

    /// Gives a partition its own queue, before librdkafka begins to fetch it.
    fn split(&mut self, partition: &TopicPartition, position: Position) -> Result<(), Error> {
        let (base, signal) = (Arc::clone(&self.base), Arc::clone(&self.signal));
        let queue = PartitionQueue::split(base, partition, signal);
        let queue =
            queue.ok_or_else(|| Error::Fatal { reason: format!("{partition}: librdkafka gives no queue for it") })?;
        self.started.push(StartedPartition::new(partition.clone(), position, queue));
        Ok(())
    }

    fn assign(&mut self, targets: &BTreeMap<TopicPartition, Position>, eager: bool) -> Result<(), Error> {
        let list = positions(targets.iter().map(|(partition, position)| (partition, position.next)));
        let assigned = list.and_then(|list| match eager {
            true => self.base.assign(&list),
            false => self.base.incremental_assign(&list),
        });
        assigned.map_err(refused)?;
        let mut state = self.state();
        for partition in targets.keys() {
            state.partitions.insert(partition.clone(), true);
        }
        Ok(())
    }

    fn unassign<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.number());
        }
        if list.count() == 0 {
            return Ok(());
        }
        self.base.incremental_unassign(&list).map_err(refused)
    }
}

/// librdkafka refuses well-formed assignments only after a fatal error. What it fetches after a refusal is unknown.
fn refused(error: KafkaError) -> Error {
    Error::Fatal { reason: error.to_string() }
}
