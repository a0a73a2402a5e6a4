//! Events and their content preimage (SPEC.md, "Events").

use crate::Error;

/// The length that means "null" in a content preimage, where null and empty differ.
const NULL: u32 = u32::MAX;

/// Who set a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TimestampType {
    /// Nobody: the record has none (message format 0).
    NotAvailable = 0,
    /// The producer.
    Create = 1,
    /// The broker, when it appended the record.
    LogAppend = 2,
}

impl TimestampType {
    /// The type with this number, or `None`.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::NotAvailable),
            1 => Some(Self::Create),
            2 => Some(Self::LogAppend),
            _ => None,
        }
    }
}

/// One header of a record. Names may repeat, and need not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The name's bytes.
    pub name: &'a [u8],
    /// The value; null and empty differ.
    pub value: Option<&'a [u8]>,
}

/// One Kafka record, byte for byte as a read_committed consumer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970. A record may carry any value.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// The key; null and empty differ.
    pub key: Option<&'a [u8]>,
    /// The value; null (a tombstone) and empty differ.
    pub value: Option<&'a [u8]>,
    /// The headers, in the record's order.
    pub headers: &'a [HeaderRef<'a>],
}

impl EventRef<'_> {
    /// Appends the content preimage, unpadded. [`decode_content`] reads it back.
    ///
    /// # Panics
    /// If a key, value, name or header value is longer than 2^32 - 2 bytes. Kafka allows at most 2^31 - 1.
    pub fn encode_content(&self, out: &mut Vec<u8>) {
        out.reserve(self.content_len());
        self.each_content_part(|part| out.extend_from_slice(part));
    }

    /// Passes on the parts of the content preimage in order, unpadded. Panics like [`Self::encode_content`].
    pub(crate) fn each_content_part(&self, mut each: impl FnMut(&[u8])) {
        each(&optional_length(self.key));
        each(&optional_length(self.value));
        each(&length(self.headers.len()));
        each(self.key.unwrap_or_default());
        each(self.value.unwrap_or_default());
        for header in self.headers {
            each(&length(header.name.len()));
            each(&optional_length(header.value));
            each(header.name);
            each(header.value.unwrap_or_default());
        }
    }

    /// Length of the content preimage in bytes, unpadded: at least 12.
    pub fn content_len(&self) -> usize {
        let headers = self.headers.iter().map(|header| 8 + header.name.len() + byte_len(header.value));
        12 + byte_len(self.key) + byte_len(self.value) + headers.sum::<usize>()
    }
}

fn byte_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

fn length(len: usize) -> [u8; 4] {
    let len = u32::try_from(len).ok().filter(|&len| len != NULL);
    len.expect("Kafka's own lengths are below 2^31").to_be_bytes()
}

fn optional_length(bytes: Option<&[u8]>) -> [u8; 4] {
    bytes.map_or(NULL.to_be_bytes(), |bytes| length(bytes.len()))
}

/// The content of a content preimage: a record without its place and time. Borrows the preimage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// The key; null and empty differ.
    pub key: Option<&'a [u8]>,
    /// The value; null and empty differ.
    pub value: Option<&'a [u8]>,
    /// The encoded headers. They are well formed.
    headers: &'a [u8],
}

impl<'a> Content<'a> {
    /// The headers, in the record's order.
    pub fn headers(&self) -> impl Iterator<Item = HeaderRef<'a>> + use<'a> {
        let mut rest = Reader { bytes: self.headers, len: self.headers.len() };
        std::iter::from_fn(move || (!rest.bytes.is_empty()).then(|| rest.header().expect("checked by decode_content")))
    }
}

/// Decodes an unpadded content preimage, without copying or allocating.
///
/// Accepts exactly what [`EventRef::encode_content`] writes: no byte is missing, and none follows.
///
/// # Errors
/// [`Error::Malformed`] names the first byte that cannot be decoded.
pub fn decode_content(bytes: &[u8]) -> Result<Content<'_>, Error> {
    match decode_plain(bytes) {
        Some(content) => Ok(content),
        None => decode_any(bytes),
    }
}

/// Decodes a preimage without headers in a few instructions. Most have none. Returns `None` for others.
fn decode_plain(bytes: &[u8]) -> Option<Content<'_>> {
    let (lengths, rest) = bytes.split_first_chunk::<12>()?;
    let [key_len, value_len, header_count] = [0, 4, 8].map(|at| {
        let length = lengths[at..at + 4].try_into().expect("four of twelve bytes");
        u32::from_be_bytes(length)
    });
    let len = |len: u32| if len == NULL { 0 } else { len as usize };
    let (key, value) = rest.split_at_checked(len(key_len))?;
    if header_count > 0 || value.len() != len(value_len) {
        return None;
    }
    let unless_null = |len, bytes| (len != NULL).then_some(bytes);
    Some(Content { key: unless_null(key_len, key), value: unless_null(value_len, value), headers: &[] })
}

fn decode_any(bytes: &[u8]) -> Result<Content<'_>, Error> {
    let mut reader = Reader { bytes, len: bytes.len() };
    let key_len = reader.length("key length")?;
    let value_len = reader.length("value length")?;
    let header_count = reader.count("header count")?;
    let key = reader.optional(key_len, "key")?;
    let value = reader.optional(value_len, "value")?;
    let headers = reader.bytes;
    for _ in 0..header_count {
        reader.header()?;
    }
    if reader.bytes.is_empty() {
        Ok(Content { key, value, headers })
    } else {
        Err(reader.error(format!("{} bytes follow the last header", reader.bytes.len())))
    }
}

