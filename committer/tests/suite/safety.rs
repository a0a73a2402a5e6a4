//! A committer whose database was changed or rolled back, and several committers that share one.

use std::collections::HashSet;
use std::sync::Arc;

use committer::store::open_existing;
use committer_client::Error;
use evidence::statement::Role;
use evidence::{Entry, SignedCheckpoint, SignedStatement};

use super::Database;
use super::running::{Options, Place, Running, clock_off_by};
use super::service::read_log;
use testbed::statements::{TestLedger, stream, text};

/// Submits until the committer is unavailable, and returns why.
pub(crate) async fn unavailable(running: &Running, statement: &SignedStatement) -> String {
    match running.try_submit(std::slice::from_ref(statement)).await {
        Err(Error::Unavailable { message, retry_after, .. }) => {
            assert!(retry_after.is_some(), "it should say when to come back");
            message
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn old_copy_of_the_database_is_not_signed(database: Database) {
    let place = Place::new();
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 20, None);
    let running = place.start(&database).await;
    running.append(&statements[..5]).await;
    running.signed().await;
    running.stop().await;
    database.back_up("old").await;
    let running = place.start(&database).await;
    running.append(&statements[5..10]).await;
    let signed = running.signed().await;
    running.stop().await;
    database.back_up("new").await;
    database.restore("old").await;

    // Genesis, grant, 5 summaries and a heads entry; then 5 summaries and another.
    let running = place.start(&database).await;
    let reasons =
        running.until_not_ready(&["signing: the database is behind what was signed", "8 entries", "size 14"]).await;
    assert!(signed.size == 13 && reasons.contains("root"), "{reasons}");
    assert!(unavailable(&running, &statements[5]).await.contains("behind what was signed"));
    assert_eq!(running.client.status().await.expect("answered").size, 8);
    running.stop().await;

    // A committer without the log key extends the old copy to the signed size. It is still another chain.
    let keyless = place.start_with(&database, Options { signs: false, ..Options::default() }).await;
    let fork: Vec<_> = place.ledger.summaries(&stream("t", 1), 0, 10, 10, None);
    keyless.append(&fork).await;
    keyless.stop().await;
    let running = place.start(&database).await;
    let reasons = running.until_not_ready(&["signing: the database contradicts what was signed", "size 14"]).await;
    let signing = reasons.lines().find(|line| line.starts_with("signing: ")).expect("just seen");
    assert_eq!(signing.matches("root").count(), 2, "both heads should be named: {signing}");
    running.stop().await;

    database.restore("new").await;
    let running = place.start(&database).await;
    running.append(&statements[10..]).await;
    running.signed().await;
    read_log(&running, &place.ledger).await;
    running.until_ready().await;
    running.stop().await;
}

pub(crate) async fn rollback_while_running_stops_appending(database: Database) {
    for signs in [true, false] {
        let (place, name) = (Place::new(), if signs { "signing" } else { "keyless" });
        let running = place.start_with(&database, Options { signs, ..Options::default() }).await;
        let t = stream(&format!("t-{name}"), 0);
        let statements = place.ledger.summaries(&t, 0, 10, 20, None);
        running.append(&statements[..5]).await;
        database.back_up(&format!("{name}_old")).await;
        running.append(&statements[5..10]).await;
        if signs {
            running.signed().await;
        }
        database.back_up(&format!("{name}_new")).await;
        let size = running.client.status().await.expect("answered").size;
        database.restore(&format!("{name}_old")).await;

        let reason = unavailable(&running, &statements[5]).await;
        assert!(reason.contains("the database went back"), "{reason}");
        running.until_not_ready(&["went back"]).await;
        assert_eq!(running.client.status().await.expect("answered").size, size - 5, "nothing was appended");

        // The right database is back, and appending continues.
        database.restore(&format!("{name}_new")).await;
        running.until_ready_after(async || running.try_submit(&statements[10..11]).await.is_ok()).await;
        running.append(&statements[10..]).await;
        assert_eq!(running.cursor(&t.partition).await.next, 200);
        if signs {
            running.signed().await;
            read_log(&running, &place.ledger).await;
        }
        running.stop().await;
    }
}

pub(crate) async fn changed_entry_is_not_signed(database: Database) {
    let place = Place::new();
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 20, None);
    let running = place.start(&database).await;
    running.append(&statements[..10]).await;
    let entry = running.client.entry(5).await.expect("answered").expect("there");
    running.stop().await;
    let changed = entry.replace("bytes 1000", "bytes 1001");
    assert_ne!(changed, entry);
    database.execute(&format!("UPDATE entries SET entry = {} WHERE seq = 5", database.blob(changed.as_bytes()))).await;
    let before = {
        let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
        store.checkpoint().await.expect("reads").expect("signed")
    };

    let running = place.start(&database).await;
    running.until_not_ready(&["signing: the database does not hold a valid chain: entry 5", "bad-signature"]).await;
    assert!(unavailable(&running, &statements[10]).await.contains("entry 5"));
    assert_eq!(running.client.checkpoint().await.expect("answered"), Some(before.note));
    database.execute(&format!("UPDATE entries SET entry = {} WHERE seq = 5", database.blob(entry.as_bytes()))).await;
    running.until_ready_after(async || running.try_submit(&statements[10..11]).await.is_ok()).await;
    running.signed().await;
    read_log(&running, &place.ledger).await;
    running.stop().await;
}

/// All tables agree on a stream whose cursor is before the signed one. Only the heads statement from which the signer
/// resumes shows it. Nothing that continues the stream there is signed.
pub(crate) async fn rolled_back_stream_is_not_signed(database: Database) {
    let place = Place::new();
    let t = stream("t", 0);
    let statements = place.ledger.summaries(&t, 0, 10, 6, None);
    let running = place.start(&database).await;
    running.append(&statements).await;
    running.stop().await;
    let before = {
        let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
        store.checkpoint().await.expect("reads").expect("signed")
    };
    // Genesis, grant, 6 summaries and a heads entry.
    assert_eq!(before.head.size, 9);
    let hash = database.blob(&statements[2].hash().0);
    database
        .execute(&format!(
            "UPDATE entries SET stream = NULL, first_offset = NULL, next_offset = NULL WHERE seq IN (5, 6, 7);
             UPDATE streams SET next_offset = 30, statement = {hash}, seq = 4, last_summary = 4"
        ))
        .await;

    let running = place.start(&database).await;
    let again = place.ledger.summary(&t, 30, 40, Some(statements[2].hash()));
    // Whether it is accepted depends on who checks first.
    let _ = running.try_submit(&[again]).await;
    running.until_not_ready(&["signing: the database does not hold a valid chain: entry 5"]).await;
    assert_eq!(running.client.checkpoint().await.expect("answered"), Some(before.note));
    running.stop().await;
}

/// Without the log key, only the checkpoint shows that a database lost its newest entries.
pub(crate) async fn database_behind_its_checkpoint_stops_appending(database: Database) {
    let place = Place::new();
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 20, None);
    let running = place.start(&database).await;
    running.append(&statements[..5]).await;
    running.signed().await;
    running.stop().await;
    database.back_up("old").await;
    let running = place.start(&database).await;
    running.append(&statements[5..10]).await;
    running.signed().await;
    running.stop().await;
    // Everything except the checkpoint is old.
    database.execute("CREATE TABLE newest AS SELECT * FROM checkpoints").await;
    database.restore("old").await;
    database.execute("DELETE FROM checkpoints; INSERT INTO checkpoints SELECT * FROM newest").await;

    let keyless = || place.start_with(&database, Options { signs: false, ..Options::default() });
    let running = keyless().await;
    running.until_not_ready(&["appending: ", "8 entries, but its own checkpoint says size 14"]).await;
    assert!(unavailable(&running, &statements[5]).await.contains("its own checkpoint"));
    assert_eq!(running.client.status().await.expect("answered").size, 8);
    running.stop().await;

    // Long enough, but another chain.
    database.execute("DELETE FROM checkpoints").await;
    let running = keyless().await;
    running.append(&place.ledger.summaries(&stream("t", 1), 0, 10, 10, None)).await;
    running.stop().await;
    database.execute("INSERT INTO checkpoints SELECT * FROM newest").await;
    let running = keyless().await;
    let reasons = running.until_not_ready(&["appending: ", "its own checkpoint says size 14"]).await;
    assert_eq!(reasons.matches("root").count(), 2, "{reasons}");
    running.stop().await;
}

