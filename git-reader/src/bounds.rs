//! Bounded reading: files, zlib streams, and how much may be unpacked in all.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::error::ReadError;

/// The most bytes that may be unpacked of one repository: a megabyte for each of a million commits.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 1 << 40;

/// The bytes that may still be unpacked of one repository.
pub(crate) struct Budget(Cell<u64>);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Cell::new(bytes))
    }

    pub(crate) fn spend(&self, bytes: usize) -> Result<(), ReadError> {
        let left = self.0.get().checked_sub(bytes as u64);
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("more than {UNPACKED_BYTES_MAX} bytes to unpack in this clone").into())
    }
}

/// Opens a regular file without waiting for it; `None` when there is none.
pub(crate) fn open_file(path: &Path) -> Result<Option<File>, ReadError> {
    match keystore::open_regular(path) {
        Err(keystore::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The largest zlib stream that Git writes for this number of bytes.
pub(crate) fn packed_bytes_max(bytes: usize) -> usize {
    bytes + bytes / 1000 + 1024
}

/// Unpacks the zlib stream at the start of `packed` into at most `bytes_max` bytes.
pub(crate) fn inflate(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, ReadError> {
    // miniz_oxide takes a limit of 0 for no limit.
    decompress_to_vec_zlib_with_limit(packed, bytes_max.max(1))
        .map_err(|error| ReadError(format!("cannot be unpacked into {bytes_max} bytes: {:?}", error.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_ends_at_its_limit() {
        let budget = Budget::new(10);
        assert!(budget.spend(4).is_ok() && budget.spend(6).is_ok() && budget.spend(0).is_ok());
        assert!(budget.spend(1).is_err());
        let budget = Budget::new(10);
        assert!(budget.spend(11).is_err_and(|ReadError(problem)| problem.contains("bytes to unpack in this clone")));
        assert!(budget.spend(1).is_err(), "a failed spending empties the budget");
    }
}
