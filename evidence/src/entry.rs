use crate::text::{Lines, or_dash};
use crate::{Error, Hash, SignedStatement, tree};

const OBJECT: &str = "entry";
const FIRST_LINE: &str = "streamseal/entry@v1";

/// A statement with its place in the chain: one leaf of the log (SPEC.md, "Entry").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index in the log, from 0.
    pub seq: u64,
    /// The leaf hash of the previous entry, `None` in entry 0.
    pub prev: Option<Hash>,
    /// Seq and leaf hash of the newest entry before this one that holds a genesis or key statement, `None` in entry 0.
    pub keys: Option<(u64, Hash)>,
    /// When the committer appended it, in milliseconds since 1970. Never below that of the previous entry.
    pub time: i64,
    /// The statement.
    pub statement: SignedStatement,
}

/// An entry with its bytes and their leaf hash. A store needs all three; each is computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry {
    entry: Entry,
    bytes: Vec<u8>,
    leaf: Hash,
}

impl Entry {
    /// Reads an entry in its only spelling.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        EncodedEntry::parse(bytes).map(|encoded| encoded.entry)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(OBJECT, "not UTF-8"))?;
        let mut lines = Lines::new(OBJECT, text)?;
        match lines.line()? {
            FIRST_LINE => {}
            other if other.starts_with("streamseal/entry@v") => {
                return Err(Error::unsupported(OBJECT, format!("version {other:?}")));
            }
            _ => return Err(lines.error(format!("expected {FIRST_LINE}"))),
        }
        let seq = lines.field("seq")?.u63()?;
        let prev = lines.field("prev")?.optional().map(|f| f.hash()).transpose()?;
        let mut fields = lines.fields("keys")?;
        let keys = match fields.next()?.optional() {
            None => None,
            Some(seq) => Some((seq.u63()?, fields.next()?.hash()?)),
        };
        fields.end()?;
        let time = lines.field("time")?.i64()?;
        if !lines.line()?.is_empty() {
            return Err(lines.error("expected an empty line before the statement"));
        }
        let statement = SignedStatement::parse(lines.rest().as_bytes())?;
        Ok(Self { seq, prev, keys, time, statement })
    }

    /// The bytes that are hashed, stored and served.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.keys.map_or_else(|| "-".to_owned(), |(seq, leaf)| format!("{seq} {leaf}"));
        let mut out =
            format!("{FIRST_LINE}\nseq {}\nprev {}\nkeys {keys}\ntime {}\n\n", self.seq, or_dash(self.prev), self.time)
                .into_bytes();
        out.extend_from_slice(&self.statement.to_bytes());
        out
    }

    /// The RFC 6962 leaf hash of the bytes.
    pub fn leaf_hash(&self) -> Hash {
        tree::leaf_hash(&self.to_bytes())
    }
}

impl EncodedEntry {
    /// Encodes and hashes an entry.
    pub fn new(entry: Entry) -> Self {
        let bytes = entry.to_bytes();
        let leaf = tree::leaf_hash(&bytes);
        Self { entry, bytes, leaf }
    }

    /// Reads an entry like [`Entry::parse`].
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let encoded = Self::new(Entry::decode(bytes)?);
        if encoded.bytes != bytes {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(encoded)
    }

    /// Whether these are exactly the entry's bytes, and hash to its leaf hash when hashed again.
    pub fn is_read_back(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes && self.leaf == tree::leaf_hash(bytes)
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The RFC 6962 leaf hash of its bytes.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }
}
