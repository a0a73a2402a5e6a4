use std::fmt;

/// A partition of a topic of a cluster, in any epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The Kafka cluster id, or `-` where the cluster has none.
    pub cluster: String,
    /// The topic's name.
    pub topic: String,
    /// The partition number, 0 to 2^31-1.
    pub number: u32,
}

impl Partition {
    /// The stream of this partition in one epoch.
    pub fn stream(&self, epoch: u64) -> StreamId {
        StreamId { partition: self.clone(), epoch }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)?;
        if self.cluster == "-" { Ok(()) } else { write!(f, " of cluster {}", self.cluster) }
    }
}

/// A partition in one epoch, sealed as one sequence (SPEC.md, "Streams"). The context gives the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The partition.
    pub partition: Partition,
    /// 0 at first. It rises by one whenever the operator states that the topic was recreated or truncated.
    pub epoch: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.partition)?;
        if self.epoch == 0 { Ok(()) } else { write!(f, " epoch {}", self.epoch) }
    }
}
