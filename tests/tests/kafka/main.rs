//! The crate `kafka` on a real Apache Kafka: what librdkafka's in-process broker does not have.

#[path = "../../../kafka/tests/support/mod.rs"]
mod support;
#[path = "../../../kafka/tests/wire/mod.rs"]
mod wire;

mod events;
mod producer;
mod rebalance;
mod second_opinion;
mod topics;
mod transactions;
