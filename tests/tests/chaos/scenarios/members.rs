//! Several ingest-consumers of one group, and several committers on one database.

use std::time::Instant;

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site};
use testbed::ledger::Service;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "freeze-ingest",
        fault: "SIGSTOP of one of two ingest-consumers past its session, SIGCONT after the other has taken over",
        expected: "the cursor refuses late statements of the frozen one; each offset is covered once",
        quick: true,
        play: freeze_past_the_session,
    },
    Scenario {
        name: "rebalances",
        fault: "three ingest-consumers and two committers, killed, stopped and started in turn while events are produced",
        expected: "one committer wins each compare-and-set; coverage is exact over every rebalance",
        quick: false,
        play: |run| rebalances(run, 3),
    },
    Scenario {
        name: "rebalances-once",
        fault: "as rebalances, for one round",
        expected: "coverage is exact over every rebalance",
        quick: true,
        play: |run| rebalances(run, 1),
    },
];

fn freeze_past_the_session(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 4, ..Plan::default() });
    let other = site.ledger.another_ingest("ingest-b", &site.ledger.committer);
    run.fault("one of two ingest-consumers is frozen");
    let ended = site.while_producing(|site| {
        // Both have partitions.
        site.until_all_progress();
        site.ledger.ingest.sigstop();
        // The other one seals the partitions of the frozen one.
        site.until_all_progress();
        site.ledger.ingest.sigcont();
        Instant::now()
    });
    site.recover(run, ended);
    site.ledger.ingest.until_ready();
    site.prove(run);
    assert!(other.stop().success());
}

fn rebalances(run: &mut Run, rounds: u32) {
    let mut site = Site::start(run, Plan { partitions: 6, ..Plan::default() });
    let committer = site.ledger.another_committer();
    let b = site.ledger.another_ingest("ingest-b", &committer);
    let c = site.ledger.another_ingest("ingest-c", &committer);
    for round in 0..rounds {
        run.fault(&format!("round {round}: one ingest-consumer is killed, another stopped; both return"));
        let ended = site.while_producing(|site| {
            site.until_all_progress();
            b.kill9();
            assert!(c.stop().success());
            // The remaining one seals everything.
            site.until_all_progress();
            b.start_again();
            c.start_again();
            Instant::now()
        });
        site.recover(run, ended);
        [&b, &c].into_iter().for_each(Service::until_ready);
        run.fault("both committers are killed, one after the other");
        let ended = site.while_producing(|site| {
            for committer in [&site.ledger.committer, &committer] {
                site.until_all_progress();
                committer.kill9();
                committer.start_again();
            }
            Instant::now()
        });
        site.recover(run, ended);
        [&site.ledger.committer, &committer].into_iter().for_each(Service::until_ready);
    }
    site.prove(run);
    [&b, &c, &committer].into_iter().for_each(|service| assert!(service.stop().success()));
}
