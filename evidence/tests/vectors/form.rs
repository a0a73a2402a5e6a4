//! How values are written in the vectors.

use evidence::{Error, Hash};
use serde::{Serialize, Serializer};

/// Bytes as lower-case hex.
#[derive(Clone)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&hex)
    }
}

/// A value that is written as its text: hashes, keys, and integers, which JSON readers may round.
#[derive(Clone)]
pub(crate) struct Text(String);

impl<T: ToString> From<T> for Text {
    fn from(value: T) -> Self {
        Self(value.to_string())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The texts of several values.
pub(crate) fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<Text> {
    values.into_iter().map(Text::from).collect()
}

/// The bytes of an object that is text, or should be: as a string, or as hex where they are not UTF-8.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Input {
    Text(String),
    Hex(Hex),
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(Hex(bytes.to_vec())),
        }
    }
}

/// An input that a decoder refuses, and with which code.
#[derive(Serialize)]
pub(crate) struct Refused<I> {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) input: I,
    pub(crate) code: &'static str,
}

/// The code of a decoder's refusal.
pub(crate) fn code(error: &Error) -> &'static str {
    match error {
        Error::Malformed { .. } => "malformed",
        Error::Unsupported { .. } => "unsupported",
    }
}

/// A text that `decode` must refuse with this code.
pub(crate) fn refused_text<T: std::fmt::Debug>(
    name: impl Into<String>,
    bytes: &[u8],
    code: &'static str,
    decode: impl Fn(&[u8]) -> Result<T, Error>,
) -> Refused<Input> {
    let name = name.into();
    let error = decode(bytes).expect_err(&name);
    assert_eq!(self::code(&error), code, "{name}: {error}");
    Refused { name, input: bytes.into(), code }
}

/// The leaves that trees are tested with: leaf `i` is the SHA-256 of `i` as eight big-endian bytes.
pub(crate) fn numbered_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| evidence::sha256(&i.to_be_bytes())).collect()
}

/// 0 to 130, and powers of two above with their neighbours.
pub(crate) fn tree_sizes() -> impl Iterator<Item = u64> {
    (0..=130).chain((8..=12).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]))
}

/// The bytes of an object that is text.
pub(crate) fn as_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}
