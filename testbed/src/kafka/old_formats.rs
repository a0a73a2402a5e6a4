//! Log segments in Kafka's message formats before v2, from before Kafka 0.11. No current broker writes them, but
//! brokers still serve the segments on their disks.

use std::fs;

use super::Kafka;

/// A message format before v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldFormat {
    /// Written by Kafka before 0.10, without timestamps.
    V0,
    /// Written by Kafka 0.10.
    V1,
}

/// A record in one of these formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// The attribute of a message that wraps a gzip-compressed set of messages.
const GZIP: u8 = 1;

impl OldFormat {
    /// A segment with these records, which begins at offset 0.
    pub fn segment(self, records: &[OldRecord]) -> Vec<u8> {
        let messages = (0..).zip(records);
        messages.flat_map(|(offset, record)| message(self, offset, 0, record)).collect()
    }

    /// As [`segment`](Self::segment), with all records compressed in one message.
    pub fn compressed_segment(self, records: &[OldRecord]) -> Vec<u8> {
        let last = i64::try_from(records.len()).expect("few records") - 1;
        // Inner offsets are relative in v1 and absolute in v0. From offset 0 both are equal.
        let whole = OldRecord { key: None, value: Some(gzip(&self.segment(records))) };
        message(self, last, GZIP, &whole)
    }
}

fn message(format: OldFormat, offset: i64, attributes: u8, record: &OldRecord) -> Vec<u8> {
    let mut body = match format {
        OldFormat::V0 => vec![0, attributes],
        OldFormat::V1 => vec![1, attributes],
    };
    if format == OldFormat::V1 {
        body.extend((1_450_000_000_000 + offset).to_be_bytes());
    }
    for bytes in [&record.key, &record.value] {
        let len = bytes.as_ref().map_or(-1, |bytes| i32::try_from(bytes.len()).expect("short"));
        body.extend(len.to_be_bytes());
        body.extend(bytes.iter().flatten());
    }
    let size = u32::try_from(body.len() + 4).expect("short");
    [&offset.to_be_bytes()[..], &size.to_be_bytes(), &crc32(&body).to_be_bytes(), &body].concat()
}

/// One gzip member with stored blocks only.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let len = u16::try_from(block.len()).expect("chunks are that short");
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).expect("short").to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

impl Kafka {
    /// Replaces the logs of partitions (`topic-partition`) by segments. The broker must be stopped; its next start
    /// recovers them.
    ///
    /// # Panics
    /// When a file cannot be written, for example because there is no such partition.
    pub fn replace_logs<'a>(&self, logs: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
        let data = self.data();
        for (partition, segment) in logs {
            let folder = data.join(partition);
            for entry in fs::read_dir(&folder).expect("the partition has a folder") {
                let path = entry.expect("it can be listed").path();
                if path
                    .extension()
                    .is_some_and(|kind| ["index", "timeindex", "snapshot"].iter().any(|old| kind == *old))
                {
                    fs::remove_file(path).expect("it can be removed");
                }
            }
            fs::write(folder.join("00000000000000000000.log"), segment).expect("it can be written");
        }
        for entry in fs::read_dir(&data).expect("the broker has data") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with("-offset-checkpoint") || name == ".kafka_cleanshutdown" {
                fs::remove_file(path).expect("it can be removed");
            }
        }
    }
}
