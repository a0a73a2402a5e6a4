//! The proof of one event, in a file of its own (SPEC.md, "Event proof").

mod checker;

use base64ct::{Base64, Encoding};

pub use checker::{EventProofChecker, EventProofError, ProofPart, Sealed};

use crate::proof::{hash_lines, push_hash_lines};
use crate::text::Lines;
use crate::{Error, Hash, LeafPreimage, TimestampType, TlogProof, content_hash, decode_content};

/// The longest event proof that is read, in bytes: room for an event of 47 MiB.
pub const EVENT_PROOF_BYTES_MAX: usize = 64 << 20;

const OBJECT: &str = "event proof";
const FIRST_LINE: &str = "streamseal/event-proof@v1";

/// The longest entry of a log, by the format of entry bundles.
const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Proves offline that one event was sealed. It holds the event, its place in its batch, the entry that sealed the
/// batch, and that entry's place in the log. It also holds the entries that say whose keys count.
///
/// Reading one verifies nothing. [`EventProofChecker`] verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventProof {
    /// The event's offset.
    pub offset: u64,
    /// Milliseconds since 1970, as the record carries them.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// The unpadded content preimage: key, value and headers.
    pub content: Vec<u8>,
    /// The place of its leaf in the batch.
    pub leaf_index: u64,
    /// The inclusion path in the batch, leaf to root.
    pub leaf_path: Vec<Hash>,
    /// The bytes of the entry whose summary seals the batch.
    pub entry: Vec<u8>,
    /// The bytes of the genesis entry and of all key entries of the log, in their order.
    pub keys: Vec<Vec<u8>>,
    /// The bytes of the log's last entry, which names the newest key entry. It may be one of the entries above.
    pub newest: Vec<u8>,
    /// The inclusion path of the last entry.
    pub newest_path: Vec<Hash>,
    /// Proves that `entry` is in the log. It has no `extra` line.
    pub proof: TlogProof,
}

impl EventProof {
    /// Reads an event proof in its only spelling.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > EVENT_PROOF_BYTES_MAX {
            return Err(Error::malformed(OBJECT, "longer than 64 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(OBJECT, "not UTF-8"))?;
        let mut lines = Lines::new(OBJECT, text)?;
        match lines.line()? {
            FIRST_LINE => {}
            other if other.starts_with("streamseal/event-proof@v") => {
                return Err(Error::unsupported(OBJECT, format!("version {other:?}")));
            }
            _ => return Err(lines.error(format!("expected {FIRST_LINE}"))),
        }
        let (offset, timestamp, timestamp_type) = event_line(&mut lines)?;
        let encoded = lines.field("content")?;
        let content = Base64::decode_vec(encoded.as_str()).map_err(|_| encoded.error("padded base64"))?;
        decode_content(&content).map_err(|error| encoded.error(&format!("a content preimage ({error})")))?;
        let leaf_index = lines.field("leaf")?.u63()?;
        let leaf_path = hash_lines(&mut lines)?;
        let entry = entry_bytes(&mut lines, "entry")?;
        let count = lines.field("keys")?.u63()?;
        let keys = (0..count).map(|_| entry_bytes(&mut lines, "entry")).collect::<Result<_, _>>()?;
        let newest = entry_bytes(&mut lines, "newest")?;
        let newest_path = hash_lines(&mut lines)?;
        let proof = TlogProof::parse(lines.rest().as_bytes())?;
        if proof.extra.is_some() {
            return Err(Error::malformed(OBJECT, "its tlog-proof has an `extra` line"));
        }
        let event_proof = Self {
            offset,
            timestamp,
            timestamp_type,
            content,
            leaf_index,
            leaf_path,
            entry,
            keys,
            newest,
            newest_path,
            proof,
        };
        if event_proof.to_bytes() != bytes {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(event_proof)
    }

    /// The file form.
    ///
    /// # Panics
    /// When an entry is not text. Every entry that decodes is text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { offset, timestamp, timestamp_type, .. } = self;
        let mut out = format!("{FIRST_LINE}\nevent {offset} {timestamp} {}\ncontent ", *timestamp_type as u8);
        out.push_str(&Base64::encode_string(&self.content));
        out.push_str(&format!("\nleaf {}\n", self.leaf_index));
        push_hash_lines(&mut out, &self.leaf_path);
        push_entry(&mut out, "entry", &self.entry);
        out.push_str(&format!("keys {}\n", self.keys.len()));
        self.keys.iter().for_each(|entry| push_entry(&mut out, "entry", entry));
        push_entry(&mut out, "newest", &self.newest);
        push_hash_lines(&mut out, &self.newest_path);
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.proof.to_bytes());
        out
    }

    /// The event's leaf.
    pub fn leaf(&self) -> Hash {
        let Self { timestamp, timestamp_type, .. } = *self;
        let content = content_hash(&self.content);
        LeafPreimage { offset: self.offset as i64, timestamp, timestamp_type, content }.leaf()
    }
}

/// Offset, timestamp, timestamp type.
fn event_line(lines: &mut Lines<'_>) -> Result<(u64, i64, TimestampType), Error> {
    let mut fields = lines.fields("event")?;
    let (offset, timestamp, number) = (fields.next()?, fields.next()?, fields.next()?);
    fields.end()?;
    let timestamp_type = number.u63()?.try_into().ok().and_then(TimestampType::from_number);
    let timestamp_type = timestamp_type.ok_or_else(|| number.error("a timestamp type: 0, 1 or 2"))?;
    Ok((offset.u63()?, timestamp.i64()?, timestamp_type))
}

/// A line with a length, and an entry of that many bytes.
fn entry_bytes(lines: &mut Lines<'_>, name: &'static str) -> Result<Vec<u8>, Error> {
    let field = lines.field(name)?;
    let len = usize::try_from(field.u63()?).ok().filter(|len| (1..=ENTRY_BYTES_MAX).contains(len));
    let len = len.ok_or_else(|| field.error("a length in bytes, 1 to 65,535"))?;
    lines.block(len).map(|block| block.as_bytes().to_vec())
}

fn push_entry(out: &mut String, name: &str, entry: &[u8]) {
    let text = std::str::from_utf8(entry).expect("an entry is text");
    out.push_str(&format!("{name} {}\n{text}", entry.len()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::StatementKind;

    #[test]
    fn proof_above_64_mib_is_refused_unread() {
        let mut bytes = vec![b'x'; 64 * 1024 * 1024 + 1];
        let is_too_long = |bytes: &[u8]| EventProof::parse(bytes).expect_err("no proof").to_string().contains("64 MiB");
        assert!(is_too_long(&bytes));
        bytes.pop();
        assert!(!is_too_long(&bytes));
        assert!(!is_too_long(b"x"));
    }

    #[test]
    fn an_error_names_the_part() {
        let parts = [ProofPart::Event, ProofPart::Entry, ProofPart::Key(3), ProofPart::Newest];
        let error = |part| EventProofError::NoKeyEntry(part, StatementKind::Heads).to_string();
        for (part, name) in parts.into_iter().zip(["the event", "the entry that", "key entry 3", "the last entry"]) {
            assert!(error(part).contains(name), "{}", error(part));
        }
    }
}
