//! Questions to the cluster that rust-rdkafka does not put: topic ids, and offsets at an isolation level.
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

/// A topic as DescribeTopics tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The id that the topic got when it was created, as Kafka prints it (URL-safe base64, 22 characters). `None` from
    /// brokers that give none.
    pub id: Option<String>,
    /// How many partitions it has.
    pub partitions: u32,
}

/// An answer that may be one partition's error.
pub(super) struct ListedOffset {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Result<i64, String>,
}

/// Which events count when asking for the end of a partition or for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// Puts questions, one at a time, and waits for each answer.
pub(super) struct Admin<'a> {
    client: &'a BaseConsumer<Logging>,
    timeout: Duration,
}

impl<'a> Admin<'a> {
    pub(super) fn new(client: &'a BaseConsumer<Logging>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Those of the topics that exist. Asking creates none.
    pub(super) fn describe_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Topic>, String> {
        let options = self.options(op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        self.send_to_any_broker(&options)?;
        let names: Vec<_> = names.iter().map(|name| c_name(name)).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: as many names are given as told, and copied; the collection is null or ours.
        let topics = unsafe {
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            Owned::new(topics, sys::rd_kafka_TopicCollection_destroy)
        };
        let topics = topics.expect("librdkafka aborts when it is out of memory");
        let event = self.ask(|client, queue| {
            // SAFETY: all arguments are valid; librdkafka copies what it keeps of them.
            unsafe {
                sys::rd_kafka_DescribeTopics(client, topics.as_ptr(), options.as_ptr(), queue);
            }
        })?;
        // SAFETY: the event is valid; its result and what that leads to live as long as the event.
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

    /// For each partition the offset for what its offset in `list` asks: a time in milliseconds, or an
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
        // SAFETY: the options are valid and for the request that has this option; the error is null or ours.
        let refused = unsafe {
            let error = sys::rd_kafka_AdminOptions_set_isolation_level(options.as_ptr(), level);
            Owned::new(error, sys::rd_kafka_error_destroy)
        };
        if let Some(error) = refused {
            // SAFETY: the error is valid, and its text lives with it.
            return Err(unsafe { text(sys::rd_kafka_error_string(error.as_ptr())) });
        }
        let event = self.ask(|client, queue| {
            // SAFETY: all arguments are valid; librdkafka copies what it keeps of them.
            unsafe { sys::rd_kafka_ListOffsets(client, list.ptr(), options.as_ptr(), queue) }
        })?;
        // SAFETY: the event is valid; its result and what that leads to live as long as the event.
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
        // SAFETY: the client is valid; the options are ours; `reason` is as long as told. A time-out within an hour is
        // not refused, and without one librdkafka's own applies.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.client.client().native_ptr(), request);
            let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy)
                .expect("librdkafka knows the requests it is linked with");
            let (buffer, size) = (reason.as_mut_ptr(), reason.len());
            sys::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), self.timeout_ms(), buffer, size);
            options
        }
    }

    /// Lets a broker that answers be asked. librdkafka would ask the controller, which the embedded broker does not
    /// have, although any broker can answer what is asked here.
    fn send_to_any_broker(&self, options: &Owned<sys::rd_kafka_AdminOptions_t>) -> Result<(), String> {
        let mut metadata: *const sys::rd_kafka_metadata_t = ptr::null();
        // SAFETY: the client is valid. No topic is asked for, only brokers; what is written to `metadata` is null or
        // ours, and has as many brokers as it tells.
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
        // SAFETY: the options are valid; `reason` is as long as told, and a C string after an error.
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

    /// Sends a request that is answered on `queue` and waits for the answer.
    fn ask(
        &self,
        send: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Owned<sys::rd_kafka_event_t>, String> {
        let client = self.client.client().native_ptr();
        // SAFETY: the client is valid; the queue and the event are null or ours.
        let (queue, event) = unsafe {
            let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy)
                .expect("librdkafka aborts when it is out of memory");
            send(client, queue.as_ptr());
            // The request's own time-out comes first, with a better reason.
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
    // SAFETY: as promised.
    unsafe { sys::rd_kafka_metadata_destroy(metadata) }
}

/// # Safety
/// `topic` is valid.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<(String, Topic)>, String> {
    // SAFETY: as promised; the name, the error, the id and their texts live with the topic.
    unsafe {
        let name = text(sys::rd_kafka_TopicDescription_name(topic));
        let error = sys::rd_kafka_TopicDescription_error(topic);
        // By name: the code may be one that this version's enum does not have.
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

/// librdkafka prints ids in another base64 than Kafka's tools do.
fn printed(halves: [i64; 2]) -> String {
    let bytes: Vec<u8> = halves.into_iter().flat_map(i64::to_be_bytes).collect();
    Base64UrlUnpadded::encode_string(&bytes)
}

/// # Safety
/// `info` is valid.
unsafe fn listed(info: *const sys::rd_kafka_ListOffsetsResultInfo_t) -> ListedOffset {
    // SAFETY: as promised; the partition and its name live with the info. The error is read as the number it is: it may
    // be one that this version's enum does not have.
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
    // SAFETY: as promised.
    unsafe { slice::from_raw_parts(items, count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_are_printed_as_kafka_prints_them() {
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
