//! Database connections that are cut in the middle of an append, at every message of it.

use std::time::Instant;

use tests::{Cut, From, Postgres, PostgresProxy};

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
];

/// Far more messages than an append has.
const MESSAGES_MAX: usize = 500;

fn cut(run: &mut Run, every: usize) {
    let database = Postgres::shared().database();
    let proxy = PostgresProxy::in_front_of(&database);
    let mut site = Site::start(run, Plan { database: proxy.through(&database), partitions: 1, ..Plan::default() });
    site.produce(1);
    site.until_sealed();
    for from in [From::Client, From::Server] {
        let end = (0..MESSAGES_MAX).step_by(every).find(|&message| {
            proxy.arm(Cut { from, message });
            let ended = Instant::now();
            site.recover(run, ended);
            let is_longer_than_all = proxy.disarm();
            if !is_longer_than_all {
                run.fault(&format!("cut at message {message} from the {from:?}"));
            }
            is_longer_than_all
        });
        let end = end.expect("an append has an end");
        assert!(end >= 10, "appends with only {end} messages from the {from:?} were seen");
    }
    site.prove(run);
}
