//! A database that dies, freezes, goes back in time, or is edited by somebody else.

use std::time::{Duration, Instant};

use testbed::{Postgres, PostgresProxy, until};

use crate::run::{Run, Scenario};
use crate::site::{Plan, SOON, Site, hold};
use testbed::ledger::Service;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill-database",
        fault: "kill -9 of all of PostgreSQL, three times, while events are produced",
        expected: "acknowledged entries are there; sealing resumes by itself",
        quick: true,
        play: kill,
    },
    Scenario {
        name: "freeze-database",
        fault: "SIGSTOP of all of PostgreSQL for 5 s, then SIGCONT, while events are produced",
        expected: "ingest waits; sealing resumes by itself",
        quick: true,
        play: |run| freeze(run, Duration::from_secs(5)),
    },
    Scenario {
        name: "freeze-database-long",
        fault: "SIGSTOP of all of PostgreSQL for 40 s, longer than the committer waits for any answer",
        expected: "the committer reports it; it asks for the result of a commit without an answer",
        quick: false,
        play: |run| freeze(run, Duration::from_secs(40)),
    },
    Scenario {
        name: "old-backup",
        fault: "the database is restored from a backup without the newest entries",
        expected: "the signer refuses it and nothing is sealed; with the full database, sealing resumes",
        quick: true,
        play: old_backup,
    },
    Scenario {
        name: "stale-standby",
        fault: "while everything runs, a standby without the newest entries takes over",
        expected: "the signer refuses it, even after a reconnect and a restart, and nothing is sealed there",
        quick: true,
        play: stale_standby,
    },
    Scenario {
        name: "stale-standby-of-two",
        fault: "as stale-standby, with a second committer that does not sign and did not append the missing entries",
        expected: "it refuses the standby too, because it saw those entries",
        quick: true,
        play: stale_standby_of_two,
    },
    Scenario {
        name: "edited-rows",
        fault: "rows of the chain are edited, removed and added",
        expected: "fsck names the entry; a committer that starts on it does not sign",
        quick: true,
        play: edited_rows,
    },
];

fn plan(postgres: &Postgres) -> Plan<'static> {
    Plan { database: postgres.database(), ..Plan::default() }
}

fn kill(run: &mut Run) {
    let postgres = Postgres::start();
    let mut site = Site::start(run, plan(&postgres));
    for _ in 0..3 {
        run.fault("killed");
        let ended = site.while_producing(|site| {
            site.until_progress();
            postgres.kill9();
            postgres.start_again();
            Instant::now()
        });
        site.recover(run, ended);
    }
    site.prove(run);
}

fn freeze(run: &mut Run, length: Duration) {
    let postgres = Postgres::start();
    let mut site = Site::start(run, plan(&postgres));
    run.fault("frozen");
    let ended = site.while_producing(|site| {
        site.until_progress();
        postgres.sigstop();
        hold(length);
        postgres.sigcont();
        Instant::now()
    });
    site.recover(run, ended);
    site.prove(run);
}

fn old_backup(run: &mut Run) {
    let postgres = Postgres::start();
    let database = postgres.database();
    let mut site = Site::start(run, Plan { database: database.clone(), ..Plan::default() });
    site.produce(100);
    site.until_anchored();
    let backup = run.folder.join("backup");
    postgres.back_up(&backup);
    site.produce(100);
    site.until_anchored();

    run.fault("the backup is restored");
    postgres.stop();
    let full = run.folder.join("full");
    std::fs::rename(postgres.data(), &full).unwrap();
    postgres.restore(&backup);
    postgres.start_again();
    let before = size(&postgres, &database);
    site.produce(100);
    site.ledger.committer.until_not_ready("went back");
    site.ledger.committer.restart();
    site.ledger.committer.until_not_ready("behind what was signed");
    site.ledger.ingest.until_not_ready("went back");
    assert_eq!(size(&postgres, &database), before, "something was appended to the backup");

    postgres.stop();
    postgres.restore(&full);
    postgres.start_again();
    site.recover(run, Instant::now());
    site.ledger.services().into_iter().for_each(Service::until_ready);
    site.prove(run);
}

fn stale_standby(run: &mut Run) {
    let primary = Postgres::start();
    let database = primary.database();
    let proxy = PostgresProxy::in_front_of(&database);
    let mut site = Site::start(run, Plan { database: proxy.through(&database), ..plan(&primary) });
    site.produce(100);
    site.until_anchored();
    let (standby, stale) = cut_off_standby(&primary, &database);
    // Only one partition moves on. For the other one, the standby seems current.
    let producer = site.producer(&[]);
    site.send(&producer, 0, 100);
    site.account.add(producer.acknowledged());
    site.until_anchored();
    let before = size(&standby, &stale);

    run.fault("the standby takes over");
    standby.promote();
    proxy.fail_over_to(&stale);
    site.produce(100);
    site.ledger.committer.until_not_ready("went back");
    proxy.cut_all();
    site.ledger.committer.until_not_ready("went back");
    site.ledger.committer.restart();
    site.ledger.committer.until_not_ready("behind what was signed");
    assert_eq!(size(&standby, &stale), before, "something was appended to the stale database");

    proxy.fail_over_to(&database);
    site.recover(run, Instant::now());
    site.ledger.services().into_iter().for_each(Service::until_ready);
    site.prove(run);
}

