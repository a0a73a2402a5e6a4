//! Events: content preimages, leaf preimages, leaves.

use evidence::{EventRef, HeaderRef, LeafHasher, LeafPreimage, TimestampType, content_hash, decode_content};
use serde::Serialize;

use crate::form::{Hex, Refused, Text, code};

#[derive(Serialize)]
pub(crate) struct Vectors {
    events: Vec<Event>,
    refused_contents: Vec<Refused<Content>>,
    refused_leaf_preimages: Vec<Refused<Preimage>>,
}

#[derive(Serialize)]
struct Event {
    name: String,
    offset: Text,
    timestamp: Text,
    timestamp_type: Text,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<Header>,
    /// Length of the unpadded content preimage.
    content_length: Text,
    /// The unpadded content preimage, where it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Hex>,
    content_hash: Text,
    leaf_preimage: Hex,
    leaf: Text,
}

#[derive(Serialize)]
struct Header {
    name: Bytes,
    value: Option<Bytes>,
}

#[derive(Serialize)]
struct Content {
    content: Hex,
}

#[derive(Serialize)]
struct Preimage {
    leaf_preimage: Hex,
}

/// Bytes in full, or as a byte and its number of repetitions.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bytes {
    Hex(Hex),
    Repeat { byte: Hex, count: Text },
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        match bytes {
            [byte, rest @ ..] if bytes.len() > 32 && rest.iter().all(|other| other == byte) => {
                Self::Repeat { byte: Hex(vec![*byte]), count: bytes.len().into() }
            }
            _ => Self::Hex(Hex(bytes.to_vec())),
        }
    }
}

/// The longest content preimage that is given out.
const CONTENT_SHOWN_MAX: usize = 200;

fn event(name: impl Into<String>, event: &EventRef<'_>) -> Event {
    let mut content = Vec::new();
    event.encode_content(&mut content);
    let decoded = decode_content(&content).expect("own encoding");
    assert_eq!((decoded.key, decoded.value), (event.key, event.value));
    assert!(decoded.headers().eq(event.headers.iter().copied()));

    let EventRef { offset, timestamp, timestamp_type, .. } = *event;
    let preimage = LeafPreimage { offset, timestamp, timestamp_type, content: content_hash(&content) };
    let mut hasher = LeafHasher::new();
    hasher.push(event);
    assert_eq!(hasher.drain().leaves, [preimage.leaf()]);
    Event {
        name: name.into(),
        offset: offset.into(),
        timestamp: timestamp.into(),
        timestamp_type: (timestamp_type as u8).into(),
        key: event.key.map(Bytes::from),
        value: event.value.map(Bytes::from),
        headers: event.headers.iter().map(header).collect(),
        content_length: content.len().into(),
        content_hash: preimage.content.into(),
        content: (content.len() <= CONTENT_SHOWN_MAX).then_some(Hex(content)),
        leaf_preimage: Hex(preimage.to_bytes().to_vec()),
        leaf: preimage.leaf().into(),
    }
}

fn header(header: &HeaderRef<'_>) -> Header {
    Header { name: header.name.into(), value: header.value.map(Bytes::from) }
}

pub(crate) fn vectors() -> Vectors {
    let mut events = null_and_empty();
    events.extend(headers());
    events.extend(numbers());
    events.extend(lengths());
    Vectors { events, refused_contents: refused_contents(), refused_leaf_preimages: refused_leaf_preimages() }
}

const PLAIN: EventRef<'static> = EventRef {
    offset: 104_200,
    timestamp: 1_732_180_000_123,
    timestamp_type: TimestampType::Create,
    key: Some(b"order-17"),
    value: Some(b"{\"total\":12}"),
    headers: &[],
};

fn null_and_empty() -> Vec<Event> {
    let mut events = vec![event("plain", &PLAIN)];
    for (key_name, key) in [("null", None), ("empty", Some(&b""[..])), ("one zero byte", Some(&b"\0"[..]))] {
        for (value_name, value) in [("null", None), ("empty", Some(&b""[..])), ("one zero byte", Some(&b"\0"[..]))] {
            let name = format!("key {key_name}, value {value_name}");
            events.push(event(name, &EventRef { key, value, ..PLAIN }));
        }
    }
    events
}

