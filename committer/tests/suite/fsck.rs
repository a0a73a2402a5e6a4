//! What `fsck` finds.

use committer::store::open_existing;
use committer::{Report, fsck};
use evidence::{Entry, SignedStatement};

use super::Database;
use super::running::Place;
use testbed::statements::stream;

/// A chain of genesis, grant, 300 summaries of two streams and a heads entry. Its committer has stopped.
async fn filled(database: &Database) -> Place {
    let place = Place::new();
    let running = place.start(database).await;
    let (a, b) = (stream("ta", 0), stream("tb", 0));
    let (of_a, of_b) = (place.ledger.summaries(&a, 0, 10, 150, None), place.ledger.summaries(&b, 0, 10, 150, None));
    let mixed: Vec<SignedStatement> = of_a.into_iter().zip(of_b).flat_map(|(a, b)| [a, b]).collect();
    running.append(&mixed).await;
    running.signed().await;
    running.stop().await;
    place
}

async fn check(database: &Database, place: &Place) -> Report {
    let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
    let (id, mut last) = (place.ledger.id(), 0);
    let report = fsck(&*store, &id, |checked, size| {
        assert!(checked <= size && checked >= last);
        last = checked;
    });
    report.await.expect("the database answers")
}

async fn entry(database: &Database, place: &Place, seq: u64) -> Entry {
    let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
    let entries = store.entries(seq..seq + 1).await.expect("reads");
    Entry::parse(&entries[0].bytes).expect("an entry")
}

#[track_caller]
fn assert_first_invalid(report: &Report, seq: u64, parts: &[&str]) {
    let (found, problem) = report.first_invalid.as_ref().unwrap_or_else(|| panic!("nothing invalid in {report}"));
    assert_eq!(*found, seq, "{problem}");
    assert!(parts.iter().all(|part| problem.contains(part)), "{problem:?} should say {parts:?}");
    assert!(report.to_string().contains(&format!("entry {seq}: ")));
    assert!(!report.is_sound());
}

pub(crate) async fn sound_database_passes(database: Database) {
    let place = filled(&database).await;
    let report = check(&database, &place).await;
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.size, report.valid.size), (303, 303));
}

pub(crate) async fn changed_entry_is_named(database: Database) {
    let place = filled(&database).await;
    let text = String::from_utf8(entry(&database, &place, 137).await.to_bytes()).expect("text");
    for (changed, problem) in [
        (text.replace("bytes 1000", "bytes 1001"), "bad-signature"),
        (text.replace("seq 137", "seq 138"), "wrong-seq"),
        (text.replacen("streamseal", "Streamseal", 1), "entry"),
        // A time in the future is well-formed: only the leaf hash shows it.
        (text.replacen("\ntime ", "\ntime 9", 1), "leaf"),
    ] {
        assert_ne!(changed, text);
        let set = format!("UPDATE entries SET entry = {} WHERE seq = 137", database.blob(changed.as_bytes()));
        database.execute(&set).await;
        let report = check(&database, &place).await;
        assert_first_invalid(&report, 137, &[problem]);
    }
}

pub(crate) async fn removed_entry_is_named(database: Database) {
    let place = filled(&database).await;
    database.execute("DELETE FROM entries WHERE seq = 302").await;
    assert_first_invalid(&check(&database, &place).await, 302, &["absent"]);
    database.execute("DELETE FROM entries WHERE seq = 42").await;
    let report = check(&database, &place).await;
    assert_first_invalid(&report, 42, &["absent"]);
    assert_eq!((report.valid.size, report.size), (42, 303));
}

pub(crate) async fn added_entry_is_named(database: Database) {
    let place = filled(&database).await;
    database
        .execute(
            "INSERT INTO entries (ledger, seq, leaf, statement, kind, stream, first_offset, next_offset, entry)
             SELECT ledger, 1000, leaf, leaf, kind, NULL, NULL, NULL, entry FROM entries WHERE seq = 302",
        )
        .await;
    assert_first_invalid(&check(&database, &place).await, 1000, &["the chain has 303 entries"]);
    database.execute("UPDATE entries SET seq = -1 WHERE seq = 1000").await;
    let report = check(&database, &place).await;
    assert!(!report.is_sound() && report.to_string().contains("entry -1: stored"), "{report}");
}