pub(crate) async fn changed_stream_row_admits_no_statement(database: Database) {
    let place = Place::new();
    let (t, u) = (stream("t", 0), stream("t", 1));
    let statements = place.ledger.summaries(&t, 0, 10, 10, None);
    let running = place.start(&database).await;
    running.append(&statements[..5]).await;
    running.append(&place.ledger.summaries(&u, 0, 10, 2, None)).await;
    running.signed().await;
    running.stop().await;
    database.back_up("good").await;
    let forged = place.ledger.summary(&t, 70, 80, Some(statements[4].hash()));
    let again = place.ledger.summary(&u, 0, 10, None);
    for (damage, statement, said) in [
        ("UPDATE streams SET next_offset = 70 WHERE partition_number = 0", &forged, "newest entry says 50"),
        ("DELETE FROM streams WHERE partition_number = 1", &again, "which states 2"),
    ] {
        database.execute(damage).await;
        for signs in [true, false] {
            let running = place.start_with(&database, Options { signs, ..Options::default() }).await;
            running.until_not_ready(&["appending: ", said]).await;
            assert!(unavailable(&running, statement).await.contains("table streams"));
            running.stop().await;
        }
        database.restore("good").await;
    }
    // Nothing was appended, and everything continues.
    let running = place.start(&database).await;
    running.append(&statements[5..]).await;
    running.signed().await;
    read_log(&running, &place.ledger).await;
    running.stop().await;
}

