//! Compares the topic of commitments with the chain.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::path::Path;
use std::time::Duration;

use crate::forge::Forgery;
use crate::kafka::Kafka;
use crate::ledger::{Ledger, number};
use crate::wait::until;
use evidence::Entry;
use serde_json::Value;

const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);

/// The commitments found in the topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    /// The seq after the last published entry.
    pub next: u64,
    /// Commitments that repeat an earlier one.
    pub repeated: u64,
}

impl Published {
    /// Reads commitments in topic order. Entries must first appear in chain order, starting at `first`. Each must
    /// follow the previous one, and have the bytes that `chain` has at its seq, if any.
    pub fn read(commitments: impl IntoIterator<Item = impl AsRef<[u8]>>, chain: &[Entry], first: u64) -> Self {
        let mut published = Self { next: first, repeated: 0 };
        let mut head = first.checked_sub(1).map(|last| chain[last as usize].leaf_hash());
        for commitment in commitments {
            let commitment: Value = serde_json::from_slice(commitment.as_ref()).unwrap();
            let text = commitment["entry"].as_str().unwrap().as_bytes();
            let entry = Entry::parse(text).unwrap();
            assert_eq!(number(&commitment["seq"]), Some(entry.seq));
            if let Some(there) = chain.get(entry.seq as usize) {
                assert_eq!(text, there.to_bytes(), "commitment {}", entry.seq);
            }
            assert!(entry.seq <= published.next, "entry {} was published before {}", entry.seq, published.next);
            if entry.seq < published.next {
                published.repeated += 1;
            } else {
                assert_eq!(entry.prev, head, "commitment {}", entry.seq);
                head = Some(entry.leaf_hash());
                published.next += 1;
            }
        }
        published
    }
}

/// Requires that every entry of a full bundle was published; newer ones may be there too. Returns the number of
/// repeated commitments.
pub fn all_are_published(kafka: &Kafka, topic: &str, ledger: &Ledger, bundle: &Path) -> u64 {
    let chain: Vec<_> = Forgery::of(bundle).entries().collect();
    let size = chain.len() as u64;
    until("every entry is published", PUBLISHED_WITHIN, || ledger.published() >= Some(size));
    let published = Published::read(kafka.kcat().consume(topic).lines(), &chain, 0);
    assert!(published.next >= size, "{} of {size} entries were published", published.next);
    published.repeated
}
