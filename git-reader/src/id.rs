use std::fmt;

use sha1::{Digest, Sha1};

/// The name of a Git object: SHA-1 of its kind, length and bytes. It identifies the object and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(crate) [u8; Id::LEN]);

impl Id {
    pub(crate) const LEN: usize = 20;

    /// Reads 40 lower-case hexadecimal digits.
    pub(crate) fn parse(hex: &[u8]) -> Option<Self> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let hex: &[u8; 2 * Self::LEN] = hex.try_into().ok()?;
        let mut id = [0; Self::LEN];
        for (byte, pair) in id.iter_mut().zip(hex.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }

    /// The name of an object of this kind with these bytes.
    pub(crate) fn of(kind: &str, bytes: &[u8]) -> Self {
        let header = format!("{kind} {}\0", bytes.len());
        Self(Sha1::new().chain_update(header).chain_update(bytes).finalize().into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_git() {
        let empty_blob = Id::of("blob", b"");
        assert_eq!(empty_blob.to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(Id::parse(empty_blob.to_string().as_bytes()), Some(empty_blob));
        for bad in
            ["", "e69de29b", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391", "g69de29bb2d1d6434b8b29ae775ad8c2e48c5391"]
        {
            assert_eq!(Id::parse(bad.as_bytes()), None);
        }
    }
}