/// The same while committers run: one reads the rows that another moved.
pub(crate) async fn row_changed_after_another_committer_admits_no_statement(database: Database) {
    let place = Place::new();
    let t = stream("t", 0);
    let statements = place.ledger.summaries(&t, 0, 10, 6, None);
    let one = place.start(&database).await;
    let other = place.start_with(&database, Options { signs: false, ..Options::default() }).await;
    one.append(&statements[..2]).await;
    other.append(&statements[2..4]).await;
    one.append(&statements[4..5]).await;
    let forged = place.ledger.summary(&t, 70, 80, Some(statements[4].hash()));
    database.execute("UPDATE streams SET next_offset = 70").await;
    assert!(unavailable(&other, &forged).await.contains("newest entry says 50"));
    database.execute("UPDATE streams SET next_offset = 50").await;
    other.until_ready_after(async || other.try_submit(&statements[5..]).await.is_ok()).await;

    // For a stream that it has never seen, the row is the only source.
    let new = stream("t", 1);
    one.append(&place.ledger.summaries(&new, 0, 10, 1, None)).await;
    database.execute("CREATE TABLE kept AS SELECT * FROM streams WHERE partition_number = 1").await;
    database.execute("DELETE FROM streams WHERE partition_number = 1").await;
    let again = place.ledger.summary(&new, 0, 5, None);
    assert!(unavailable(&other, &again).await.contains("table streams"));
    database.execute("INSERT INTO streams SELECT * FROM kept").await;
    let next = place.ledger.summary(&new, 10, 20, Some(place.ledger.summary(&new, 0, 10, None).hash()));
    other.until_ready_after(async || other.try_submit(std::slice::from_ref(&next)).await.is_ok()).await;
    one.signed().await;
    read_log(&one, &place.ledger).await;
    one.stop().await;
    other.stop().await;
}

