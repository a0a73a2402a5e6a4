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
    /// The entry after the last one of the chain that is there.
    pub(crate) next: u64,
    /// How often one was there again.
    pub(crate) repeated: u64,
    /// How many are newer than the chain.
    pub(crate) newer: u64,
}

impl Published {
    /// Reads commitments in their order. Each entry must be there the first time in the order of the chain, from `first` on,
    /// and have the bytes that it has in the chain.
    pub(crate) fn read(commitments: impl IntoIterator<Item = impl AsRef<[u8]>>, chain: &[Entry], first: u64) -> Self {
        let mut published = Self { next: first, repeated: 0, newer: 0 };
        for commitment in commitments {
            let commitment: Value = serde_json::from_slice(commitment.as_ref()).unwrap();
            let seq = number(&commitment["seq"]).unwrap();
            let Some(entry) = chain.get(seq as usize) else {
                published.newer += 1;
                continue;
            };
            assert_eq!(commitment["entry"].as_str().map(str::as_bytes), Some(&*entry.to_bytes()), "commitment {seq}");
            assert!(seq <= published.next, "entry {seq} was published before {}", published.next);
            published.repeated += u64::from(seq < published.next);
            published.next = published.next.max(seq + 1);
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
    assert_eq!(published.next, size, "the last commitment");
    published.repeated
}