pub(crate) async fn column_that_differs_from_its_entry_is_named(database: Database) {
    let place = filled(&database).await;
    for (column, value, seq, problem) in [
        ("leaf", database.blob(&[7; 32]), 250, "column leaf"),
        ("statement", database.blob(&[7; 32]), 240, "column statement"),
        ("kind", "'gap'".to_owned(), 230, "column kind"),
        ("first_offset", "1".to_owned(), 220, "first_offset"),
        ("next_offset", "100000".to_owned(), 210, "next_offset"),
        ("stream", "5".to_owned(), 200, "column stream"),
        // Not even a hash.
        ("leaf", database.blob(&[7; 31]), 190, "31 bytes"),
    ] {
        database.execute(&format!("UPDATE entries SET {column} = {value} WHERE seq = {seq}")).await;
        assert_first_invalid(&check(&database, &place).await, seq, &[problem]);
    }
}

pub(crate) async fn changed_tree_node_is_named(database: Database) {
    let place = filled(&database).await;
    database.execute(&format!("UPDATE tree_nodes SET hash = {}", database.blob(&[7; 32]))).await;
    assert_first_invalid(&check(&database, &place).await, 255, &["subtree 0 of level 8"]);
    database.execute("DELETE FROM tree_nodes").await;
    assert_first_invalid(&check(&database, &place).await, 255, &["subtree 0 of level 8"]);
}

pub(crate) async fn changed_streams_and_checkpoints_are_named(database: Database) {
    let place = filled(&database).await;
    for (sql, parts) in [
        ("UPDATE streams SET next_offset = 1490 WHERE topic = 'ta'".to_owned(), ["ta/0", "1490", "1500"]),
        ("DELETE FROM streams WHERE topic = 'tb'".to_owned(), ["tb/0", "row", "absent"]),
        (format!("UPDATE checkpoints SET root = {}", database.blob(&[7; 32])), ["the checkpoint", "303", "root"]),
        // A checkpoint of a smaller size.
        ("UPDATE checkpoints SET size = 200".to_owned(), ["the checkpoint of size 200", "root", "200"]),
        // An unreadable value is reported like any other.
        (
            format!("UPDATE streams SET statement = {} WHERE topic = 'ta'", database.blob(&[7; 31])),
            ["the row of stream 2", "31 bytes", "hash"],
        ),
        (format!("UPDATE checkpoints SET root = {}", database.blob(&[7; 31])), ["the checkpoint", "31 bytes", "hash"]),
        (
            format!("UPDATE checkpoints SET note = {}", database.blob(b"note")),
            ["the checkpoint of size 303", "note", "root"],
        ),
        ("INSERT INTO publications SELECT ledger, 304 FROM checkpoints".to_owned(), ["published", "304", "303"]),
    ] {
        database.back_up("before").await;
        database.execute(&sql).await;
        let report = check(&database, &place).await;
        assert_eq!(report.first_invalid, None, "{sql}");
        let problems = report.to_string();
        assert!(parts.iter().all(|part| problems.contains(part)), "{problems:?} should say {parts:?}");
        assert!(!report.is_sound());
        database.restore("before").await;
        for table in super::TABLES {
            database.execute(&format!("DROP TABLE before_{table}")).await;
        }
    }
    assert!(check(&database, &place).await.is_sound());
    // An unreachable database is an error, not a report.
    let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
    database.execute("DROP TABLE publications").await;
    fsck(&*store, &place.ledger.id(), |_, _| ()).await.expect_err("it cannot be checked");
}

/// Entries forged by somebody who owns the database, with all tables to fit.
pub(crate) async fn forged_tail_is_named(database: Database) {
    let place = filled(&database).await;
    let last = entry(&database, &place, 302).await;
    let mut forged = entry(&database, &place, 301).await;
    forged.seq = 303;
    forged.prev = Some(last.leaf_hash());
    forged.time = last.time;
    let id = stream("tb", 0);
    let impostor = testbed::statements::key("ingest-a", evidence::Algorithm::Ed25519, "impostor");
    let prev = entry(&database, &place, 301).await.statement.hash();
    forged.statement = place.ledger.sign_summary(place.ledger.summary_of(&id, 1500, 1510, Some(prev)), &impostor);
    let (leaf, statement) = (database.blob(&forged.leaf_hash().0), database.blob(&forged.statement.hash().0));
    database
        .execute(&format!(
            "INSERT INTO entries (ledger, seq, leaf, statement, kind, stream, first_offset, next_offset, entry)
             SELECT ledger, 303, {leaf}, {statement}, 'summary', number, 1500, 1510, {} FROM streams WHERE topic = 'tb';
             UPDATE streams SET next_offset = 1510, statement = {statement}, seq = 303 WHERE topic = 'tb';
             UPDATE ledgers SET next_seq = 304, head = {leaf}",
            database.blob(&forged.to_bytes())
        ))
        .await;
    assert_first_invalid(&check(&database, &place).await, 303, &["ingest-a", "unknown-key"]);
}