pub(crate) async fn revoked_log_key_stops_signing(database: Database) {
    let place = Place::new();
    let ledger = &place.ledger;
    let running = place.start(&database).await;
    let t = stream("t", 0);
    running.append(&[ledger.summary(&t, 0, 10, None)]).await;
    let signed = running.signed().await;
    running.append(&[ledger.revoke(ledger.grants[0].hash(), Role::Log, &ledger.log)]).await;
    let vkey = ledger.log.verifier_key().to_string();
    running.until_not_ready(&["signing: the log key", &vkey, "was revoked in entry 3", "in force: none"]).await;
    // Sealing continues: a new ledger that succeeds this one needs all of it.
    running.append(&ledger.summaries(&stream("t", 1), 0, 10, 2, None)).await;
    assert_eq!(running.client.status().await.expect("answered").checkpoint_size, signed.size);
    running.stop().await;
}

pub(crate) async fn granted_log_key_takes_over(database: Database) {
    let place = Place::new();
    let (ledger, second) = (&place.ledger, place.ledger.second_log());
    let statements = ledger.summaries(&stream("t", 0), 0, 10, 6, None);
    let running = place.start(&database).await;
    running.append(&statements[..2]).await;
    running.signed().await;
    running.stop().await;

    // It signs nothing before it is granted, but the grant can be submitted through this very committer.
    place.replace_log_key(&second);
    let running = place.start(&database).await;
    let vkey = second.verifier_key().to_string();
    running.until_not_ready(&["signing: the log key", &vkey, "is not granted", "key --config FILE grant"]).await;
    let grant = ledger.grant(ledger.grants[0].hash(), Role::Log, &second);
    running.append(std::slice::from_ref(&grant)).await;
    running.until_ready_after(async || running.try_submit(&statements[2..4]).await.is_ok()).await;
    running.signed().await;
    let checkpoint = async || {
        let note = running.client.checkpoint().await.expect("answered").expect("signed");
        SignedCheckpoint::parse(&note).expect("a checkpoint")
    };
    checkpoint().await.verify(second.verifier_key()).expect("signed by the second key");

    running.append(&[ledger.revoke(grant.hash(), Role::Log, &ledger.log)]).await;
    running.append(&statements[4..]).await;
    running.signed().await;
    checkpoint().await.verify(second.verifier_key()).expect("signed by the second key");
    running.until_ready().await;
    running.stop().await;
    assert_sound(&database, ledger).await;
}

/// The stored checkpoint is by a key that the operator distrusts. Nobody changed it, but it does not count.
pub(crate) async fn log_key_takes_over_from_a_distrusted_one(database: Database) {
    let place = Place::new();
    let (ledger, second) = (&place.ledger, place.ledger.second_log());
    let running = place.start(&database).await;
    let grant = ledger.grant(ledger.grants[0].hash(), Role::Log, &second);
    running.append(std::slice::from_ref(&grant)).await;
    running.signed().await;
    running.append(&[ledger.distrust(grant.hash(), Role::Log, &ledger.log)]).await;
    running.until_not_ready(&["signing: the log key", "was revoked in entry 3"]).await;
    running.stop().await;

    // Until the next one signs, there is no checkpoint.
    let options = Options { signs: false, ..Options::default() };
    let running = place.start_with(&database, options).await;
    assert_eq!(running.client.checkpoint().await.expect("answered"), None);
    running.until_ready().await;
    running.stop().await;

    place.replace_log_key(&second);
    let running = place.start(&database).await;
    running.signed().await;
    running.until_ready().await;
    let note = running.client.checkpoint().await.expect("answered").expect("signed");
    let checkpoint = SignedCheckpoint::parse(&note).expect("a checkpoint");
    checkpoint.verify(second.verifier_key()).expect("signed by the second key");
    running.stop().await;
    assert_sound(&database, ledger).await;
}

