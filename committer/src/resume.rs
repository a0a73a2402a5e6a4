//! Builds the chain at its newest heads statement from the tables, so that a start need not read all of it.
//!
//! None of it is trusted yet. The signer applies the entries from that heads statement on, and signs nothing before the
//! chain reaches the head that it signed last, which is in its own file. That proves everything:
//!
//! - The root of that head covers the edge of the tree and the entries read.
//! - `apply` compares the heads statement with the streams' cursors. The signer makes sure that one was applied, whatever
//!   the store calls one.
//! - The heads statement commits to the hash of each stream's newest statement, and so to the topic id in its text. It also
//!   shows whether the stream has begun, and its start decides nothing else.
//! - The line `keys` of the heads entry commits to the newest key entry, and that one to those before it.

use evidence::Entry;
use evidence::chain::{Position, State, StreamState};
use evidence::statement::{Effect, LedgerId, Place};

use crate::chain::{Chain, load_tree};
use crate::parse::parse;
use crate::store::{Store, StoreError, StoreErrorKind, StreamNewest};

/// The chain before the newest heads entry with a seq below `size`. `None` if there is none or the tables do not fit
/// together: reading the chain from its first entry on then finds what is wrong.
pub(crate) async fn resume(store: &dyn Store, ledger: &LedgerId, size: u64) -> Result<Option<Chain>, StoreError> {
    match try_resume(store, ledger, size).await {
        Err(error) if error.kind == StoreErrorKind::Corrupt => Ok(None),
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
        let Some(stream) = stream_state(&parse(&entry)?, start) else { return Ok(None) };
        streams.push((number, stream));
    }
    let position = Position { next_seq: seq, last_leaf, time: heads.time };
    let stream_states = streams.iter().map(|(_, stream)| stream.clone());
    let state = State::new(&ledger.origin, ledger.genesis).resume(&key_entries, stream_states, position);
    let Ok(state) = state else { return Ok(None) };
    let tree = load_tree(store, seq).await?;
    Ok(Some(Chain::resumed(state, tree, streams.into_iter().map(|(number, stream)| (stream.id, number)))))
}

/// The state of a stream after its newest entry, without the last event, which decides nothing.
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
