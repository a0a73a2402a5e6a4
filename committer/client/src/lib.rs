//! The committer's HTTP interface: its types and a client.