async fn assert_sound(database: &Database, ledger: &TestLedger) {
    let store = open_existing(&database.url, &ledger.id()).await.expect("opens");
    let report = committer::fsck(&*store, &ledger.id(), |_, _| {}).await.expect("checked");
    assert!(report.is_sound(), "{report}");
}

pub(crate) async fn log_key_without_high_water_file_signs_nothing(database: Database) {
    let place = Place::new();
    let (ledger, second) = (&place.ledger, place.ledger.second_log());
    let running = place.start(&database).await;
    let grant = ledger.grant(ledger.grants[0].hash(), Role::Log, &second);
    running.append(&[grant]).await;
    let signed = running.signed().await;
    running.stop().await;
    let (file, elsewhere) = (place.high_water(), place.keys().join("elsewhere"));
    std::fs::rename(&file, &elsewhere).expect("moved");
    let refused = async || {
        let error = place.spawn(&database, Options::default()).await.ended().await.expect_err("it must end");
        let error = format!("{error:#}");
        assert!(
            error.contains("log.key.high-water is not there") && error.contains("committer --config FILE adopt"),
            "{error}"
        );
        assert!(!file.exists(), "nothing was signed");
        error
    };
    let checkpoint = format!("checkpoint of size {}", signed.checkpoint_size);
    assert!(refused().await.contains(&checkpoint));
    place.replace_log_key(&second);
    assert!(refused().await.contains(&checkpoint));
    database.back_up("good").await;
    database.execute("DELETE FROM checkpoints").await;
    assert!(refused().await.contains("not the log key that the ledger began with"));
    database.restore("good").await;

    // With the former key's high-water file, it signs.
    std::fs::rename(&elsewhere, &file).expect("moved");
    let running = place.start(&database).await;
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 2, None)).await;
    running.signed().await;
    running.stop().await;

    // It also signs after `adopt`, which needs a sound database.
    let beginning = committer::Ledger::new(ledger.genesis.clone(), ledger.grants.clone()).expect("a valid beginning");
    let config = place.config(&database);
    let adopt = || committer::adopt(&config, &beginning, |_, _| {});
    let error = adopt().await.expect_err("the file is there").to_string();
    assert!(error.contains("nothing to adopt"), "{error}");
    std::fs::remove_file(&file).expect("was there");
    refused().await;
    let size = {
        let store = open_existing(&database.url, &ledger.id()).await.expect("opens");
        store.position().await.expect("reads").expect("there").next_seq
    };
    database.back_up("sound").await;
    database.execute("DELETE FROM streams").await;
    let error = adopt().await.expect_err("not sound").to_string();
    assert!(error.contains("not sound") && !file.exists(), "{error}");
    database.restore("sound").await;
    assert_eq!(adopt().await.expect("adopted").size, size);
    let running = place.start(&database).await;
    running.append(&place.ledger.summaries(&stream("t", 1), 0, 10, 2, None)).await;
    running.signed().await;
    running.stop().await;
    assert_sound(&database, ledger).await;
}

/// The high-water file is written before the checkpoint.
pub(crate) async fn nothing_is_signed_without_a_writable_high_water_file(database: Database) {
    let place = Place::new();
    // The file that is written and then renamed cannot be created.
    let obstacle = place.keys().join("log.key.high-water.tmp");
    std::fs::create_dir(&obstacle).expect("made");
    let error = place.spawn(&database, Options::default()).await.ended().await.expect_err("it must end");
    assert!(error.to_string().contains("log.key.high-water"), "{error}");
    {
        let store = open_existing(&database.url, &place.ledger.id()).await.expect("opens");
        assert_eq!(store.checkpoint().await.expect("reads"), None);
    }
    std::fs::remove_dir(&obstacle).expect("was there");
    let running = place.start(&database).await;
    running.signed().await;
    running.stop().await;
}