/// A standby with the present entries, which receives no more, and its URL of the database.
fn cut_off_standby(primary: &Postgres, database: &str) -> (Postgres, String) {
    let standby = primary.standby();
    let stale = standby.address_of(database);
    until("the standby has all entries", SOON, || size(&standby, &stale) == size(primary, database));
    standby.cut_off();
    (standby, stale)
}

fn stale_standby_of_two(run: &mut Run) {
    let primary = Postgres::start();
    let database = primary.database();
    let proxy = PostgresProxy::in_front_of(&database);
    let mut site = Site::start(run, Plan { database: proxy.through(&database), ..plan(&primary) });
    let committer = site.ledger.another_committer();
    let ingest = site.ledger.another_ingest("ingest-b", &committer);
    site.produce(100);
    site.until_anchored();
    let (standby, stale) = cut_off_standby(&primary, &database);
    // From now on, the other committer appends.
    ingest.kill9();
    site.produce(100);
    site.until_anchored();
    let before = size(&standby, &stale);
    site.ledger.ingest.kill9();
    ingest.start_again();
    ingest.until_ready();

    run.fault("the standby takes over");
    standby.promote();
    proxy.fail_over_to(&stale);
    site.produce(100);
    site.ledger.committer.until_not_ready("went back");
    committer.until_not_ready("went back");
    ingest.until_not_ready("went back");
    assert_eq!(size(&standby, &stale), before, "something was appended to the stale database");
    proxy.fail_over_to(&database);
    site.ledger.ingest.start_again();
    site.recover(run, Instant::now());
    site.ledger.services().into_iter().for_each(Service::until_ready);
    [&ingest, &committer].into_iter().for_each(Service::until_ready);
    site.prove(run);
}

fn size(server: &Postgres, database: &str) -> String {
    server.psql(database, "SELECT next_seq FROM ledgers")
}

/// SQL that edits rows, SQL that undoes it, and the words that fsck must print.
const EDITS: [(&str, &str, &str, &str); 6] = [
    (
        "a bit of an entry",
        "UPDATE entries SET entry = set_bit(entry, 800, 1 - get_bit(entry, 800)) WHERE seq = 5",
        "UPDATE entries SET entry = set_bit(entry, 800, 1 - get_bit(entry, 800)) WHERE seq = 5",
        "entry 5: ",
    ),
    (
        "an entry's leaf hash",
        "UPDATE entries SET leaf = set_bit(leaf, 9, 1 - get_bit(leaf, 9)) WHERE seq = 4",
        "UPDATE entries SET leaf = set_bit(leaf, 9, 1 - get_bit(leaf, 9)) WHERE seq = 4",
        "entry 4: ",
    ),
    (
        "an entry is removed",
        "CREATE TABLE kept AS SELECT * FROM entries WHERE seq = 6; DELETE FROM entries WHERE seq = 6",
        "INSERT INTO entries SELECT * FROM kept; DROP TABLE kept",
        "entry 6: ",
    ),
    (
        "two entries change places",
        "UPDATE entries SET seq = -1 WHERE seq = 5; UPDATE entries SET seq = 5 WHERE seq = 6; \
         UPDATE entries SET seq = 6 WHERE seq = -1",
        "UPDATE entries SET seq = -1 WHERE seq = 5; UPDATE entries SET seq = 5 WHERE seq = 6; \
         UPDATE entries SET seq = 6 WHERE seq = -1",
        "entry 5: ",
    ),
    (
        "an entry is added",
        "INSERT INTO entries (ledger, seq, leaf, statement, kind, stream, first_offset, next_offset, entry) \
         SELECT ledger, 1000000, leaf, sha256(statement), kind, stream, next_offset, 1000000, entry \
         FROM entries WHERE seq = 5",
        "DELETE FROM entries WHERE seq = 1000000",
        "entry 1000000: ",
    ),
    (
        "a cursor is moved",
        "UPDATE streams SET next_offset = next_offset + 1000000 WHERE partition_number = 1",
        "UPDATE streams SET next_offset = next_offset - 1000000 WHERE partition_number = 1",
        "/1",
    ),
];

fn edited_rows(run: &mut Run) {
    let database = Postgres::shared().database();
    let mut site = Site::start(run, Plan { database: database.clone(), ..Plan::default() });
    site.produce(300);
    site.until_anchored();
    // Nothing is appended while rows are edited.
    site.ledger.ingest.kill9();
    site.ledger.committer.kill9();
    let sql = |sql: &str| Postgres::shared().psql(&database, sql);
    for (what, edit, undo, named) in EDITS {
        run.fault(what);
        sql(edit);
        let problems = site.ledger.try_fsck().expect_err(what);
        assert!(problems.contains(named), "{what}: {problems}");
        sql(undo);
        site.ledger.fsck();
    }
    run.fault("a committer starts on a chain with an edited entry");
    // The chain has entries to sign.
    sql("DELETE FROM checkpoints");
    sql(EDITS[0].1);
    site.ledger.committer.start_again();
    site.ledger.committer.until_not_ready("entry 5");
    assert_eq!(sql("SELECT count(*) FROM checkpoints"), "0", "nothing is signed over it");
    site.ledger.committer.kill9();
    sql(EDITS[0].2);
    site.ledger.committer.start_again();
    site.ledger.ingest.start_again();
    site.recover(run, Instant::now());
    site.prove(run);
}
