//! Runs: consecutive entries with the hashes that prove them against one checkpoint.

use evidence::Hash;
use evidence::tree::{self, CompactRange, TreeError};

use crate::Error;
use crate::parts::PartsReader;

/// The most entries in one run. A reader holds one run in memory.
pub const ENTRIES_PER_RUN_MAX: usize = 1024;

/// The most hashes on one side of a run: a tree of 2^63 leaves needs no more.
const HASHES_MAX: usize = 126;

/// Consecutive entries, and the roots of the complete subtrees that cover everything else in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The seq of the first entry.
    pub first: u64,
    /// The nodes of `tree::decompose(0..first)`.
    pub left: Vec<Hash>,
    /// The nodes of `tree::decompose(first + entries.len()..size)`.
    pub right: Vec<Hash>,
    /// The bytes of the entries, 1 to [`ENTRIES_PER_RUN_MAX`].
    pub entries: Vec<Vec<u8>>,
}

impl Run {
    /// The seq after the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The root of a tree of `size` leaves that contains the run.
    ///
    /// # Errors
    /// When there are more or fewer hashes than the run's place in such a tree needs.
    pub fn root(&self, size: u64) -> Result<Hash, TreeError> {
        let mut range = self.range_to(self.entries.len())?;
        range.extend(size, &self.right)?;
        Ok(range.root())
    }

    /// The root of the first `size` leaves of the tree. `None` unless `first <= size <= end`. The caller must have
    /// compared [`Run::root`] with a trusted root.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        let entries = usize::try_from(size.checked_sub(self.first)?).ok()?;
        if entries > self.entries.len() {
            return None;
        }
        self.range_to(entries).ok().map(|range| range.root())
    }

    /// The leaves before the run, and those of its first entries.
    fn range_to(&self, entries: usize) -> Result<CompactRange, TreeError> {
        let mut range = CompactRange::resume(0..self.first, &self.left)?;
        for entry in &self.entries[..entries] {
            range.push_leaf(tree::leaf_hash(entry));
        }
        Ok(range)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let unfit = |problem: &str| Error::malformed("entries", format!("run at {}: {problem}", self.first));
        if self.entries.is_empty() || self.entries.len() > ENTRIES_PER_RUN_MAX {
            return Err(unfit("a run has 1 to 1024 entries"));
        }
        let mut out = self.first.to_be_bytes().to_vec();
        out.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for hashes in [&self.left, &self.right] {
            if hashes.len() > HASHES_MAX {
                return Err(unfit("more hashes than any tree has"));
            }
            out.push(hashes.len() as u8);
            hashes.iter().for_each(|hash| out.extend_from_slice(&hash.0));
        }
        for entry in &self.entries {
            let len = u16::try_from(entry.len()).map_err(|_| unfit("an entry is longer than 65,535 bytes"))?;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(entry);
        }
        Ok(out)
    }

    pub(crate) fn read(parts: &mut PartsReader) -> Result<Self, Error> {
        let first = u64::from_be_bytes(parts.take_array("run header")?);
        let count = u32::from_be_bytes(parts.take_array("run header")?);
        let count = usize::try_from(count).ok().filter(|count| (1..=ENTRIES_PER_RUN_MAX).contains(count));
        let count = count.ok_or_else(|| parts.malformed("a run has 1 to 1024 entries"))?;
        if first > i64::MAX as u64 - count as u64 {
            return Err(parts.malformed("a run that ends above 2^63-1"));
        }
        let left = read_hashes(parts)?;
        let right = read_hashes(parts)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let len = u16::from_be_bytes(parts.take_array("entry length")?);
            entries.push(parts.take(len.into(), "entry")?.to_vec());
        }
        Ok(Self { first, left, right, entries })
    }
}

fn read_hashes(parts: &mut PartsReader) -> Result<Vec<Hash>, Error> {
    let [count] = parts.take_array("number of hashes")?;
    if usize::from(count) > HASHES_MAX {
        return Err(parts.malformed("more hashes than any tree has"));
    }
    (0..count).map(|_| Ok(Hash(parts.take_array("hash")?))).collect()
}
