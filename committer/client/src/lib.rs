//! The committer's HTTP interface: its types and a client.
//!
//! Everything signed or hashed travels as the exact text of a note or an entry; the JSON around it is only a view,
//! with 64-bit integers as decimal strings. The client checks no signatures: a caller that relies on an answer parses
//! and verifies the text with the crate `evidence`.

mod client;
mod decimal;
pub mod http;
mod tiles;
mod topic;
mod types;

pub use client::{Client, Error};
pub use tiles::TilesError;
pub use topic::{COMMITMENTS_TOPIC, COMMITMENTS_TOPIC_PREFIX, is_commitments_topic};
pub use types::{
    Accepted, Commitment, CoveringQuery, Cursor, CursorQuery, EntryView, ErrorView, Heads, HeadsQuery, Keys,
    RefusedStatement, Status, StreamEntries, StreamEntriesQuery, SubmitRequest, SubmitResponse, caps, code,
};
