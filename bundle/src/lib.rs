//! Writes and reads bundles: the files that let someone verify offline.
