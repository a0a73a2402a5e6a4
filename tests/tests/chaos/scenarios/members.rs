//! Several ingest-consumers of one group, and several committers on one database.

use std::time::Instant;

use crate::common::ledger::Service;
use crate::run::{Run, Scenario};
use crate::site::{Plan, Site};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "freeze-ingest",
        fault: "SIGSTOP of one of two ingest-consumers past its session, SIGCONT after the other has taken over",
        expected: "the cursor refuses what the frozen one still submits; each offset is covered once",
        quick: true,
        play: freeze_past_the_session,
    },
    Scenario {
        name: "rebalances",
        fault: "three ingest-consumers and two committers, killed, ended and started in turn while events are produced",
        expected: "one committer wins each compare-and-set; coverage is exact over every rebalance",
        quick: false,
        play: rebalances,
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
        // What the frozen one had is sealed by the other.
        site.until_all_progress();
        site.ledger.ingest.sigcont();
        Instant::now()
    });
    site.recover(run, ended);
    site.ledger.ingest.until_ready();
    site.prove(run);
    assert!(other.stop().success());
}

fn rebalances(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 6, ..Plan::default() });
    let committer = site.ledger.another_committer();
    let b = site.ledger.another_ingest("ingest-b", &committer);
    let c = site.ledger.another_ingest("ingest-c", &committer);
    let all = |site: &Site<'_>| {
        site.ledger.assert_running();
        [&committer, &b, &c].into_iter().for_each(Service::until_ready);
    };
    for round in 0..3 {
        for victim in [&b, &c, &committer] {
            run.fault(&format!("round {round}: one is killed and started again, then all are asked to end and start"));
            let ended = site.while_producing(|site| {
                site.until_all_progress();
                victim.kill9();
                // The others go on with what it had.
                if !std::ptr::eq(victim, &raw const committer) {
                    site.until_all_progress();
                }
                victim.start_again();
                all(site);
                site.until_all_progress();
                victim.restart();
                Instant::now()
            });
            site.recover(run, ended);
            all(&site);
        }
        // The one that signs, in the middle of what the other appends.
        run.fault("the committer that signs is killed");
        let ended = site.while_producing(|site| {
            site.until_all_progress();
            site.ledger.committer.kill9();
            site.ledger.committer.start_again();
            Instant::now()
        });
        site.recover(run, ended);
        site.ledger.committer.until_ready();
    }
    site.prove(run);
    [&b, &c, &committer].into_iter().for_each(|service| assert!(service.stop().success()));
}
