//! Queries that rust-rdkafka does not offer: topic ids, and offsets at an isolation level.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::ptr;
use std::slice;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as op;

use crate::client::Logging;
use crate::native::{self, Owned, c_name, text};

/// A topic as DescribeTopics describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The id that the topic got when it was created, as Kafka prints it (URL-safe base64, 22 characters). `None` if
    /// the brokers have no topic ids.
    pub id: Option<String>,
    /// Its number of partitions.
    pub partitions: u32,
}

/// One partition's answer, which may be an error.
pub(super) struct ListedOffset {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Result<i64, String>,
}

/// Which events count in a query for the end of a partition or for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// Sends queries, one at a time, and waits for each answer.
pub(super) struct Admin<'a> {
    client: &'a BaseConsumer<Logging>,
    timeout: Duration,
}

impl<'a> Admin<'a> {
    pub(super) fn new(client: &'a BaseConsumer<Logging>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// The topics that exist. The query creates none.
    pub(super) fn describe_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Topic>, String> {
        let options = self.options(op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        self.send_to_any_broker(&options)?;
        let names: Vec<_> = names.iter().map(|name| c_name(name)).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: there are as many names as stated, and they are copied; the collection is null or ours.
        let topics = unsafe {
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            Owned::new(topics, sys::rd_kafka_TopicCollection_destroy)
        };
        let topics = topics.expect("librdkafka aborts if memory is exhausted");
        let event = self.ask(|client, queue| {
            // SAFETY: all arguments are valid; librdkafka copies what it keeps.
            unsafe {
                sys::rd_kafka_DescribeTopics(client, topics.as_ptr(), options.as_ptr(), queue);
            }
        })?;
        // SAFETY: the event is valid; its result, and everything that it points to, lives as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
            if result.is_null() {
                return Err("the answer is of another kind".to_owned());
            }
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            array(topics, count).iter().filter_map(|&topic| described(topic).transpose()).collect()
        }
    }

    /// One offset per partition. The offset of a partition in `list` states the query: a time in milliseconds, or an
    /// `rd_kafka_OffsetSpec_t`.
    pub(super) fn list_offsets(
        &self,
        list: &TopicPartitionList,
        isolation: Isolation,
    ) -> Result<Vec<ListedOffset>, String> {
        let options = self.options(op::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        let level = match isolation {
            Isolation::ReadUncommitted => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
            Isolation::ReadCommitted => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        };
        // SAFETY: the options are valid and of a request that has this option; the error is null or ours.
        let refused = unsafe {
            let error = sys::rd_kafka_AdminOptions_set_isolation_level(options.as_ptr(), level);
            Owned::new(error, sys::rd_kafka_error_destroy)
        };
        if let Some(error) = refused {
            // SAFETY: the error is valid, and its text lives with it.
            return Err(unsafe { text(sys::rd_kafka_error_string(error.as_ptr())) });
        }
        let event = self.ask(|client, queue| {
            // SAFETY: all arguments are valid; librdkafka copies what it keeps.
            unsafe { sys::rd_kafka_ListOffsets(client, list.ptr(), options.as_ptr(), queue) }
        })?;
        // SAFETY: the event is valid; its result, and everything that it points to, lives as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(event.as_ptr());
            if result.is_null() {
                return Err("the answer is of another kind".to_owned());
            }
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            let infos = array(infos, count).iter();
            Ok(infos.map(|&info| listed(info)).collect())
        }
    }

    fn options(&self, request: op) -> Owned<sys::rd_kafka_AdminOptions_t> {
        let mut reason: [c_char; 256] = [0; 256];
        // SAFETY: the client is valid; the options are ours; `reason` is as long as stated. librdkafka accepts timeouts
        // of up to an hour; if it refused one, its default would apply.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.client.client().native_ptr(), request);
            let options =
                Owned::new(options, sys::rd_kafka_AdminOptions_destroy).expect("librdkafka knows these requests");
            let (buffer, size) = (reason.as_mut_ptr(), reason.len());
            sys::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), self.timeout_ms(), buffer, size);
            options
        }
    }

    /// Sends the query to any broker that answers.
    ///
    /// By default librdkafka asks the controller, but the embedded broker has none, and any broker can answer these
    /// queries.
    fn send_to_any_broker(&self, options: &Owned<sys::rd_kafka_AdminOptions_t>) -> Result<(), String> {
        let mut metadata: *const sys::rd_kafka_metadata_t = ptr::null();
        // SAFETY: the client is valid. The query is for brokers only, not for topics. librdkafka sets `metadata` to
        // null or to something that we own, with as many brokers as it states.
        let broker = unsafe {
            let client = self.client.client().native_ptr();
            let timeout_ms = self.timeout_ms();
            let error = sys::rd_kafka_metadata(client, 0, ptr::null_mut(), &mut metadata, timeout_ms);
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(text(sys::rd_kafka_err2str(error)));
            }
            let metadata = Owned::new(metadata.cast_mut(), destroy_metadata);
            metadata.and_then(|metadata| {
                let metadata = &*metadata.as_ptr();
                let first = (metadata.broker_cnt > 0).then(|| (*metadata.brokers).id);
                first.filter(|_| !metadata.brokers.is_null())
            })
        };
        let broker = broker.ok_or_else(|| "the cluster names no brokers".to_owned())?;
        let mut reason: [c_char; 256] = [0; 256];
        // SAFETY: the options are valid; `reason` is as long as stated, and a C string after an error.
        unsafe {
            let (buffer, size) = (reason.as_mut_ptr(), reason.len());
            let error = sys::rd_kafka_AdminOptions_set_broker(options.as_ptr(), broker, buffer, size);
            match error {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                _ => Err(text(buffer)),
            }
        }
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, 3_600_000)
    }

    /// Sends a request and waits for its answer on a queue of its own.
    fn ask(
        &self,
        send: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Owned<sys::rd_kafka_event_t>, String> {
        let client = self.client.client().native_ptr();
        // SAFETY: the client is valid; the queue and the event are null or ours.
        let (queue, event) = unsafe {
            let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy)
                .expect("librdkafka aborts if memory is exhausted");
            send(client, queue.as_ptr());
            // The request times out first, with a better reason.
            let event = sys::rd_kafka_queue_poll(queue.as_ptr(), self.timeout_ms() + 1_000);
            (queue, Owned::new(event, sys::rd_kafka_event_destroy))
        };
        drop(queue);
        let event = event.ok_or_else(|| format!("no answer within {:?}", self.timeout))?;
        // SAFETY: the event is valid, and its text lives with it.
        unsafe {
            let error = sys::rd_kafka_event_error(event.as_ptr());
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(text(sys::rd_kafka_event_error_string(event.as_ptr())));
            }
        }
        Ok(event)
    }
}

