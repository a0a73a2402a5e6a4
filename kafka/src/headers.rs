//! Record headers, parsed from the bytes that the broker sent.
//!
//! librdkafka's own parser is not used: it returns names as C strings, which end at a NUL.

use evidence::HeaderRef;

/// Reads the headers of a record in message format v2: a count, then for each header the length of its name, the name,
/// the length of its value, and the value. Numbers are zigzag varints of 32 bits; a value of length -1 is null.
///
/// `headers` is overwritten. Allocates only when it has to grow.
///
/// # Errors
/// The problem, in words. `headers` is then incomplete.
pub(crate) fn read<'a>(raw: &'a [u8], headers: &mut Vec<HeaderRef<'a>>) -> Result<(), String> {
    headers.clear();
    let mut rest = raw;
    let count = varint(&mut rest)?;
    if count < 0 {
        return Err(format!("there are {count} headers"));
    }
    for index in 0..count {
        let name = bytes(&mut rest).map_err(|problem| format!("name of header {index}: {problem}"))?;
        let name = name.ok_or_else(|| format!("name of header {index}: it is null"))?;
        let value = bytes(&mut rest).map_err(|problem| format!("value of header {index}: {problem}"))?;
        headers.push(HeaderRef { name, value });
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes follow the last header", rest.len())) }
}

/// A length and that many bytes; `None` for null.
fn bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    let len = varint(rest)?;
    if len == -1 {
        return Ok(None);
    }
    let taken = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let (bytes, after) = taken.ok_or_else(|| format!("its length is {len}, but {} bytes are left", rest.len()))?;
    *rest = after;
    Ok(Some(bytes))
}

/// A zigzag varint of 32 bits, in up to five bytes.
fn varint(rest: &mut &[u8]) -> Result<i32, String> {
    let mut value: u64 = 0;
    for index in 0..5 {
        let (&byte, after) = rest.split_first().ok_or("the headers end in a number")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| "a number has more than 32 bits")?;
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err("a number has more than five bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header<'a> = (&'a [u8], Option<&'a [u8]>);

    fn parsed(raw: &[u8]) -> Result<Vec<Header<'_>>, String> {
        let mut headers = Vec::new();
        read(raw, &mut headers)?;
        Ok(headers.into_iter().map(|header| (header.name, header.value)).collect())
    }

    #[test]
    fn headers_are_read_byte_for_byte() {
        assert_eq!(parsed(&[0]), Ok(vec![]));
        // The same number in a longer encoding.
        assert_eq!(parsed(&[0x80, 0]), Ok(vec![]));
        let raw = [8, 4, b'a', 0, 2, b'1', 0, 0, 0, 1, 4, 0xff, 0xfe, 1];
        let (nul, empty): (&[u8], &[u8]) = (b"a\0", b"");
        let expected = vec![(nul, Some(&b"1"[..])), (empty, Some(empty)), (empty, None), (&b"\xff\xfe"[..], None)];
        assert_eq!(parsed(&raw), Ok(expected));
    }

    #[test]
    fn malformed_headers_are_refused() {
        for raw in [
            &[][..],
            // Three headers missing, a negative count, a byte after the last header.
            &[6],
            &[1],
            &[0, 7],
            // A null name, a name and a value longer than the rest, a length below -1.
            &[2, 1, 1],
            &[2, 6, b'a', 1],
            &[2, 2, b'a', 4, b'b'],
            &[2, 2, b'a', 3],
            // Numbers of 33 bits and of six bytes.
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert!(parsed(raw).is_err(), "{raw:?}");
        }
    }
}
