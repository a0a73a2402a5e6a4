//! What a committer serves from a corrupt database.

use committer::store::{StoredCheckpoint, open_existing};
use evidence::statement::LedgerId;
use evidence::{Head, SignedCheckpoint, tree::leaf_hash};

use super::Database;
use super::running::{Options, Place, Running};
use super::safety::unavailable;
use super::service::read_log;
use testbed::statements::{TestLedger, stream};

/// The status of a path, and whether a cache may keep the answer.
async fn answer(running: &Running, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("{}{path}", running.client.base())).await.expect("answered");
    let cache = response.headers().get("cache-control").map(|value| value.to_str().expect("text").to_owned());
    (response.status().as_u16(), cache.unwrap_or_default())
}

pub(crate) async fn corrupt_entries_and_tiles_are_not_served(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 600, None)).await;
    assert_eq!(running.signed().await.size, 602);
    let text = running.client.entry(137).await.expect("answered").expect("there");
    let changed = text.replace("bytes 1000", "bytes 1001");
    assert_ne!(changed, text);
    let all = ["tile/0/000", "tile/0/001", "tile/0/002.p/90", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001"];
    let (entry, leaf) = (database.blob(changed.as_bytes()), database.blob(&leaf_hash(changed.as_bytes()).0));
    for (round, (sql, damaged)) in [
        (format!("UPDATE entries SET entry = {entry} WHERE seq = 137"), &["tile/entries/000"][..]),
        // The leaf hash is changed to fit: only the tree above shows it.
        (
            format!("UPDATE entries SET entry = {entry}, leaf = {leaf} WHERE seq = 137"),
            &["tile/0/000", "tile/entries/000"],
        ),
        // The root depends on these.
        (format!("UPDATE tree_nodes SET hash = {leaf} WHERE level = 8 AND node_index = 0"), &all),
        (format!("UPDATE entries SET leaf = {leaf} WHERE seq = 601"), &all),
    ]
    .into_iter()
    .enumerate()
    {
        let backup = format!("before_{round}");
        database.back_up(&backup).await;
        database.execute(&sql).await;
        for path in all {
            let (status, cache) = answer(&running, path).await;
            if damaged.contains(&path) {
                assert_eq!((status, cache.as_str()), (503, "no-store"), "{path} after {sql}");
            } else {
                assert_eq!(status, 200, "{path} after {sql}");
                assert!(cache.contains("immutable"), "{path}: {cache}");
            }
        }
        let (status, body) = running.get(damaged[0]).await;
        let body = String::from_utf8(body).expect("text");
        assert!(status == 503 && body.contains("fsck"), "it should say what to do: {body}");
        database.restore(&backup).await;
    }
    read_log(&running, &place.ledger).await;
    running.stop().await;
}

/// Replaces the newest checkpoint's note with one that no log key of the ledger signed.
async fn forge(database: &Database, ledger: &TestLedger, is_signed: bool) {
    let store = open_existing(&database.url, &ledger.id()).await.expect("opens");
    let note = store.checkpoint().await.expect("reads").expect("signed").note;
    store.close().await.expect("closes");
    let forged = if is_signed {
        let checkpoint = SignedCheckpoint::parse(&note).expect("a checkpoint").checkpoint().clone();
        SignedCheckpoint::sign(checkpoint, &TestLedger::new("another").log).to_bytes()
    } else {
        note[..note.len() - 5].to_vec()
    };
    database.execute(&format!("UPDATE checkpoints SET note = {}", database.blob(&forged))).await;
}

/// Returns the SQL that the message names.
async fn assert_shown(running: &Running) -> String {
    let reason =
        running.until_not_ready(&["database: ", "the checkpoint of size", "DELETE FROM checkpoints WHERE"]).await;
    for path in ["checkpoint", "tile/0/000", "tile/entries/000"] {
        assert_eq!(answer(running, path).await, (503, "no-store".to_owned()), "{path}");
    }
    reason.split('`').find(|part| part.starts_with("DELETE")).expect("named").to_owned()
}

pub(crate) async fn forged_checkpoint_is_not_served(database: Database) {
    let place = Place::new();
    let ledger = &place.ledger;
    let statements = ledger.summaries(&stream("t", 0), 0, 10, 300, None);
    let mut running = place.start(&database).await;
    let id = LedgerId { origin: "it's.another".to_owned(), genesis: leaf_hash(b"another") };
    let other = database.open(&id).await.expect("opens");
    let head_of_other = Head { size: 1, root: leaf_hash(b"root") };
    let of_other = StoredCheckpoint { head: head_of_other, note: b"a note".to_vec() };
    other.put_checkpoint(&of_other).await.expect("stored");
    running.append(&statements[..299]).await;
    for is_signed in [true, false] {
        running.signed().await;
        running.until_ready().await;
        forge(&database, ledger, is_signed).await;
        let statement = assert_shown(&running).await;
        running.stop().await;
        // The checkpoint signed at the end replaced it.
        forge(&database, ledger, is_signed).await;
        for signs in [true, false] {
            let running = place.start_with(&database, Options { signs, ..Options::default() }).await;
            assert_shown(&running).await;
            if signs {
                assert!(unavailable(&running, &statements[299]).await.contains("the checkpoint of size"));
            }
            running.stop().await;
        }
        // Runs the named SQL, which must not touch another ledger.
        database.execute(&statement).await;
        let untouched = other.checkpoint().await.expect("reads").expect("still there");
        assert_eq!(untouched.head, head_of_other);
        running = place.start(&database).await;
        running.signed().await;
        running.until_ready().await;
        read_log(&running, ledger).await;
    }
    running.append(&statements[299..]).await;
    running.stop().await;
    other.close().await.expect("closes");
}
