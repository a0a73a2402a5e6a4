//! The committer's HTTP interface: its types and a client.
//!
//! Everything signed or hashed travels as the exact text of a note or an entry; the JSON around it is only a view,
//! with 64-bit integers as decimal strings. The client checks no signatures: a caller that relies on an answer parses
//! and verifies the text with the crate `evidence`.
//!
//! # Example
//!
//! ```no_run
//! use committer_client::{Client, CursorQuery, Error};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::new("http://127.0.0.1:7380")?;
//! let query = CursorQuery { cluster: "-".into(), topic: "orders".into(), partition: 0 };
//! match client.cursor(&query).await {
//!     Ok(cursor) => println!("the next offset to seal is {}", cursor.next),
//!     Err(Error::Unavailable { retry_after, .. }) => println!("ask again after {retry_after:?}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An address is checked before any request:
//!
//! ```
//! use committer_client::Client;
//!
//! let client = Client::new("http://127.0.0.1:7380/audit").expect("an address");
//! assert_eq!(client.base(), "http://127.0.0.1:7380/audit/");
//! assert!(Client::new("ftp://127.0.0.1").is_err());
//! ```

#![warn(clippy::missing_errors_doc, rustdoc::broken_intra_doc_links)]

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
