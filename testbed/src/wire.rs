//! Record batches, encoded byte by byte and sent without a Kafka client. Tests use them for records that no producer
//! library accepts (names that are not UTF-8, negative timestamps, damage), and to be independent of the library under
//! test.

use std::io::{Read, Write};
use std::net::TcpStream;

use evidence::TimestampType;

/// A record of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Records with differences that are easily lost: null and empty, order and repetition, bytes that are not text.
pub fn peculiar_records() -> Vec<Record> {
    let plain = Record {
        timestamp: 1_700_000_000_000,
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        headers: Vec::new(),
    };
    let with = |change: fn(&mut Record)| {
        let mut record = plain.clone();
        change(&mut record);
        record
    };
    let with_headers = |headers: &[(&[u8], Option<&[u8]>)]| {
        let owned = headers.iter().map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec)));
        Record { headers: owned.collect(), ..plain.clone() }
    };
    vec![
        plain.clone(),
        with(|record| record.key = None),
        with(|record| record.key = Some(Vec::new())),
        // A tombstone.
        with(|record| record.value = None),
        with(|record| record.value = Some(Vec::new())),
        with(|record| (record.key, record.value) = (None, None)),
        with(|record| record.key = Some(b"\xff\0\xfe".to_vec())),
        with(|record| record.value = Some(vec![0; 300])),
        with_headers(&[(b"a", Some(b"1")), (b"a", Some(b"1")), (b"a", Some(b"2"))]),
        with_headers(&[(b"a", Some(b"2")), (b"a", Some(b"1")), (b"a", Some(b"1"))]),
        with_headers(&[(b"a", None)]),
        with_headers(&[(b"a", Some(b""))]),
        with_headers(&[(b"", Some(b"nameless"))]),
        with_headers(&[(b"\xff\xfe", Some(b"\xc3\x28\0"))]),
        with(|record| record.timestamp = -1),
        with(|record| record.timestamp = -5),
        with(|record| record.timestamp = 0),
    ]
}

/// An uncompressed record batch in Kafka's message format v2.
pub fn batch(kind: TimestampType, records: &[Record]) -> Vec<u8> {
    let bodies: Vec<Vec<u8>> = (0..).zip(records).map(|(i, record)| body(i, record, records)).collect();
    assemble(kind, records, &bodies)
}

/// A batch of one record, with these bytes as header count and headers.
pub fn batch_with_raw_headers(record: &Record, raw: &[u8]) -> Vec<u8> {
    let mut body = body(0, record, std::slice::from_ref(record));
    // The last byte is the header count, 0.
    assert_eq!(body.pop(), Some(0));
    body.extend(raw);
    assemble(TimestampType::Create, std::slice::from_ref(record), &[body])
}

fn assemble(kind: TimestampType, records: &[Record], bodies: &[Vec<u8>]) -> Vec<u8> {
    let count = i32::try_from(records.len()).expect("few records");
    let newest = records.iter().map(|record| record.timestamp).max().expect("some record");
    let mut checked = Vec::new();
    checked.extend(match kind {
        TimestampType::LogAppend => 0x0008_i16.to_be_bytes(),
        _ => 0_i16.to_be_bytes(),
    });
    checked.extend((count - 1).to_be_bytes());
    checked.extend(records[0].timestamp.to_be_bytes());
    checked.extend(newest.to_be_bytes());
    // No producer: id, epoch and first sequence number are -1.
    checked.extend((-1_i64).to_be_bytes());
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(count.to_be_bytes());
    for body in bodies {
        checked.extend(varint(i64::try_from(body.len()).expect("small")));
        checked.extend(body);
    }
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend(i32::try_from(checked.len() + 9).expect("small").to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn body(index: i64, record: &Record, records: &[Record]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(varint(record.timestamp.wrapping_sub(records[0].timestamp)));
    body.extend(varint(index));
    body.extend(optional(record.key.as_deref()));
    body.extend(optional(record.value.as_deref()));
    body.extend(varint(i64::try_from(record.headers.len()).expect("few")));
    for (name, value) in &record.headers {
        body.extend(optional(Some(name)));
        body.extend(optional(value.as_deref()));
    }
    body
}

fn optional(bytes: Option<&[u8]>) -> Vec<u8> {
    let Some(bytes) = bytes else { return varint(-1) };
    let mut out = varint(i64::try_from(bytes.len()).expect("small"));
    out.extend(bytes);
    out
}

fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// Sends a batch (Produce, version 7, acknowledged by all). Returns the offset of its first record.
pub fn produce(bootstrap: &str, topic: &str, partition: i32, batch: &[u8]) -> i64 {
    let string = |text: &str| {
        let len = i16::try_from(text.len()).expect("short");
        [&len.to_be_bytes(), text.as_bytes()].concat()
    };
    let mut request = Vec::new();
    request.extend([0, 0, 0, 7, 0, 0, 0, 1]);
    request.extend(string("wire"));
    // No transaction, acks -1, 30 s.
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(30_000_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend(string(topic));
    request.extend(1_i32.to_be_bytes());
    request.extend(partition.to_be_bytes());
    request.extend(i32::try_from(batch.len()).expect("small").to_be_bytes());
    request.extend(batch);

    let mut broker = TcpStream::connect(bootstrap).expect("the broker listens");
    let len = u32::try_from(request.len()).expect("small");
    broker.write_all(&len.to_be_bytes()).expect("the broker reads");
    broker.write_all(&request).expect("the broker reads");
    let mut len = [0; 4];
    broker.read_exact(&mut len).expect("the broker answers");
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(len)).expect("small")];
    broker.read_exact(&mut answer).expect("the broker answers");

    // Correlation id, one topic, its name, one partition, its number.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let error = i16::from_be_bytes([answer[at], answer[at + 1]]);
    assert_eq!(error, 0, "the broker refused the batch");
    let offset = answer[at + 2..at + 10].try_into().expect("eight bytes");
    i64::from_be_bytes(offset)
}
