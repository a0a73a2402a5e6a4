//! The crate `kafka` on a real Apache Kafka: what librdkafka's in-process broker does not have.

mod events;
mod producer;
mod rebalance;
mod second_opinion;
mod topics;
mod transactions;
