//! The suite on PostgreSQL, and what only a database server can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Database;
use super::running::{Options, Place};
use super::safety::seal_up_to;
use super::store::Writer;
use committer::fsck;
use committer::store::{CALL_TIME_MAX, StoreErrorKind, open, open_existing};
use testbed::Postgres;
use testbed::statements::{TestLedger, stream};

fn new_database() -> Database {
    Database::postgres(Postgres::shared().database())
}

super::all::whole_suite!(new_database());

async fn assert_sound(database: &Database, place: &Place) {
    let (store, id) = (open_existing(&database.url, &place.ledger.id()).await.expect("opens"), place.ledger.id());
    let report = fsck(&*store, &id, |_, _| ()).await.expect("reads");
    assert!(report.is_sound(), "{report}");
}

/// Clients continue three streams through two committers while `disturb` runs again and again.
async fn seal_through(database: &Database, place: &Arc<Place>, mut disturb: impl FnMut()) {
    let first = Arc::new(place.start(database).await);
    let second = Arc::new(place.start_with(database, Options { signs: false, ..Options::default() }).await);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..6_u64 {
        let (running, place) = (Arc::clone(if client % 2 == 0 { &first } else { &second }), Arc::clone(place));
        clients.spawn(async move { seal_up_to(&running, &place, client as u32 % 3, 400, 3).await });
    }
    let done = AtomicBool::new(false);
    let wait = async {
        clients.join_all().await;
        done.store(true, Ordering::Relaxed);
    };
    let disturb = async {
        while !done.load(Ordering::Relaxed) {
            tokio::task::block_in_place(&mut disturb);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::join!(wait, disturb);
    first.until_ready().await;
    let size = first.signed().await.size;
    let entries = super::service::read_log(&first, &place.ledger).await;
    assert_eq!(entries.len() as u64, size);
    for partition in 0..3 {
        // `read_log` checked that the ranges join.
        assert!(first.cursor(&stream("t", partition).partition).await.next >= 400);
    }
    for running in [first, second] {
        Arc::into_inner(running).expect("all clients ended").stop().await;
    }
    assert_sound(database, place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_and_repeat_nothing() {
    let database = new_database();
    let (place, server) = (Arc::new(Place::new()), Postgres::shared());
    let mut left = 40;
    seal_through(&database, &place, || {
        if left > 0 {
            left -= 1;
            server.psql(
                &database.url,
                "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'streamseal-committer'",
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashed_server_loses_and_repeats_nothing() {
    let server = Postgres::start();
    let database = Database::postgres(server.database());
    let place = Arc::new(Place::new());
    let mut left = 3;
    seal_through(&database, &place, || {
        if left > 0 {
            left -= 1;
            server.kill9();
            server.start_again();
        }
    })
    .await;

    // The server is no longer durable.
    server.psql(&database.url, "ALTER SYSTEM SET fsync = off");
    server.restart();
    let error = place.spawn(&database, Options::default()).await.ended().await.expect_err("it may lose summaries");
    assert!(error.to_string().contains("fsync is off"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_server_is_waited_for() {
    let server = Postgres::start();
    let database = Database::postgres(server.database());
    let place = Place::new();
    server.stop();
    let running = place.spawn(&database, Options::default()).await;
    running.until_not_ready(&["database: ", "refused"]).await;
    assert_eq!(running.get("livez").await.0, 200);
    assert_eq!(running.get("v1/status").await.0, 503);
    server.start_again();
    running.until_ready().await;
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 2, None);
    running.append(&statements[..1]).await;
    // And again while it runs.
    server.stop();
    running.until_not_ready(&["database: "]).await;
    assert!(running.try_submit(&statements[1..]).await.is_err());
    server.start_again();
    running.until_ready_after(async || running.try_submit(&statements[1..]).await.is_ok()).await;
    running.stop().await;
    assert_sound(&database, &place).await;
}

/// The server's processes that serve committers of a database.
struct Backends(Vec<String>);

impl Backends {
    fn of(database: &Database) -> Self {
        let pids = Postgres::shared().psql(
            &database.url,
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'streamseal-committer'",
        );
        Self(pids.lines().map(str::to_owned).collect())
    }

    fn signal(&self, name: &str) {
        let kill = std::process::Command::new("kill").arg(name).args(&self.0).status();
        assert!(kill.expect("kill runs").success());
    }
}

/// As if the network dropped everything: connections stay open and nothing arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_given_up() {
    let database = new_database();
    let place = Place::new();
    let running = place.start(&database).await;
    running.until_ready().await;
    let backends = Backends::of(&database);
    backends.signal("-STOP");
    running.until_not_ready(&["database: "]).await;
    // New connections replace them.
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 1, None);
    running.until_ready_after(async || running.try_submit(&statements).await.is_ok()).await;
    backends.signal("-CONT");
    running.stop().await;
    assert_sound(&database, &place).await;
}

#[tokio::test]
async fn commit_without_an_answer_times_out() {
    let database = new_database();
    let ledger = TestLedger::new("silent");
    let store = open(&database.url, &ledger.id()).await.expect("opens");
    let append = Writer::new(&ledger).append(std::slice::from_ref(&ledger.genesis));
    let begun = store.begin(&[]).await.expect("begins");
    let backends = Backends::of(&database);
    backends.signal("-STOP");
    let commit = tokio::time::timeout(2 * CALL_TIME_MAX, begun.transaction.commit(&append));
    let error = commit.await.expect("it ends").expect_err("nobody answers");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    backends.signal("-CONT");
    assert_eq!(store.position().await.expect("reads"), None);
}

#[tokio::test]
async fn server_that_acknowledges_early_is_refused() {
    let database = new_database();
    let name = database.url.rsplit('/').next().expect("a name").to_owned();
    Postgres::shared().psql(&database.url, &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let place = Place::new();
    let error = place.spawn(&database, Options::default()).await.ended().await.expect_err("it may lose summaries");
    assert!(error.to_string().contains("synchronous_commit is off"), "{error}");
    Postgres::shared().psql(&database.url, &format!("ALTER DATABASE {name} SET synchronous_commit = on"));
    place.start(&database).await.stop().await;
}

#[tokio::test]
async fn frozen_committer_loses_the_lock() {
    let database = new_database();
    let ledger = TestLedger::new("frozen");
    let frozen = open(&database.url, &ledger.id()).await.expect("opens");
    let other = open(&database.url, &ledger.id()).await.expect("opens");
    let begun = frozen.begin(&[]).await.expect("begins");
    let append = Writer::new(&ledger).append(std::slice::from_ref(&ledger.genesis));
    other
        .begin(&[])
        .await
        .expect("gets the lock before it gives up")
        .transaction
        .commit(&append)
        .await
        .expect("commits");
    // It wakes up.
    begun.transaction.commit(&append).await.expect_err("its transaction is gone");
    assert_eq!(other.position().await.expect("reads"), Some(append.position));
}

#[tokio::test]
async fn errors_hide_the_password() {
    let ledger = TestLedger::new("address");
    for url in ["mysql://seal:secret@db/seal", "postgres://seal:secret@[/seal", "seal:secret"] {
        let error = open(url, &ledger.id()).await.err().expect("not an address");
        assert_eq!(error.kind, StoreErrorKind::Refused);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
