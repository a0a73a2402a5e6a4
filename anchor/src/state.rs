use evidence::Head;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::Oid;
use keystore::HighWater;

/// The anchor's state, in the high-water file beside its key: the largest head ever cosigned, and the anchor that the
/// branch holds or is about to hold.
///
/// The anchor is stored whole. A process that was killed before the commit makes the same commit after its restart.
#[derive(Debug)]
pub(crate) struct State {
    file: HighWater,
}

/// The last anchor that was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The branch's newest commit when it was made.
    pub(crate) base: Option<Oid>,
    /// The file `consistency`, which has the checkpoint in it.
    pub(crate) consistency: Vec<u8>,
}

impl State {
    /// Opens the file beside `key`, and locks it against other processes.
    pub(crate) fn open(key: &Path, origin: &str) -> anyhow::Result<Self> {
        Ok(Self { file: HighWater::open(&Self::path(key), origin)? })
    }

    /// The file beside `key`.
    pub(crate) fn path(key: &Path) -> PathBuf {
        let mut path = key.as_os_str().to_owned();
        path.push(".high-water");
        path.into()
    }

    /// The largest head ever cosigned.
    pub(crate) fn cosigned(&self) -> Option<Head> {
        self.file.head()
    }

    /// The last anchor; `None` before the first.
    pub(crate) fn record(&self) -> anyhow::Result<Option<Record>> {
        match self.file.record() {
            [] => Ok(None),
            bytes => {
                Record::parse(bytes).map(Some).context("the record in the high-water file is not one of an anchor")
            }
        }
    }

    /// Stores the largest head and the last anchor, durably. The cosignature must not leave the process before that.
    ///
    /// # Errors
    /// After any error but a refused head, nothing may be cosigned until the process starts again.
    pub(crate) fn advance(&mut self, head: Head, record: Option<&Record>) -> Result<(), keystore::Error> {
        self.file.advance_with(head, &record.map(Record::encode).unwrap_or_default())
    }
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let base = self.base.map_or_else(|| "-".to_owned(), |commit| commit.to_string());
        [format!("base {base}\n").as_bytes(), &self.consistency].concat()
    }

    /// Parses a record, and refuses all but its canonical form.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let base = str::from_utf8(&bytes[..end]).ok()?.strip_prefix("base ")?;
        let base = if base == "-" { None } else { Some(Oid::from_str(base).ok()?) };
        let record = Self { base, consistency: bytes[end + 1..].to_vec() };
        (record.encode() == bytes).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use evidence::sha256;

    use super::*;

    #[test]
    fn last_anchor_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("anchor.key");
        let head = Head { size: 3, root: sha256(b"3") };
        let base = Some(Oid::from_str("1111111111111111111111111111111111111111").expect("an id"));
        for base in [None, base] {
            let record = Record { base, consistency: b"old 0\n\nnote\n".to_vec() };
            let mut state = State::open(&key, "example.com/audit").expect("opens");
            state.advance(head, Some(&record)).expect("remembered");
            drop(state);
            let state = State::open(&key, "example.com/audit").expect("opens");
            assert_eq!(state.cosigned(), Some(head));
            assert_eq!(state.record().expect("reads back"), Some(record));
        }
    }

    #[test]
    fn record_has_one_canonical_form() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert!(Record::parse(format!("base {id}\nnote").as_bytes()).is_some());
        for other in [&id[..39], &id.to_uppercase(), &format!("{id}0"), "", "--"] {
            assert_eq!(Record::parse(format!("base {other}\nnote").as_bytes()), None, "{other}");
        }
    }
}
