//! `GET /v1/...`.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use committer_client::{
    CoveringQuery, Cursor, CursorQuery, EntryView, Heads, HeadsQuery, Keys, Status, StreamEntries, StreamEntriesQuery,
    caps,
};
use evidence::statement::heads_root;
use evidence::{Partition, Statement, StreamId, text as formats};

use super::answer::{ApiError, TEXT};
use super::opened::Opened;
use crate::parse::parse;
use crate::store::{Store, StoreError, StoredEntry, StreamRow};

type Query<T> = Result<axum::extract::Query<T>, QueryRejection>;

pub(super) async fn cursors(opened: Opened, query: Query<CursorQuery>) -> Result<Json<Cursor>, ApiError> {
    let CursorQuery { cluster, topic, partition } = fields(query)?;
    opened.cursor(&Partition { cluster, topic, number: partition }).await.map(Json)
}

impl Opened {
    /// A partition's cursor, with the statements that moved it there.
    ///
    /// # Errors
    /// If the database does not answer or is corrupt.
    pub async fn cursor(&self, partition: &Partition) -> Result<Cursor, ApiError> {
        self.cursor_of(self.store.open_stream(partition).await?, &[]).await
    }

    /// The cursor in an open stream's row. Entries in `at_hand` are not read again.
    pub(super) async fn cursor_of(&self, row: Option<StreamRow>, at_hand: &[StoredEntry]) -> Result<Cursor, ApiError> {
        let Some(StreamRow { state, last_summary, .. }) = row else { return Ok(Cursor::default()) };
        let text = async |seq| match at_hand.iter().rfind(|entry| entry.seq == seq) {
            Some(entry) => text(parse(entry)?.statement.to_bytes()),
            None => statement_text(&*self.store, seq).await,
        };
        let statement = text(state.seq).await?;
        let last_summary = match last_summary {
            Some(seq) if seq == state.seq => Some(statement.clone()),
            Some(seq) => Some(text(seq).await?),
            None => None,
        };
        Ok(Cursor {
            epoch: state.id.epoch,
            start: state.start,
            next: state.next,
            topic_id: state.topic_id,
            statement: Some(statement),
            seq: Some(state.seq),
            last_summary,
        })
    }

    /// The genesis entry and all key entries.
    ///
    /// # Errors
    /// If the database does not answer or is corrupt.
    pub async fn keys(&self) -> Result<Keys, ApiError> {
        let entries = self.store.key_entries().await?;
        let entries = entries.into_iter().map(|stored| text(stored.bytes)).collect::<Result<_, _>>()?;
        Ok(Keys { entries })
    }
}

/// The statement in an entry that a stream's row names.
async fn statement_text(store: &dyn Store, seq: u64) -> Result<String, ApiError> {
    let entries = store.entries(seq..seq + 1).await?;
    let stored = entries
        .first()
        .ok_or_else(|| StoreError::corrupt(format!("entry {seq} is absent, but a stream's row names it")))?;
    text(parse(stored)?.statement.to_bytes())
}

pub(super) async fn keys(opened: Opened) -> Result<Json<Keys>, ApiError> {
    Opened::keys(&opened).await.map(Json)
}

pub(super) async fn entry(opened: Opened, Path(seq): Path<String>) -> Result<Response, ApiError> {
    let seq = formats::parse_u63(&seq).ok_or_else(|| ApiError::bad_request(format!("{seq:?} is not a seq")))?;
    let entries = opened.store.entries(seq..seq.saturating_add(1).min(formats::U63_MAX)).await?;
    one_entry(entries.into_iter().next(), || format!("there is no entry {seq} yet"))
}

pub(super) async fn covering_entry(opened: Opened, query: Query<CoveringQuery>) -> Result<Response, ApiError> {
    let CoveringQuery { cluster, topic, partition, epoch, offset } = fields(query)?;
    let stream = stream(cluster, topic, partition, epoch)?;
    let covering = opened.store.covering_entry(&stream, u63("offset", offset)?).await?;
    one_entry(covering, || format!("{stream}: no entry covers offset {offset}"))
}

fn one_entry(entry: Option<StoredEntry>, absent: impl Fn() -> String) -> Result<Response, ApiError> {
    let entry = entry.ok_or_else(|| ApiError::not_found(absent()))?;
    Ok((TEXT, entry.bytes).into_response())
}

pub(super) async fn stream_entries(
    opened: Opened,
    query: Query<StreamEntriesQuery>,
) -> Result<Json<StreamEntries>, ApiError> {
    let StreamEntriesQuery { cluster, topic, partition, epoch, from, limit } = fields(query)?;
    if !(1..=caps::STREAM_ENTRIES).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` is 1 to {}, not {limit}", caps::STREAM_ENTRIES)));
    }
    let stream = stream(cluster, topic, partition, epoch)?;
    let entries = opened.store.stream_entries(&stream, u63("from", from)?, limit).await?;
    let view = |stored: StoredEntry| Ok(EntryView { seq: stored.seq, entry: text(stored.bytes)? });
    let entries = entries.into_iter().map(view).collect::<Result<_, ApiError>>()?;
    Ok(Json(StreamEntries { entries }))
}

pub(super) async fn heads(opened: Opened, query: Query<HeadsQuery>) -> Result<Json<Heads>, ApiError> {
    let size = fields(query)?.size.min(formats::U63_MAX);
    let none = || ApiError::not_found(format!("there is no heads entry among the first {size} entries"));
    let stored = opened.store.heads_entry(size).await?.ok_or_else(none)?;
    let lines = opened.store.heads_lines(stored.seq).await?;
    // A verifier would call lines that do not match the root tampering. Report the corrupt table here instead.
    match parse(&stored)?.statement.statement() {
        Statement::Heads(heads) if heads.root == heads_root(lines.iter().cloned()) => {}
        _ => {
            return Err(
                StoreError::corrupt(format!("entry {}: the stored lines do not match its root", stored.seq)).into()
            );
        }
    }
    let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    lines.sort_unstable();
    Ok(Json(Heads { seq: stored.seq, entry: text(stored.bytes)?, lines }))
}

pub(super) async fn status(opened: Opened) -> Result<Json<Status>, ApiError> {
    let position = opened.store.position().await?;
    let checkpoint = opened.store.checkpoint().await?;
    let mut clusters = opened.store.clusters().await?;
    clusters.sort_unstable();
    Ok(Json(Status {
        origin: opened.ledger.origin,
        genesis: opened.ledger.genesis.to_string(),
        size: position.map_or(0, |p| p.next_seq),
        checkpoint_size: checkpoint.map_or(0, |c| c.head.size),
        published_size: opened.store.published().await?,
        clusters,
    }))
}

/// Stored bytes as text.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, ApiError> {
    String::from_utf8(bytes).map_err(|e| StoreError::corrupt(format!("an entry is not text: {e}: run fsck")).into())
}

fn fields<T>(query: Query<T>) -> Result<T, ApiError> {
    query.map(|axum::extract::Query(fields)| fields).map_err(|rejection| ApiError::bad_request(rejection.body_text()))
}

fn stream(cluster: String, topic: String, partition: u32, epoch: u64) -> Result<StreamId, ApiError> {
    Ok(StreamId { partition: Partition { cluster, topic, number: partition }, epoch: u63("epoch", epoch)? })
}

/// Refuses numbers that no chain can have.
fn u63(name: &str, number: u64) -> Result<u64, ApiError> {
    if number > formats::U63_MAX {
        return Err(ApiError::bad_request(format!("`{name}` is {} at most, not {number}", formats::U63_MAX)));
    }
    Ok(number)
}