fn headers() -> Vec<Event> {
    let null = HeaderRef { name: b"h", value: None };
    let empty = HeaderRef { name: b"h", value: Some(b"") };
    let unnamed = HeaderRef { name: b"", value: Some(b"v") };
    let binary = HeaderRef { name: b"\xff\0\xfe", value: Some(b"\0\x80") };
    [
        ("header with null value", &[null][..]),
        ("header with empty value", &[empty]),
        ("header with empty name", &[unnamed]),
        ("header that is not UTF-8", &[binary]),
        ("headers with one name, in order", &[null, empty, binary]),
        ("headers with one name, in another order", &[empty, null, binary]),
        ("many headers", &[binary; 20]),
    ]
    .map(|(name, headers)| event(name, &EventRef { headers, ..PLAIN }))
    .into()
}

fn numbers() -> Vec<Event> {
    let mut events = Vec::new();
    for timestamp in [-1, 0, 1, i64::MIN, i64::MAX] {
        events.push(event(format!("timestamp {timestamp}"), &EventRef { timestamp, ..PLAIN }));
    }
    for offset in [0, 1, i64::MAX] {
        events.push(event(format!("offset {offset}"), &EventRef { offset, ..PLAIN }));
    }
    for timestamp_type in [TimestampType::NotAvailable, TimestampType::Create, TimestampType::LogAppend] {
        let name = format!("timestamp type {}", timestamp_type as u8);
        events.push(event(name, &EventRef { timestamp_type, ..PLAIN }));
    }
    events
}

/// Every length around each boundary of blocks, chunks and parts that are hashed at once.
fn lengths() -> Vec<Event> {
    const FRAME: usize = 12;
    let boundaries = [64, 128, 1024, 2048, 3072, 4096, 5 * 1024, 8 * 1024, 16 * 1024, 17 * 1024, 64 * 1024];
    let around = boundaries.into_iter().flat_map(|boundary| boundary - 1..=boundary + 1);
    [FRAME, FRAME + 1]
        .into_iter()
        .chain(around)
        .map(|length| {
            let value = vec![0x61; length - FRAME];
            event(format!("content of {length} bytes"), &EventRef { key: None, value: Some(&value), ..PLAIN })
        })
        .collect()
}

fn refused_contents() -> Vec<Refused<Content>> {
    let headers = [HeaderRef { name: b"n", value: Some(b"v") }];
    let mut good = Vec::new();
    EventRef { key: Some(b"k"), value: None, headers: &headers, ..PLAIN }.encode_content(&mut good);
    let mut refused: Vec<_> =
        (0..good.len()).map(|end| refused_content(format!("cut after {end} bytes"), good[..end].to_vec())).collect();
    let with = |at: usize, bytes: [u8; 4]| {
        let mut changed = good.clone();
        changed[at..at + 4].copy_from_slice(&bytes);
        changed
    };
    refused.extend([
        refused_content("one byte follows", [&good[..], b"\0"].concat()),
        refused_content("padded to a whole block", [&good[..], &vec![0; 64 - good.len()]].concat()),
        refused_content("a header more than counted", with(8, [0, 0, 0, 0])),
        refused_content("a header fewer than counted", with(8, [0, 0, 0, 2])),
        refused_content("a header count without end", with(8, [0xff; 4])),
        refused_content("a header name that is null", with(13, [0xff; 4])),
        refused_content("a key longer than all", with(0, [0x7f, 0xff, 0xff, 0xff])),
        refused_content("a value of 2^32 - 2 bytes", with(4, [0xff, 0xff, 0xff, 0xfe])),
    ]);
    refused
}

fn refused_content(name: impl Into<String>, content: Vec<u8>) -> Refused<Content> {
    let name = name.into();
    let code = code(&decode_content(&content).expect_err(&name));
    Refused { name, input: Content { content: Hex(content) }, code }
}

fn refused_leaf_preimages() -> Vec<Refused<Preimage>> {
    let preimage = LeafPreimage {
        offset: 1,
        timestamp: 2,
        timestamp_type: TimestampType::Create,
        content: content_hash(b"any bytes have a hash"),
    };
    [
        ("timestamp type 3", 16, 3),
        ("timestamp type 255", 16, 255),
        ("first byte after the content hash", 49, 1),
        ("last byte", 63, 0x80),
    ]
    .map(|(name, at, byte)| {
        let mut bytes = preimage.to_bytes();
        bytes[at] = byte;
        let code = code(&LeafPreimage::from_bytes(&bytes).expect_err(name));
        Refused { name: name.into(), input: Preimage { leaf_preimage: Hex(bytes.to_vec()) }, code }
    })
    .into()
}
