//! Decides whether a topic may be published to: it must be empty or hold this ledger's commitments.

use committer_client::Commitment;
use evidence::Entry;
use evidence::statement::LedgerId;

use super::topic::Newest;
use crate::store::deletion;

/// Why the topic must not be published to, if so. `published` is how many entries were published before.
pub(super) fn refusal(topic: &str, ledger: &LedgerId, newest: &[Newest], published: u64) -> Option<String> {
    newest.iter().find_map(|Newest { partition, value }| {
        let found = match of(value) {
            Some(found) if found == *ledger => return None,
            Some(found) => format!(
                "holds commitments of another ledger, {} with genesis {}; this one is {} with genesis {}",
                found.origin, found.genesis, ledger.origin, ledger.genesis
            ),
            None => "holds a record that is no commitment".to_owned(),
        };
        let before = match published.checked_sub(1) {
            None => String::new(),
            Some(last) => format!(
                ". Publishing continues there with entry {published}, so that topic lacks the entries 0 to {last}, which were \
                 published before. To publish all entries there, first stop the committer and run `{}` in the database",
                deletion("publications", ledger)
            ),
        };
        Some(format!(
            "the topic {topic} belongs to somebody else: {topic}/{partition} {found}. Nothing is published. Give this ledger \
             a topic of its own: set `committer.commitments_topic` and restart the committer{before}"
        ))
    })
}

/// The ledger that a commitment belongs to.
fn of(value: &[u8]) -> Option<LedgerId> {
    let commitment: Commitment = serde_json::from_slice(value).ok()?;
    let entry = Entry::parse(commitment.entry.as_bytes()).ok()?;
    Some(entry.statement.ledger())
}
