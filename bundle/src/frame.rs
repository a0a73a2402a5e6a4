//! The frames of `.leaves` and `.events`: the parts of a batch that a bundle holds.

use evidence::TimestampType;

/// Length of a frame's header: u64 seq, u32 count.
pub(crate) const FRAME_HEADER_BYTES: usize = 12;

/// Length of a record's header: i64 offset, i64 timestamp, u8 timestamp type, u32 content length.
pub(crate) const RECORD_HEADER_BYTES: usize = 21;

/// An event in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970, as the record carries them.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// The unpadded content preimage. The verifier must check that it decodes.
    pub content: &'a [u8],
}

pub(crate) fn frame_header(seq: u64, count: u32) -> [u8; FRAME_HEADER_BYTES] {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    bytes[8..].copy_from_slice(&count.to_be_bytes());
    bytes
}

pub(crate) fn parse_frame_header(bytes: [u8; FRAME_HEADER_BYTES]) -> (u64, u32) {
    let (seq, count) = bytes.split_at(8);
    let seq = u64::from_be_bytes(seq.try_into().expect("eight bytes"));
    (seq, u32::from_be_bytes(count.try_into().expect("four bytes")))
}

pub(crate) fn record_header(event: &Event<'_>, content_len: u32) -> [u8; RECORD_HEADER_BYTES] {
    let mut bytes = [0; RECORD_HEADER_BYTES];
    bytes[..8].copy_from_slice(&event.offset.to_be_bytes());
    bytes[8..16].copy_from_slice(&event.timestamp.to_be_bytes());
    bytes[16] = event.timestamp_type as u8;
    bytes[17..].copy_from_slice(&content_len.to_be_bytes());
    bytes
}

/// A record's header. Its timestamp type is not interpreted yet.
pub(crate) struct RecordHeader {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: u8,
    pub(crate) content_len: u32,
}

impl RecordHeader {
    pub(crate) fn parse(bytes: [u8; RECORD_HEADER_BYTES]) -> Self {
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self {
            offset: number(0),
            timestamp: number(8),
            timestamp_type: bytes[16],
            content_len: u32::from_be_bytes(bytes[17..].try_into().expect("four bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_documented_bytes() {
        assert_eq!(frame_header(1, 2), *b"\0\0\0\0\0\0\0\x01\0\0\0\x02");
        assert_eq!(parse_frame_header(frame_header(u64::MAX, 7)), (u64::MAX, 7));
        let event = Event { offset: 3, timestamp: -2, timestamp_type: TimestampType::LogAppend, content: b"content" };
        let bytes = record_header(&event, 7);
        assert_eq!(bytes, *b"\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xfe\x02\0\0\0\x07");
        let RecordHeader { offset, timestamp, timestamp_type, content_len } = RecordHeader::parse(bytes);
        assert_eq!((offset, timestamp, timestamp_type, content_len), (3, -2, 2, 7));
    }
}
