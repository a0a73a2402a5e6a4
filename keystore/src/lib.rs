//! Key files and the synced state files beside them.