struct Reader<'a> {
    /// The bytes not read yet.
    bytes: &'a [u8],
    /// The length of the whole preimage. Positions in errors are computed from it.
    len: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u32, what: &'static str) -> Result<&'a [u8], Error> {
        let (taken, rest) = usize::try_from(count)
            .ok()
            .and_then(|count| self.bytes.split_at_checked(count))
            .ok_or_else(|| self.error(format!("the {what} should be {count} bytes, {} are left", self.bytes.len())))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn count(&mut self, what: &'static str) -> Result<u32, Error> {
        let bytes = self.take(4, what)?.try_into().expect("four bytes were taken");
        Ok(u32::from_be_bytes(bytes))
    }

    /// A length, or `None` for null.
    fn length(&mut self, what: &'static str) -> Result<Option<u32>, Error> {
        Ok(Some(self.count(what)?).filter(|&len| len != NULL))
    }

    fn optional(&mut self, len: Option<u32>, what: &'static str) -> Result<Option<&'a [u8]>, Error> {
        len.map(|len| self.take(len, what)).transpose()
    }

    fn header(&mut self) -> Result<HeaderRef<'a>, Error> {
        let name_len =
            self.length("header name length")?.ok_or_else(|| self.error("a header name cannot be null".to_owned()))?;
        let value_len = self.length("header value length")?;
        let name = self.take(name_len, "header name")?;
        let value = self.optional(value_len, "header value")?;
        Ok(HeaderRef { name, value })
    }

    fn error(&self, problem: String) -> Error {
        Error::malformed("content", format!("byte {}: {problem}", self.len - self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [HeaderRef<'a>]) -> EventRef<'a> {
        EventRef { offset: 0, timestamp: 0, timestamp_type: TimestampType::Create, key, value, headers }
    }

    fn encoded(event: &EventRef<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode_content(&mut out);
        assert_eq!(out.len(), event.content_len());
        out
    }

    #[test]
    fn every_field_has_its_place() {
        let headers = [HeaderRef { name: b"n\xff", value: Some(b"") }, HeaderRef { name: b"", value: None }];
        let bytes = encoded(&event(Some(b"k"), Some(b"value"), &headers));
        assert_eq!(
            bytes,
            [&b"\0\0\0\x01\0\0\0\x05\0\0\0\x02kvalue"[..], b"\0\0\0\x02\0\0\0\0n\xff", b"\0\0\0\0\xff\xff\xff\xff",]
                .concat()
        );
    }

    #[test]
    fn null_and_empty_differ_everywhere() {
        let null = [HeaderRef { name: b"", value: None }];
        let empty = [HeaderRef { name: b"", value: Some(b"") }];
        let mut seen = std::collections::BTreeSet::new();
        for key in [None, Some(&b""[..])] {
            for value in [None, Some(&b""[..])] {
                for headers in [&[][..], &null, &empty] {
                    assert!(seen.insert(encoded(&event(key, value, headers))));
                }
            }
        }
        assert_eq!(seen.len(), 12);
    }

    #[test]
    fn truncated_or_continued_content_is_refused() {
        let headers = [HeaderRef { name: b"name", value: Some(b"v") }, HeaderRef { name: b"x", value: None }];
        let bytes = encoded(&event(Some(b"key"), Some(b"value"), &headers));
        assert!(decode_content(&bytes).is_ok());
        for end in 0..bytes.len() {
            let error = decode_content(&bytes[..end]).expect_err("a byte is missing");
            assert!(error.to_string().contains("byte "), "{error}");
        }
        for tail in [&b"\0"[..], &[0; 64], b"\0\0\0\0\0\0\0\0"] {
            let error = decode_content(&[&bytes, tail].concat()).expect_err("bytes follow");
            assert!(error.to_string().contains(&format!("byte {}", bytes.len())), "{error}");
        }
    }

    #[test]
    fn impossible_lengths_are_refused_without_reserving_memory() {
        let no_headers = b"\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(decode_content(&[no_headers, &b"\xff\xff\xff\xff"[..]].concat()).is_err());
        let null_name = b"\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff";
        let error = decode_content(&[no_headers, &null_name[..]].concat()).expect_err("null name");
        assert!(error.to_string().contains("null"), "{error}");
    }

    type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn any_record() -> impl Strategy<Value = Owned> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
        let headers = proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..5);
        (proptest::option::of(bytes()), proptest::option::of(bytes()), headers)
    }

    proptest! {
        #[test]
        fn decoding_returns_the_record((key, value, headers) in any_record()) {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| HeaderRef { name, value: value.as_deref() }).collect();
            let bytes = encoded(&event(key.as_deref(), value.as_deref(), &headers));
            let content = decode_content(&bytes).expect("just encoded");
            prop_assert_eq!(content.key, key.as_deref());
            prop_assert_eq!(content.value, value.as_deref());
            prop_assert_eq!(content.headers().collect::<Vec<_>>(), headers);
        }

        #[test]
        fn decoded_content_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..4u8, 12..64)) {
            if let Ok(content) = decode_content(&bytes) {
                let headers: Vec<_> = content.headers().collect();
                prop_assert_eq!(encoded(&event(content.key, content.value, &headers)), bytes);
            }
        }
    }
}
