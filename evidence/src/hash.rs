//! The 32-byte hash that names everything, and SHA-256.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// A 32-byte hash. Contents, leaves and batch roots are BLAKE3. Statements, entries and checkpoints are SHA-256.
///
/// Its text is standard padded base64 of 44 characters. Each hash has exactly one text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Length of a hash in bytes.
    pub const LEN: usize = 32;
    /// Length of a hash as text.
    pub const TEXT_LEN: usize = 44;

    /// The bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// SHA-256 of `data` (FIPS 180-4): the identity of a statement is the SHA-256 of its text.
pub fn sha256(data: &[u8]) -> Hash {
    Hash(Sha256::digest(data).into())
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::TEXT_LEN];
        let text = Base64::encode(&self.0, &mut text).expect("44 characters hold 32 bytes");
        f.pad(text)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the standard padded base64 of 32 bytes, or not the one text that encodes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a hash: 32 bytes as 44 characters of standard padded base64")]
pub struct ParseHashError;

impl FromStr for Hash {
    type Err = ParseHashError;

    /// Accepts only what `Display` writes: no other alphabet, no white space, no missing padding, and no set bits after
    /// the last byte.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        if text.len() != Self::TEXT_LEN {
            return Err(ParseHashError);
        }
        // The decoder needs room for whole groups of three bytes before it reads the padding.
        let mut bytes = [0; 33];
        let bytes = Base64::decode(text, &mut bytes).map_err(|_| ParseHashError)?;
        let hash = Hash(bytes.try_into().map_err(|_| ParseHashError)?);
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_empty_string_and_abc() {
        assert_eq!(sha256(b"").to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(sha256(b"abc").to_string(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn text_round_trips() {
        for byte in [0x00, 0x01, 0x7f, 0xfb, 0xff] {
            let hash = Hash([byte; 32]);
            assert_eq!(hash.to_string().len(), Hash::TEXT_LEN);
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
    }

    #[test]
    fn only_the_one_text_is_accepted() {
        let good = sha256(b"").to_string();
        assert_eq!(good.parse(), Ok(sha256(b"")));
        let stem = &good[..42];
        let mut bad = vec![
            String::new(),
            good[..43].to_owned(),
            format!("{good}\n"),
            format!(" {good}"),
            format!("{good}===="),
            good.replace('+', "-"),
            good.replace('/', "_"),
            format!("{stem}=="),
            format!("{stem}UA"),
            format!("{stem}é"),
        ];
        // "U=" ends in two zero bits; its neighbours decode to the same bytes with those bits set.
        bad.extend(["V=", "W=", "X="].map(|tail| format!("{stem}{tail}")));
        for text in bad {
            assert_eq!(text.parse::<Hash>(), Err(ParseHashError), "{text:?}");
        }
        // 33 bytes without padding have the same length as 32 with it.
        assert_eq!("A".repeat(44).parse::<Hash>(), Err(ParseHashError));
    }
}
