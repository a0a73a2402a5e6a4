//! Kafka records as events, byte for byte, and what a sealer must know of a cluster.
