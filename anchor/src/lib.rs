//! Proves the chain's head consistent, cosigns it and publishes it in Git.
