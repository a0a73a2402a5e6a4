//! How far the signer has verified the database since its start.
//!
//! | phase | the replay began at | next phase |
//! |---|---|---|
//! | `Unchecked` | nothing read yet | stored hashes match the signed heads: `Unproven` if it can resume, else `Read` |
//! | `Unproven` | newest heads statement | the replay reaches the high-water head: `Reading`; it does not fit: replays all, `Read` |
//! | `Reading` | newest heads statement | the earlier entries lead to where the replay began: `Read` |
//! | `Read` | first entry, or all earlier entries were read since | none |
//!
//! The signer signs in `Reading` and `Read` only. An error leaves the phase as it is.

use evidence::Head;

use crate::replay::Replay;

/// How far the database is verified.
pub(super) enum Phase {
    /// The database is not compared with the heads signed before this start.
    Unchecked,
    /// The database's stored hashes have all heads signed before this start.
    Checked {
        /// Those of them that the replay has not reached.
        due: Vec<SignedHead>,
        /// The entries before those that the replay began with.
        earlier: Earlier,
    },
}

/// The entries before those that the replay began with.
pub(super) enum Earlier {
    /// They are read, or there are none.
    Read,
    /// Nothing vouches yet for where the replay began. The tables give this head there.
    Unproven(Head),
    /// The high-water head vouches for them. They are read bit by bit while signing continues.
    Reading {
        /// Reads them.
        replay: Box<Replay>,
        /// The head that they must lead to.
        end: Head,
    },
}

/// A head signed before this start.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedHead {
    /// The head.
    pub(super) head: Head,
    /// Who says that it was signed.
    pub(super) source: Source,
}

/// Who says that a head was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    HighWaterFile,
    StoredCheckpoint,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HighWaterFile => "the log key's high-water file",
            Self::StoredCheckpoint => "the database's own checkpoint",
        })
    }
}

impl Phase {
    /// Whether nothing vouches yet for where the replay began.
    pub(super) fn is_unproven(&self) -> bool {
        matches!(self, Self::Checked { earlier: Earlier::Unproven(_), .. })
    }

    /// Whether earlier entries are being read while signing continues.
    pub(super) fn is_reading_earlier(&self) -> bool {
        matches!(self, Self::Checked { earlier: Earlier::Reading { .. }, .. })
    }

    /// The size of the next head that the replay must reach.
    pub(super) fn next_due(&self) -> Option<u64> {
        match self {
            Self::Unchecked => None,
            Self::Checked { due, .. } => due.iter().map(|signed| signed.head.size).min(),
        }
    }
}
