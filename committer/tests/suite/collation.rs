//! PostgreSQL after an upgrade of the operating system that changed the order of text.

use super::Database;
use super::running::Place;
use committer::store::open_existing;
use committer::{Report, fsck};
use evidence::SignedStatement;
use testbed::Postgres;
use testbed::statements::stream;

/// Their order by bytes differs from the order by language.
const TOPICS: [&str; 10] = ["taa", "taB", "tAa", "ta-a", "ta.a", "ta--a", "tA.a", "tB", "tb-1", "t_b"];

/// Changes the collations of the streams' names, but not the indexes. An upgrade does the same to the database's collation.
const DRIFT: &str = "SET allow_system_table_mods = on;
     CREATE TEMP TABLE other AS SELECT oid AS wanted FROM pg_collation WHERE collname = 'en-US-x-icu';
     CREATE TEMP TABLE of_streams AS
         SELECT indexrelid AS relation FROM pg_index WHERE indrelid = 'streams'::regclass UNION SELECT 'streams'::regclass;
     UPDATE pg_attribute SET attcollation = wanted FROM other, of_streams
         WHERE attrelid = relation AND attcollation <> 0;
     UPDATE pg_index SET indcollation = regexp_replace(indcollation::text, '950|100', wanted::text, 'g')::oidvector
         FROM other WHERE indrelid = 'streams'::regclass";

async fn check(database: &Database, place: &Place) -> Report {
    let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
    let report = fsck(&*store, &place.ledger.id(), |_, _| ()).await.expect("reads");
    store.close().await.expect("closes");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_compared_byte_by_byte() {
    let server = Postgres::shared();
    let database = Database::postgres(server.database());
    Place::new().start(&database).await.stop().await;
    let others = server.psql(
        &database.url,
        "SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'public'::regnamespace AND attcollation <> 0 AND attcollation <> 'pg_catalog.\"C\"'::regcollation
         AND relname NOT LIKE '%sqlx%' ORDER BY 1",
    );
    assert_eq!(others, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_index_is_found_and_rebuilt() {
    let server = Postgres::shared();
    let (database, place) = (Database::postgres(server.database()), Place::new());
    let summaries = TOPICS.map(|topic| place.ledger.summaries(&stream(topic, 0), 0, 10, 2, None));
    let batch = |n: usize| summaries.iter().map(|of| of[n].clone()).collect::<Vec<SignedStatement>>();
    let running = place.start(&database).await;
    running.append(&batch(0)).await;
    running.stop().await;
    let report = check(&database, &place).await;
    assert!(report.is_sound(), "{report}");

    server.psql(&database.url, DRIFT);
    let report = check(&database, &place).await.to_string();
    assert!(report.contains("is not found by its name") && report.contains("REINDEX"), "{report}");

    // Makes it a database from before the migration.
    server.psql(&database.url, "DELETE FROM _sqlx_migrations WHERE version = 3");
    let running = place.start(&database).await;
    running.append(&batch(1)).await;
    running.signed().await;
    running.until_ready().await;
    running.stop().await;
    let report = check(&database, &place).await;
    assert!(report.is_sound(), "{report}");
}
