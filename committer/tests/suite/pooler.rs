//! A committer whose PostgreSQL is behind a connection pooler.

use super::Database;
use super::running::{Options, Place};
use committer::store::{StoreErrorKind, open};
use testbed::statements::{TestLedger, stream};
use testbed::{Pgbouncer, Postgres};

/// Runs several clients at once, so that the pooler has several idle connections to the server afterwards.
fn warm_up(url: &str) {
    let clients = [(); 5].map(|()| {
        let url = url.to_owned();
        std::thread::spawn(move || Postgres::shared().psql(&url, "SELECT pg_sleep(0.2)"))
    });
    clients.into_iter().for_each(|client| drop(client.join().expect("it answers")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sharing_pooler_is_refused_at_the_start() {
    let server = Postgres::shared();
    for (settings, warm) in [
        ("pool_mode = transaction", false),
        ("pool_mode = transaction\ndefault_pool_size = 1", false),
        ("pool_mode = transaction", true),
        ("pool_mode = transaction\nserver_round_robin = 1", true),
        ("pool_mode = transaction\nserver_reset_query_always = 1", true),
        ("pool_mode = statement", true),
    ] {
        let pooler = Pgbouncer::start(server, settings);
        let own = server.database();
        let url = pooler.url(&own);
        if warm {
            warm_up(&url);
        }
        let error = open(&url, &TestLedger::new("pooler").id()).await.err().expect(settings);
        assert_eq!(error.kind, StoreErrorKind::Refused, "{settings}: {error}");
        for part in ["connections of its own", "session pooling", "server's own port"] {
            assert!(error.to_string().contains(part), "{settings}: {error}");
        }
        let place = Place::new();
        let error = place.spawn(&Database::postgres(url), Options::default()).await.ended().await;
        let error = format!("{:#}", error.expect_err("it must not run"));
        assert!(error.contains("session pooling"), "{settings}: {error}");
        let tables = server.psql(&own, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'");
        assert_eq!(tables, "0", "{settings}: nothing was begun");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_pooler_works() {
    let server = Postgres::shared();
    let pooler = Pgbouncer::start(server, "pool_mode = session");
    let (database, place) = (Database::postgres(pooler.url(&server.database())), Place::new());
    let running = place.start(&database).await;
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 20, None)).await;
    running.signed().await;
    running.until_ready().await;
    running.stop().await;
}