pub(crate) async fn key_of_another_role_is_refused(database: Database) {
    let place = Place::new();
    place.replace_log_key(&place.ledger.operator);
    let error = place.spawn(&database, Options::default()).await.ended().await.expect_err("not a log key");
    assert!(error.to_string().contains("can be no log key of this ledger"), "{error}");
    // A key of another ledger with the same name.
    place.replace_log_key(&TestLedger::new("another").log);
    let running = place.start(&database).await;
    let granted = place.ledger.log.verifier_key().to_string();
    running.until_not_ready(&["signing: the log key", "is not granted", &format!("in force: {granted}")]).await;
    assert_eq!(running.client.checkpoint().await.expect("answered"), None);
    running.stop().await;
}

pub(crate) async fn differing_clocks_stop_appending(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 2, None);
    running.append(&statements[..1]).await;
    running.stop().await;
    for off_by in [-6_000, 6_000] {
        let running = place.start_with(&database, Options { clock: clock_off_by(off_by), ..Options::default() }).await;
        // Even without a request.
        running.until_not_ready(&["appending: the clock here"]).await;
        assert!(unavailable(&running, &statements[1]).await.contains("clock"));
        running.stop().await;
    }
    let running = place.start_with(&database, Options { clock: clock_off_by(3_000), ..Options::default() }).await;
    running.append(&statements).await;
    running.stop().await;
}

/// Two committers, each with several clients that continue the same streams.
pub(crate) async fn two_committers_cover_every_offset_once(database: Database) {
    let place = Arc::new(Place::new());
    let first = Arc::new(place.start(&database).await);
    let second = Arc::new(place.start_with(&database, Options { signs: false, ..Options::default() }).await);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..6_u64 {
        let running = Arc::clone(if client % 2 == 0 { &first } else { &second });
        let place = Arc::clone(&place);
        clients.spawn(async move {
            for partition in 0..3 {
                seal_up_to(&running, &place, partition, 300, 1 + client).await;
            }
        });
    }
    clients.join_all().await;

    let size = first.signed().await.size;
    let entries = read_log(&first, &place.ledger).await;
    let statements: HashSet<_> = entries.iter().map(|entry| entry.statement.hash()).collect();
    assert_eq!(statements.len() as u64, size, "no statement twice");
    for partition in 0..3 {
        let id = stream("t", partition);
        let mut next = 0;
        for entry in &entries {
            if let Some(advance) = entry.statement.statement().advance().filter(|advance| *advance.stream == id) {
                assert_eq!(advance.first, next, "entry {}", entry.seq);
                next = advance.next;
            }
        }
        assert!(next >= 300);
        assert_eq!(second.cursor(&id.partition).await.next, next);
    }
    for running in [first, second] {
        Arc::into_inner(running).expect("all clients ended").stop().await;
    }
}

/// Continues a stream from its cursor to `end`, in batches of `width`.
pub(crate) async fn seal_up_to(running: &Running, place: &Place, partition: u32, end: u64, width: u64) {
    let id = stream("t", partition);
    let mut cursor = running.cursor(&id.partition).await;
    while cursor.next < end {
        let prev = cursor.statement.map(|note| SignedStatement::parse(note.as_bytes()).expect("a statement").hash());
        let statements = place.ledger.summaries(&id, cursor.next, width, 3, prev);
        let answer = loop {
            // Submits again while the outcome is unknown, as ingest does.
            match running.client.submit(statements.iter().map(text).collect()).await {
                Ok(answer) => break answer,
                Err(Error::Unavailable { .. }) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        };
        for (statement, accepted) in statements.iter().zip(&answer.accepted) {
            let entry = Entry::parse(accepted.entry.as_bytes()).expect("an entry");
            assert_eq!((entry.seq, &entry.statement), (accepted.seq, statement));
        }
        if let Some(refused) = &answer.refused {
            assert!(["wrong-cursor", "wrong-prev"].contains(&refused.code.as_str()), "{refused:?}");
        }
        cursor = answer.cursor.expect("of the stream");
    }
}
