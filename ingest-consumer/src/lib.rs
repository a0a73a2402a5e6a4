//! Batches, hashes, signs and submits the events of each partition.
