//! Which partitions librdkafka fetches, and from where ("assign" in its words).

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;

use super::Consumer;
use super::batch::{Place, Slot};
use crate::partition::positions;
use crate::queue::PartitionQueue;
use crate::{Error, TopicPartition};

impl Consumer {
    /// Reads partitions from these offsets on: partitions that the group gave and that were not started yet, and also
    /// ones that are being read, from now on from elsewhere. Of a partition named twice the last counts.
    ///
    /// # Errors
    /// [`Error::Partition`] when the group did not give a partition or an offset is negative; then nothing is started.
    /// [`Error::Fatal`] when librdkafka refuses, which leaves this consumer unusable.
    pub fn start(&mut self, starts: impl IntoIterator<Item = (TopicPartition, i64)>) -> Result<(), Error> {
        let starts: BTreeMap<TopicPartition, i64> = starts.into_iter().collect();
        for (partition, offset) in &starts {
            let reason = if *offset < 0 {
                format!("cannot start at offset {offset}: offsets begin at 0")
            } else if self.subscribed && !self.state().partitions.contains_key(partition) {
                "cannot start it: the group gave it to another member".to_owned()
            } else {
                continue;
            };
            return Err(Error::Partition { partition: partition.clone(), reason });
        }
        self.place(starts)
    }

    /// Stops reading partitions, and frees what was fetched of them. They stay ours, and can be started again.
    ///
    /// # Errors
    /// [`Error::Fatal`] when librdkafka refuses, which leaves this consumer unusable.
    pub fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let replaced = self.take_slots(|slot| partitions.contains(&slot.partition));
        if self.is_eager() {
            return self.place(BTreeMap::new());
        }
        self.unassign(replaced.keys())
    }

    /// Fetches these partitions from these offsets on, whether they are being fetched or not.
    ///
    /// A partition is always taken out and put in again, never sought: librdkafka cannot seek a partition that it
    /// stopped at an error. An eager group's assignment can only be replaced as a whole; then the other started
    /// partitions begin again from where they were read to.
    pub(super) fn place(&mut self, starts: BTreeMap<TopicPartition, i64>) -> Result<(), Error> {
        let eager = self.is_eager();
        let mut places: BTreeMap<_, _> =
            starts.into_iter().map(|(partition, offset)| (partition, Place::at(offset))).collect();
        let replaced = self.take_slots(|slot| eager || places.contains_key(&slot.partition));
        for (partition, old) in &replaced {
            places.entry(partition.clone()).and_modify(|place| place.held = old.held).or_insert(*old);
        }
        if !eager {
            self.unassign(replaced.keys())?;
        }
        for (partition, place) in &places {
            self.split(partition, *place)?;
        }
        self.assign(&places, eager)
    }

    /// Whether assignments can only be replaced as a whole.
    fn is_eager(&self) -> bool {
        self.subscribed && matches!(self.base.rebalance_protocol(), RebalanceProtocol::Eager)
    }

    /// Drops slots, with what was fetched for them; returns how far they were.
    fn take_slots(&mut self, which: impl Fn(&Slot) -> bool) -> BTreeMap<TopicPartition, Place> {
        let taken = self.slots.extract_if(.., |slot| which(slot));
        let taken: BTreeMap<_, _> = taken.map(|slot| (slot.partition.clone(), slot.place)).collect();
        let mut state = self.base.context().state();
        for partition in taken.keys() {
            state.partitions.insert(partition.clone(), false);
        }
        taken
    }

    /// A slot with a queue of its own: before librdkafka begins to fetch.
    fn split(&mut self, partition: &TopicPartition, place: Place) -> Result<(), Error> {
        let (base, signal) = (Arc::clone(&self.base), Arc::clone(&self.signal));
        let queue = PartitionQueue::split(base, partition, signal);
        let queue =
            queue.ok_or_else(|| Error::Fatal { reason: format!("{partition}: librdkafka gives no queue for it") })?;
        self.slots.push(Slot::new(partition.clone(), place, queue));
        Ok(())
    }

    fn assign(&mut self, places: &BTreeMap<TopicPartition, Place>, eager: bool) -> Result<(), Error> {
        let list = positions(places.iter().map(|(partition, place)| (partition, place.next)));
        let assigned = list.and_then(|list| match eager {
            true => self.base.assign(&list),
            false => self.base.incremental_assign(&list),
        });
        assigned.map_err(refused)?;
        let mut state = self.state();
        for partition in places.keys() {
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

/// librdkafka refuses well-formed assignments only when the client has failed for good, and what it fetches after a
/// refusal is not known.
fn refused(error: KafkaError) -> Error {
    Error::Fatal { reason: error.to_string() }
}
