//! The chain at its newest heads statement, from what the tables say, so that a start does not read all of it.
//!
//! Nothing here is believed for good. The signer applies the entries from that heads statement on, and signs nothing
//! before the chain has gone through the head that it signed last, which is in its own file. By then all is vouched for:
//!
//! - the root of that head, over the edge of the tree and the entries read, for those hashes and entries;
//! - the heads statement, which `apply` compares with the streams, for where each of them stood (the signer sees to it
//!   that one was applied, whatever the store says is one);
//! - the hash of each stream's newest statement, which the heads statement commits to, for the topic id in its text, and
//!   for whether the stream has begun, which is all that its start decides;
//! - the line `keys` of the heads entry for the newest key entry, and that one for those before it.

use evidence::Entry;
use evidence::chain::{Position, State, StreamState};
use evidence::statement::{Effect, LedgerId, Place};

use crate::chain::{Chain, load_tree};
use crate::parse::parse;
use crate::store::{Store, StoreError, StoreErrorKind, StreamNewest};

/// The chain before the newest heads entry with a seq below `size`; `None` when there is none, or what is stored does not
/// fit together: then the chain is to be read from its first entry on, which finds what is wrong.
pub(crate) async fn resume(store: &dyn Store, ledger: &LedgerId, size: u64) -> Result<Option<Chain>, StoreError> {
    match try_resume(store, ledger, size).await {
        Err(error) if error.kind == StoreErrorKind::Damaged => Ok(None),
        result => result,
    }
}

async fn try_resume(store: &dyn Store, ledger: &LedgerId, size: u64) -> Result<Option<Chain>, StoreError> {
    let Some(stored) = store.heads_entry(size).await? else { return Ok(None) };
    let heads = parse(&stored)?;
    let (seq, Some(last_leaf)) = (stored.seq, heads.prev) else { return Ok(None) };
    let key_entries = store.key_entries().await?;
    let key_entries = key_entries.iter().take_while(|stored| stored.seq < seq).map(parse);
    let key_entries = key_entries.collect::<Result<Vec<_>, _>>()?;
    let mut streams = Vec::new();
    for StreamNewest { number, start, entry } in store.newest_entries(seq).await? {
        let Some(head) = stream_state(&parse(&entry)?, start) else { return Ok(None) };
        streams.push((number, head));
    }
    let position = Position { next_seq: seq, last_leaf, time: heads.time };
    let stream_states = streams.iter().map(|(_, head)| head.clone());
    let state = State::new(&ledger.origin, ledger.genesis).resume(&key_entries, stream_states, position);
    let Ok(state) = state else { return Ok(None) };
    let tree = load_tree(store, seq).await?;
    Ok(Some(Chain::resumed(state, tree, streams.into_iter().map(|(number, head)| (head.id, number)))))
}

/// Where a stream stands after its newest entry. Its last event is left out, which decides nothing.
fn stream_state(newest: &Entry, start: u64) -> Option<StreamState> {
    let statement = newest.statement.statement();
    let Place { stream, topic_id, first, next } = statement.place()?;
    let start = match statement.kind().effect() {
        Effect::NewStream => first,
        Effect::Advance if start < next => start,
        Effect::Advance | Effect::Keys | Effect::Commit => return None,
    };
    Some(StreamState {
        id: stream.clone(),
        topic_id: topic_id.map(ToOwned::to_owned),
        start,
        next,
        statement: newest.statement.hash(),
        seq: newest.seq,
        last: None,
    })
}
