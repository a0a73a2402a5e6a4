//! The whole service, on the embedded broker and on a real Apache Kafka. The real one adds transactions, groups of
//! several members, DeleteRecords, recreated topics and restarts.

mod embedded;
mod old_formats;
mod real_kafka;
mod support;