/// # Safety
/// `metadata` is valid and owned by the caller.
unsafe extern "C" fn destroy_metadata(metadata: *mut sys::rd_kafka_metadata_t) {
    // SAFETY: the caller ensures it.
    unsafe { sys::rd_kafka_metadata_destroy(metadata) }
}

/// # Safety
/// `topic` is valid.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<(String, Topic)>, String> {
    // SAFETY: the topic is valid, as the caller ensures; its name, error, id and their texts live as long.
    unsafe {
        let name = text(sys::rd_kafka_TopicDescription_name(topic));
        let error = sys::rd_kafka_TopicDescription_error(topic);
        // Compares names: the enum of this version may not have the code.
        match text(sys::rd_kafka_error_name(error)).as_str() {
            "" | "NO_ERROR" => {}
            "UNKNOWN_TOPIC_OR_PART" => return Ok(None),
            _ => return Err(format!("topic {name}: {}", text(sys::rd_kafka_error_string(error)))),
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let halves = [sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)];
        let topic = Topic {
            id: (halves != [0, 0]).then(|| printed(halves)),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
        };
        Ok(Some((name, topic)))
    }
}

/// The id in the base64 that Kafka's tools print; librdkafka prints another.
fn printed(halves: [i64; 2]) -> String {
    let bytes: Vec<u8> = halves.into_iter().flat_map(i64::to_be_bytes).collect();
    Base64UrlUnpadded::encode_string(&bytes)
}

/// # Safety
/// `info` is valid.
unsafe fn listed(info: *const sys::rd_kafka_ListOffsetsResultInfo_t) -> ListedOffset {
    // SAFETY: the info is valid, as the caller ensures; the partition and its name live as long. The error is read as a
    // number, because the enum of this version may not have it.
    unsafe {
        let partition = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
        let error = (&raw const (*partition).err).cast::<i32>().read();
        ListedOffset {
            topic: text((*partition).topic),
            partition: (*partition).partition,
            offset: match error {
                0 => Ok((*partition).offset),
                error => Err(native::reason(error)),
            },
        }
    }
}

/// # Safety
/// `items` points to `count` pointers that live for `'a`, or `count` is 0.
unsafe fn array<'a, T>(items: *mut *const T, count: usize) -> &'a [*const T] {
    if items.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller ensures it.
    unsafe { slice::from_raw_parts(items, count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_print_as_kafka_prints_them() {
        assert_eq!(printed([0, 1]), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(printed([-1, -1]), "_____________________w");
        assert_eq!(printed([i64::from_be_bytes([0xfb; 8]), 0]), "-_v7-_v7-_sAAAAAAAAAAA");
    }

    #[test]
    fn error_codes_have_reasons() {
        assert!(native::reason(3).contains("Unknown topic or partition"), "{}", native::reason(3));
        assert!(native::reason(32_000).contains("32000"));
    }
}
