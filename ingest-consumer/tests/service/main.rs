//! The service as a whole: on librdkafka's in-process broker, and on a real Apache Kafka for what that has not
//! (transactions, groups of several members, DeleteRecords, recreated topics, restarts).

mod embedded;
mod old_formats;
mod real_kafka;
mod support;
