//! Services that are killed or frozen while events are produced.

use std::time::{Duration, Instant};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site, hold};
use testbed::ledger::{Ledger, Service};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill-ingest",
        fault: "kill -9 of the ingest-consumer, three times, while events are produced",
        expected: "each offset is covered once",
        quick: true,
        play: |run| kill(run, |ledger| &ledger.ingest),
    },
    Scenario {
        name: "kill-committer",
        fault: "kill -9 of the committer, three times, while events are produced",
        expected: "acknowledged entries are there; a summary sent again becomes no second entry",
        quick: true,
        play: |run| kill(run, |ledger| &ledger.committer),
    },
    Scenario {
        name: "kill-anchor",
        fault: "kill -9 of the anchor, three times, while events are produced",
        expected: "no two anchors of one size differ; the history in Git is linear",
        quick: true,
        play: |run| kill(run, |ledger| &ledger.anchor),
    },
    Scenario {
        name: "freeze-committer",
        fault: "SIGSTOP of the committer for 3 s, then SIGCONT, while events are produced",
        expected: "ingest waits; nothing is covered twice",
        quick: true,
        play: |run| freeze(run, Duration::from_secs(3), |ledger| &ledger.committer),
    },
    Scenario {
        name: "freeze-committer-long",
        fault: "SIGSTOP of the committer for 45 s, longer than a request of ingest waits",
        expected: "a request without an answer is unknown, not failed: ingest sends the same text again and gets an answer",
        quick: false,
        play: |run| freeze(run, Duration::from_secs(45), |ledger| &ledger.committer),
    },
    Scenario {
        name: "freeze-anchor",
        fault: "SIGSTOP of the anchor for 3 s, then SIGCONT, while events are produced",
        expected: "sealing continues; anchors follow",
        quick: true,
        play: |run| freeze(run, Duration::from_secs(3), |ledger| &ledger.anchor),
    },
];

fn kill(run: &mut Run, victim: fn(&Ledger) -> &Service) {
    let mut site = Site::start(run, Plan::default());
    for _ in 0..3 {
        run.fault("killed");
        let ended = site.while_producing(|site| {
            site.until_progress();
            victim(&site.ledger).kill9();
            victim(&site.ledger).start_again();
            Instant::now()
        });
        site.recover(run, ended);
        victim(&site.ledger).until_ready();
    }
    site.prove(run);
}

fn freeze(run: &mut Run, length: Duration, victim: fn(&Ledger) -> &Service) {
    let mut site = Site::start(run, Plan::default());
    run.fault("frozen");
    let ended = site.while_producing(|site| {
        site.until_progress();
        victim(&site.ledger).sigstop();
        hold(length);
        victim(&site.ledger).sigcont();
        Instant::now()
    });
    site.recover(run, ended);
    site.prove(run);
}
