//! What is on the topic of commitments, against the chain.

use std::path::Path;
use std::time::Duration;

use evidence::Entry;
use serde_json::Value;
use tests::{Kafka, until};

use super::forge::Forgery;
use super::ledger::{Ledger, number};

const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);

/// What was published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The entry after the last one that is there.
    pub(crate) next: u64,
    /// How often one was there again.
    pub(crate) repeated: u64,
}

impl Published {
    /// Reads commitments in their order. Each entry must be there the first time in the order of the chain, from `first` on,
    /// follow the one before, and have the bytes that it has in the chain, as far as that goes.
    pub(crate) fn read(commitments: impl IntoIterator<Item = impl AsRef<[u8]>>, chain: &[Entry], first: u64) -> Self {
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

/// Requires that every entry of a bundle of everything was published, and maybe newer ones; returns how often one was there
/// again.
pub(crate) fn all_are_published(kafka: &Kafka, topic: &str, ledger: &Ledger, bundle: &Path) -> u64 {
    let chain: Vec<_> = Forgery::of(bundle).entries().collect();
    let size = chain.len() as u64;
    until("every entry is published", PUBLISHED_WITHIN, || ledger.published() >= Some(size));
    let published = Published::read(kafka.kcat().consume(topic).lines(), &chain, 0);
    assert!(published.next >= size, "the last commitment is {} of {size}", published.next);
    published.repeated
}
