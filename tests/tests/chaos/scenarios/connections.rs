//! Cut connections: to the database at every message of a write, and to the broker while commitments are published.

use std::time::{Duration, Instant};

use testbed::{Cut, Fate, Kafka, LostProduce, Of, Postgres, PostgresProxy, Side, until};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cut-connections",
        fault: "the connection is cut at each message of an append, before the server sees it or before the answer arrives",
        expected: "the submitter asks for the result: one entry each time",
        quick: false,
        play: |run| cut(run, 1),
    },
    Scenario {
        name: "cut-connections-some",
        fault: "as cut-connections, at every fifth message",
        expected: "one entry each time",
        quick: true,
        play: |run| cut(run, 5),
    },
    Scenario {
        name: "cut-statements",
        fault: "as cut-connections, at each message of the SQL that stores checkpoints and the publisher's progress",
        expected: "the checkpoint is stored; at most, commitments repeat",
        quick: true,
        play: cut_statements,
    },
    Scenario {
        name: "lost-commitments",
        fault: "a Produce request or its answer is lost; then the committer continues, or is killed",
        expected: "the topic has every entry in order; only entries that a killed committer published may repeat",
        quick: true,
        play: lose_commitments,
    },
];

const KEPT_WITHIN: Duration = Duration::from_secs(60);

/// More messages than any append has.
const MESSAGES_MAX: usize = 500;

fn start(run: &Run, database: &str, proxy: &PostgresProxy) -> Site<'static> {
    let mut site = Site::start(run, Plan { database: proxy.through(database), partitions: 1, ..Plan::default() });
    site.produce(1);
    site.until_sealed();
    site
}

/// Cuts at every message of each side, one after the other; `pass` causes the messages. Returns their numbers.
fn cut_each(
    (run, site, proxy): (&mut Run, &mut Site<'static>, &PostgresProxy),
    (of, every): (Of, usize),
    pass: impl Fn(&mut Run, &mut Site<'static>),
) -> [usize; 2] {
    [Side::Client, Side::Server].map(|from| {
        let end = (0..MESSAGES_MAX).step_by(every).find(|&message| {
            proxy.arm(Cut { of, from, message });
            pass(run, site);
            let is_beyond_the_last = proxy.disarm();
            if !is_beyond_the_last {
                run.fault(&format!("{of:?} cut at message {message} from the {from:?}"));
            }
            is_beyond_the_last
        });
        end.expect("an append has fewer messages")
    })
}

fn cut(run: &mut Run, every: usize) {
    let database = Postgres::shared().database();
    let proxy = PostgresProxy::in_front_of(&database);
    let mut site = start(run, &database, &proxy);
    let ends = cut_each((&mut *run, &mut site, &proxy), (Of::Transaction, every), |run, site| {
        site.recover(run, Instant::now());
    });
    assert!(ends.iter().all(|end| *end >= 10), "appends with only {ends:?} messages were seen");
    site.prove(run);
}

fn cut_statements(run: &mut Run) {
    let database = Postgres::shared().database();
    let proxy = PostgresProxy::in_front_of(&database);
    let mut site = start(run, &database, &proxy);
    let number = |sql: &str| Postgres::shared().psql(&database, sql).parse::<u64>().unwrap_or(0);
    for begins in ["INSERT INTO checkpoints", "INSERT INTO publications"] {
        let ends = cut_each((&mut *run, &mut site, &proxy), (Of::Statement(begins), 1), |run, site| {
            site.recover(run, Instant::now());
            let size = number("SELECT next_seq FROM ledgers");
            until("all entries are signed and published", KEPT_WITHIN, || {
                number("SELECT least(checkpoints.size, publications.size) FROM checkpoints, publications") >= size
            });
        });
        assert!(ends.iter().all(|end| *end >= 2), "{begins}: with only {ends:?} messages");
    }
    site.prove(run);
}

fn lose_commitments(run: &mut Run) {
    let (kafka, proxy) = Kafka::start_behind_proxy();
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::on(&kafka) });
    site.produce(1);
    site.until_anchored();
    let mut repeated = site.repeated_commitments(&site.evidence(&[]));
    for from in [Side::Client, Side::Server] {
        for fate in [Fate::Cut, Fate::Held] {
            run.fault(&format!("a Produce message of the {from:?}: {fate:?}"));
            proxy.arm(LostProduce { client: site.ledger.name.clone(), from, fate });
            site.produce(1);
            until("the committer publishes", KEPT_WITHIN, || !proxy.is_armed());
            if fate == Fate::Held {
                let size = site.ledger.size().expect("the committer runs");
                site.ledger.committer.kill9();
                let there = site.published();
                assert!(from == Side::Server || there < size, "a request that was lost arrived");
                site.ledger.committer.start_again();
            }
            site.recover(run, Instant::now());
            let before = std::mem::replace(&mut repeated, site.repeated_commitments(&site.evidence(&[])));
            match (from, fate) {
                (Side::Server, Fate::Held) => {
                    assert!(repeated > before, "an entry without an answer is not published again")
                }
                // The earlier progress may not be stored.
                (Side::Client, Fate::Held) => {}
                _ => assert_eq!(repeated, before, "published again without need"),
            }
        }
    }
    site.prove(run);
}
