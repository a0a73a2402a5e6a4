//! Verifies events, statements, the chain and its anchors offline.
