//! Connections that are cut: to the database at every message of what is written there, to the broker at what is published.

use std::time::{Duration, Instant};

use testbed::{Cut, Fate, Kafka, LostProduce, Of, Postgres, PostgresProxy, Side, until};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cut-connections",
        fault: "the connection is cut at each message of an append, before the server gets it, and before the answer arrives",
        expected: "what became of it is found out by asking: one entry each time",
        quick: false,
        play: |run| cut(run, 1),
    },
    Scenario {
        name: "cut-connections-some",
        fault: "the same at every fifth message",
        expected: "one entry each time",
        quick: true,
        play: |run| cut(run, 5),
    },
    Scenario {
        name: "cut-statements",
        fault: "the same at each message of the statements that keep a checkpoint, and how far was published",
        expected: "the checkpoint is kept, what was published is told again at most",
        quick: true,
        play: cut_statements,
    },
    Scenario {
        name: "lost-commitments",
        fault: "a request to publish does not reach the broker, or its answer is lost; the committer goes on, or is killed then",
        expected: "the topic has every entry in order; again are only those that a killed committer had published",
        quick: true,
        play: lose_commitments,
    },
];

const KEPT_WITHIN: Duration = Duration::from_secs(60);

/// Far more messages than an append has.
const MESSAGES_MAX: usize = 500;

fn start(run: &Run, database: &str, proxy: &PostgresProxy) -> Site<'static> {
    let mut site = Site::start(run, Plan { database: proxy.through(database), partitions: 1, ..Plan::default() });
    site.produce(1);
    site.until_sealed();
    site
}

/// Cuts at one message of either side after the other, until there are no more; `pass` produces what comes by it. Returns
/// how many there are.
fn cut_each(
    (run, site, proxy): (&mut Run, &mut Site<'static>, &PostgresProxy),
    (of, every): (Of, usize),
    pass: impl Fn(&mut Run, &mut Site<'static>),
) -> [usize; 2] {
    [Side::Client, Side::Server].map(|from| {
        let end = (0..MESSAGES_MAX).step_by(every).find(|&message| {
            proxy.arm(Cut { of, from, message });
            pass(run, site);
            let is_longer_than_all = proxy.disarm();
            if !is_longer_than_all {
                run.fault(&format!("{of:?} cut at message {message} from the {from:?}"));
            }
            is_longer_than_all
        });
        end.expect("it has an end")
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
            until("all is signed and published", KEPT_WITHIN, || {
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
            run.fault(&format!("a message of the {from:?} on what is published: {fate:?}"));
            proxy.arm(LostProduce { client: site.ledger.name.clone(), from, fate });
            site.produce(1);
            until("something is to be published", KEPT_WITHIN, || !proxy.is_armed());
            if fate == Fate::Held {
                let size = site.ledger.size().expect("the committer runs");
                site.ledger.committer.kill9();
                let there = site.published();
                assert!(from == Side::Server || there < size, "what was not to arrive is there");
                site.ledger.committer.start_again();
            }
            site.recover(run, Instant::now());
            let before = std::mem::replace(&mut repeated, site.repeated_commitments(&site.evidence(&[])));
            match (from, fate) {
                (Side::Server, Fate::Held) => assert!(repeated > before, "what was there is not published again"),
                // How far was published before may not have been kept.
                (Side::Client, Fate::Held) => {}
                _ => assert_eq!(repeated, before, "published again without need"),
            }
        }
    }
    site.prove(run);
}
