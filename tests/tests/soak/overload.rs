//! Overload: the line falls behind, shows it, keeps its memory bounded, and catches up afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testbed::until;

use crate::flat::{Bound, Bounds};
use crate::record::Phase;
use crate::run::{Plan, SetOnDrop, Stage, run};
use crate::throttle::throttle;

/// Ratio of the producers' rate to the sealing rate.
const TIMES: u64 = 10;

/// A rate that the line easily sustains, in events per second.
const CALM_EVENTS_S: u64 = 1_000;
const CALM: Duration = Duration::from_secs(2);
const CALM_WHOLE: Duration = Duration::from_secs(30);

/// The overload, in events per second.
const EVENTS_S: u64 = 20_000;

/// The phase in which bounded queues fill up. Only its peak counts.
pub(crate) const FILLING_PHASE: &str = "filling";

/// Time until they are full: first the waiting statements, then the events fetched ahead.
const FILLING: Duration = Duration::from_secs(110);

/// Fetch quota of the slow ingest-consumer, in bytes per second. It is less than a tenth of the load, with about 140
/// bytes per event. The broker gives less than its quota.
const SLOW_BYTES_S: u64 = EVENTS_S * 140 / (TIMES + 2);

/// Length in `./test`: enough to see the lag.
const OVERLOAD: Duration = Duration::from_secs(5);

/// Time until the metrics show the lag, which ingest looks up periodically.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

const BOUNDS: Bounds = Bounds {
    resident_mib: Bound { peak: 256.0, growth: 8.0 },
    descriptors: Bound { peak: 160.0, growth: 2.0 },
    threads: Bound { peak: 32.0, growth: 1.0 },
};

#[test]
fn a_slow_ingest_consumer_catches_up() {
    let plan = Plan {
        name: "slow-ingest",
        what: "producers ten times faster than what an ingest-consumer may fetch by the broker's quota",
        topics: 2,
        partitions: 4,
        batch_events: 4096,
        bounds: BOUNDS,
    };
    run(&plan, |stage| overload(stage, |ended| with_quota(stage, ended)));
}

#[test]
fn a_slow_committer_catches_up() {
    let plan = Plan {
        name: "slow-committer",
        what: "producers ten times faster than a committer that gets little of the processor, with small batches",
        topics: 2,
        partitions: 4,
        batch_events: 50,
        bounds: BOUNDS,
    };
    run(&plan, |stage| overload(stage, |ended| with_slow_committer(stage, ended)));
}

#[test]
fn a_line_without_committer_catches_up() {
    let plan = Plan {
        name: "committer-away",
        what: "the committer is killed and started again after the overload",
        topics: 2,
        partitions: 4,
        batch_events: 4096,
        bounds: BOUNDS,
    };
    run(&plan, |stage| overload(stage, |ended| without_committer(stage, ended)));
}

#[test]
fn many_partitions_catch_up() {
    // A thousand partitions; fewer in `./test`.
    let partitions = if std::env::var_os("SOAK_MINUTES").is_some() { 1_000 } else { 100 };
    let plan = Plan {
        name: "thousand-partitions",
        what: "a thousand partitions, and the committer is killed and started again after the overload",
        topics: 1,
        partitions,
        batch_events: 4096,
        bounds: Bounds {
            // While the committer is away, memory grows up to the shared fetch-ahead limit and the waiting statements:
            // at most 64 per partition, one per second.
            resident_mib: Bound { peak: 384.0, growth: 8.0 },
            // Connections to the committer come and go.
            descriptors: Bound { peak: 160.0, growth: 8.0 },
            ..BOUNDS
        },
    };
    run(&plan, |stage| overload(stage, |ended| without_committer(stage, ended)));
}

/// Runs `fault` until its flag is set, while producers overload the line.
fn overload(stage: &Stage, fault: impl FnOnce(&AtomicBool) + Send) -> (Option<Duration>, Vec<String>) {
    let calm = if stage.minutes.is_some() { CALM_WHOLE } else { CALM };
    stage.begin("calm", CALM_EVENTS_S);
    stage.hold(calm);
    let ended = AtomicBool::new(false);
    stage.begin(FILLING_PHASE, EVENTS_S);
    let phase = thread::scope(|scope| {
        let _ended = SetOnDrop(&[&ended]);
        scope.spawn(|| fault(&ended));
        if stage.minutes.is_some() {
            thread::sleep(FILLING);
        }
        stage.begin("overload", EVENTS_S);
        thread::sleep(stage.lasting(OVERLOAD));
        until("the lag is shown", SHOWN_WITHIN, || stage.record.in_phase(shows_lag));
        stage.record.in_phase(Phase::clone)
    });
    let recovery = stage.until_recovered(CALM_EVENTS_S);
    stage.begin("after", CALM_EVENTS_S);
    stage.hold(calm);
    let (acknowledged, sealed) = phase.progress();
    let mut problems = Vec::new();
    if stage.minutes.is_some() && acknowledged < TIMES * sealed {
        problems.push(format!("no overload: {acknowledged} events were produced in it and {sealed} sealed"));
    }
    (Some(recovery), problems)
}

/// Whether the shown lag is at least half of the real one.
fn shows_lag(phase: &Phase) -> bool {
    let behind = phase.most(|moment| moment.behind());
    behind >= EVENTS_S && phase.most(|moment| moment.lag_shown) >= behind / 2
}

fn with_quota(stage: &Stage, ended: &AtomicBool) {
    stage.line.limit_fetching(Some(SLOW_BYTES_S));
    until_ended(ended);
    stage.line.limit_fetching(None);
}

fn with_slow_committer(stage: &Stage, ended: &AtomicBool) {
    throttle(&stage.line.ledger.committer, ended, || {
        stage.record.in_phase(|phase| {
            let (acknowledged, sealed) = phase.progress();
            // A little slower than needed.
            acknowledged < (TIMES + 1) * sealed
        })
    });
}

fn without_committer(stage: &Stage, ended: &AtomicBool) {
    let committer = &stage.line.ledger.committer;
    committer.kill9();
    until_ended(ended);
    committer.start_again();
}

fn until_ended(ended: &AtomicBool) {
    while !ended.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
}
