use super::TILE_WIDTH;
use crate::Error;

/// The longest entry that a bundle can hold, in bytes.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

const OBJECT: &str = "entry bundle";

/// Writes a bundle: each entry after its length as a big-endian u16.
///
/// # Errors
/// When there are not 1 to 256 entries, or one is longer than [`ENTRY_BYTES_MAX`].
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, Error> {
    if !(1..=usize::from(TILE_WIDTH)).contains(&entries.len()) {
        return Err(Error::malformed(OBJECT, format!("{} entries instead of 1 to {TILE_WIDTH}", entries.len())));
    }
    let mut out = Vec::with_capacity(entries.iter().map(|e| 2 + e.as_ref().len()).sum());
    for (i, entry) in entries.iter().map(AsRef::as_ref).enumerate() {
        let length = u16::try_from(entry.len()).map_err(|_| {
            Error::malformed(OBJECT, format!("entry {i} is {} bytes long, more than {ENTRY_BYTES_MAX}", entry.len()))
        })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// Reads a bundle that holds exactly `width` entries. Only their hashes show that they are the log's.
///
/// # Errors
/// When an entry is cut short, or bytes follow the last one.
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(width.into());
    for i in 0..width {
        let (entry, after) = split_entry(rest).ok_or_else(|| {
            Error::malformed(OBJECT, format!("entry {i} of {width} is cut short at byte {}", bytes.len()))
        })?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::malformed(OBJECT, format!("{} bytes follow entry {width} of {width}", rest.len())));
    }
    Ok(entries)
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_read_back() {
        let entries: [&[u8]; 3] = [b"first", b"", &[0xff; ENTRY_BYTES_MAX]];
        let bytes = encode_entries(&entries).expect("short enough");
        assert_eq!(&bytes[..9], b"\0\x05first\0\0");
        assert_eq!(decode_entries(&bytes, 3).as_deref(), Ok(&entries[..]));
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let bytes = encode_entries(&[&b"first"[..], b"", b"third"]).expect("short enough");
        for end in 0..bytes.len() {
            assert!(decode_entries(&bytes[..end], 3).is_err(), "cut at {end}");
        }
        assert!(decode_entries(&bytes, 2).is_err());
        assert!(decode_entries(&bytes, 4).is_err());
        assert!(decode_entries(&[&bytes[..], b"\0"].concat(), 3).is_err());
    }

    #[test]
    fn too_long_and_too_many_are_refused() {
        assert!(encode_entries(&[vec![0; ENTRY_BYTES_MAX + 1]]).is_err());
        assert!(encode_entries::<&[u8]>(&[]).is_err());
        assert!(encode_entries(&[b""; 257]).is_err());
    }
}
