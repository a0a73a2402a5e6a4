use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

/// A partition of a topic. Cheap to clone; displayed as `topic/3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
}

impl TopicPartition {
    /// The partition of this topic with this number.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }

    /// The number as librdkafka takes it.
    ///
    /// A number too large for Kafka becomes the largest possible one: such a partition does not exist either.
    pub(crate) fn number(&self) -> i32 {
        i32::try_from(self.partition).unwrap_or(i32::MAX)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Partitions and offsets in librdkafka's type, where negative offsets have special meanings.
pub(crate) fn positions<'a>(
    offsets: impl Iterator<Item = (&'a TopicPartition, i64)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        // The list takes the name as a C string and panics at a NUL.
        CString::new(&*partition.topic)?;
        let offset = Offset::from_raw(offset);
        list.add_partition_offset(&partition.topic, partition.number(), offset)?;
    }
    Ok(list)
}
