//! Random interleavings of a topic, a committer and processes that crash, against the promises of the design.
