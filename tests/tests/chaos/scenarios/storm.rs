//! Random faults, two at a time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::{Kafka, Postgres, PostgresProxy};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site, hold};
use testbed::ledger::Service;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "storm",
    fault: "two random faults at a time on three ingest-consumers, two committers, an anchor, broker, database, \
            its connections and the Git remote, twelve times (STREAMSEAL_CHAOS_SEED draws the same again)",
    expected: "nothing acknowledged is lost; all services reconnect",
    quick: false,
    play,
}];

const ROUNDS: u32 = 12;
const HOLD_MS_MAX: usize = 5_000;

/// The target of a fault.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Committer,
    OtherCommitter,
    IngestA,
    IngestB,
    IngestC,
    Anchor,
    Broker,
    Database,
    Connections,
    Remote,
}

const VICTIMS: [Victim; 10] = {
    use Victim::{Anchor, Broker, Committer, Connections, Database, IngestA, IngestB, IngestC, OtherCommitter, Remote};
    [Committer, OtherCommitter, IngestA, IngestB, IngestC, Anchor, Broker, Database, Connections, Remote]
};

/// The kind of fault. Connections are only cut, and the remote only goes away.
#[derive(Debug, Clone, Copy)]
enum How {
    Killed,
    Frozen,
}

/// The targets.
struct Fleet<'a> {
    site: &'a Site<'a>,
    committer: &'a Service,
    ingests: [&'a Service; 2],
    kafka: &'a Kafka,
    postgres: &'a Postgres,
    proxy: &'a PostgresProxy,
}

impl Fleet<'_> {
    fn service(&self, victim: Victim) -> Option<&Service> {
        Some(match victim {
            Victim::Committer => &self.site.ledger.committer,
            Victim::OtherCommitter => self.committer,
            Victim::IngestA => &self.site.ledger.ingest,
            Victim::IngestB => self.ingests[0],
            Victim::IngestC => self.ingests[1],
            Victim::Anchor => &self.site.ledger.anchor,
            Victim::Broker | Victim::Database | Victim::Connections | Victim::Remote => return None,
        })
    }

    fn begin(&self, victim: Victim, how: How) {
        match (self.service(victim), how) {
            (Some(service), How::Killed) => return service.kill9(),
            (Some(service), How::Frozen) => return service.sigstop(),
            (None, _) => {}
        }
        match (victim, how) {
            (Victim::Broker, How::Killed) => self.kafka.kill9(),
            (Victim::Broker, How::Frozen) => self.kafka.sigstop(),
            (Victim::Database, How::Killed) => self.postgres.kill9(),
            (Victim::Database, How::Frozen) => self.postgres.sigstop(),
            (Victim::Connections, _) => self.proxy.cut_all(),
            _ => self.site.git.set_fault(Some(503)),
        }
    }

    fn end(&self, victim: Victim, how: How) {
        match (self.service(victim), how) {
            (Some(service), How::Killed) => return service.start_again(),
            (Some(service), How::Frozen) => return service.sigcont(),
            (None, _) => {}
        }
        match (victim, how) {
            (Victim::Broker, How::Killed) => self.kafka.start_again(),
            (Victim::Broker, How::Frozen) => self.kafka.sigcont(),
            (Victim::Database, How::Killed) => self.postgres.start_again(),
            (Victim::Database, How::Frozen) => self.postgres.sigcont(),
            (Victim::Connections, _) => self.proxy.cut_all(),
            _ => self.site.git.set_fault(None),
        }
    }
}

fn play(run: &mut Run) {
    let (kafka, postgres) = (Kafka::start(), Postgres::start());
    let database = postgres.database();
    let proxy = PostgresProxy::in_front_of(&database);
    let plan = Plan { database: proxy.through(&database), partitions: 6, ..Plan::on(&kafka) };
    let mut site = Site::start(run, plan);
    let committer = site.ledger.another_committer();
    let b = site.ledger.another_ingest("ingest-b", &committer);
    let c = site.ledger.another_ingest("ingest-c", &site.ledger.committer);
    let mut dice = Dice::new();
    run.say(&format!("STREAMSEAL_CHAOS_SEED={}", dice.seed));
    for _ in 0..ROUNDS {
        let one = dice.throw(VICTIMS.len());
        let other = (one + 1 + dice.throw(VICTIMS.len() - 1)) % VICTIMS.len();
        let faults = [one, other].map(|victim| (VICTIMS[victim], [How::Killed, How::Frozen][dice.throw(2)]));
        let length = Duration::from_millis(dice.throw(HOLD_MS_MAX) as u64);
        run.fault(&format!("{faults:?} for {length:?}"));
        let ended = site.while_producing(|site| {
            let (committer, ingests) = (&committer, [&b, &c]);
            let fleet = Fleet { site, committer, ingests, kafka: &kafka, postgres: &postgres, proxy: &proxy };
            site.until_progress();
            faults.into_iter().for_each(|(victim, how)| fleet.begin(victim, how));
            hold(length);
            faults.into_iter().for_each(|(victim, how)| fleet.end(victim, how));
            Instant::now()
        });
        site.recover(run, ended);
    }
    let all = site.ledger.services().into_iter().chain([&committer, &b, &c]);
    all.for_each(Service::until_ready);
    site.prove(run);
}

/// Random numbers, the same for the same seed (splitmix64).
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn new() -> Self {
        let given = std::env::var("STREAMSEAL_CHAOS_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
        let drawn = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()));
        let seed = given.unwrap_or_else(drawn);
        Self { seed, state: seed }
    }

    /// A number below `sides`.
    fn throw(&mut self, sides: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }
}
