//! Everything fails at once, as in a power cut.

use std::time::Instant;

use testbed::{Kafka, Postgres};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site};
use testbed::ledger::Service;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "kill-everything",
    fault: "kill -9 of services, database and broker at the same time, twice; all start at the same time",
    expected: "nothing acknowledged is lost; all services reconnect",
    quick: true,
    play,
}];

fn play(run: &mut Run) {
    let (kafka, postgres) = (Kafka::start(), Postgres::start());
    let plan = Plan { database: postgres.database(), ..Plan::on(&kafka) };
    let mut site = Site::start(run, plan);
    for _ in 0..2 {
        run.fault("everything is killed");
        let ended = site.while_producing(|site| {
            site.until_progress();
            site.ledger.services().into_iter().for_each(|service| service.kill9());
            postgres.kill9();
            kafka.kill9();
            // The services start before the servers that they need.
            site.ledger.services().into_iter().for_each(|service| service.start_again());
            postgres.start_again();
            kafka.start_again();
            Instant::now()
        });
        site.recover(run, ended);
        site.ledger.services().into_iter().for_each(Service::until_ready);
    }
    site.prove(run);
}
