//! The crate `kafka` on a real Apache Kafka, for features that librdkafka's in-process broker lacks.

mod events;
mod producer;
mod rebalance;
mod second_opinion;
mod topics;
mod transactions;
