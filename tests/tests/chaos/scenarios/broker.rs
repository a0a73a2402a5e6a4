//! A broker that is killed or frozen, and one that loses the end of its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testbed::{Kafka, ToProduce};

use crate::run::{Run, Scenario};
use crate::site::{Plan, Site, hold, stream};
use testbed::ledger::{INCOMPLETE, TAMPERED};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill-broker",
        fault: "kill -9 of the broker, three times, once away for 5 s, while events are produced",
        expected: "nothing is lost; sealing resumes by itself",
        quick: true,
        play: |run| kill(run, &[0, 5, 0]),
    },
    Scenario {
        name: "broker-away",
        fault: "the broker is killed and stays away for a minute, while events are produced",
        expected: "nothing is lost; sealing resumes by itself",
        quick: false,
        play: |run| kill(run, &[60]),
    },
    Scenario {
        name: "freeze-broker",
        fault: "SIGSTOP of the broker for 6 s, longer than a member's session, then SIGCONT",
        expected: "nothing is lost; sealing resumes by itself",
        quick: false,
        play: freeze,
    },
    Scenario {
        name: "truncated-log",
        fault: "the broker dies and returns without the end of its log, which then grows again",
        expected: "ingest halts and shows both sides until the operator's epoch; the old epoch is no longer proven there",
        quick: true,
        play: |run| lose_the_end(run, LostEnd::Truncated),
    },
    Scenario {
        name: "deleted-segment",
        fault: "the broker dies and returns without the last segment of its log",
        expected: "ingest halts and shows both sides until the operator's epoch; the old epoch is no longer proven there",
        quick: false,
        play: |run| lose_the_end(run, LostEnd::DeletedSegment),
    },
];

fn kill(run: &mut Run, seconds_away: &[u64]) {
    let kafka = Kafka::start();
    let mut site = Site::start(run, Plan::on(&kafka));
    for &away in seconds_away {
        run.fault(&format!("killed, away for {away} s"));
        let ended = site.while_producing(|site| {
            site.until_progress();
            kafka.kill9();
            hold(Duration::from_secs(away));
            kafka.start_again();
            Instant::now()
        });
        site.recover(run, ended);
    }
    site.prove(run);
}

fn freeze(run: &mut Run) {
    let kafka = Kafka::start();
    let mut site = Site::start(run, Plan::on(&kafka));
    run.fault("frozen");
    let ended = site.while_producing(|site| {
        site.until_progress();
        kafka.sigstop();
        hold(Duration::from_secs(6));
        kafka.sigcont();
        Instant::now()
    });
    site.recover(run, ended);
    site.prove(run);
}

/// How the log loses its end.
#[derive(Clone, Copy, PartialEq)]
enum LostEnd {
    /// The last segment is truncated.
    Truncated,
    /// The last segment is deleted.
    DeletedSegment,
}

/// Numbers of events that are kept and lost.
const KEPT: u64 = 60;
const LOST: u64 = 40;

const TIME_MS: i64 = 1_700_000_000_000;

/// Longer than a segment of the topic lasts.
const HOUR_MS: i64 = 3_600_000;

fn lose_the_end(run: &mut Run, lost: LostEnd) {
    let kafka = Kafka::start();
    let mut site = Site::start(run, Plan { partitions: 1, topic: &[("segment.ms", "60000")], ..Plan::on(&kafka) });
    let (topic, place) = (site.topic.clone(), site.place(0));
    let folder = kafka.data().join(format!("{topic}-0"));
    produce_at(&mut site, KEPT, TIME_MS);
    site.until_sealed();
    let length = fs::metadata(segments(&folder).last().unwrap()).unwrap().len();
    let later = if lost == LostEnd::DeletedSegment { HOUR_MS } else { 0 };
    produce_at(&mut site, LOST, TIME_MS + later);
    site.until_anchored();

    run.fault("the broker dies and loses the end of its log");
    kafka.kill9();
    let segments = segments(&folder);
    assert_eq!(segments.len(), if lost == LostEnd::DeletedSegment { 2 } else { 1 });
    let last = segments.last().unwrap();
    match lost {
        LostEnd::Truncated => File::options().write(true).open(last).and_then(|file| file.set_len(length)).unwrap(),
        LostEnd::DeletedSegment => fs::remove_file(last).unwrap(),
    }
    kafka.start_again();
    assert_eq!(kafka.watermarks(&topic, 0), (0, KEPT as i64));
    let truncated = format!("sealed up to offset {}, Kafka's high watermark is {KEPT}", KEPT + LOST);
    site.ledger.ingest.until_not_ready(&truncated);
    site.account.destroy(&place, |offset| offset >= KEPT);
    let evidence = site.evidence_of_what_is_sealed(&[]);
    let verdict = site.check(run, "the rest of the old epoch", &evidence, &[], |_| true);
    assert_eq!(verdict.code, INCOMPLETE, "{:#}", verdict.report);

    // The log grows beyond its old end, with other events.
    site.account.begin_epoch(&place, 0..KEPT);
    site.produce(LOST * 2);
    site.ledger.ingest.restart();
    site.ledger.ingest.until_not_ready(&format!("the event at offset {} is another one", KEPT + LOST - 1));
    assert_eq!(site.sealed(), Some(KEPT + LOST), "nothing is sealed before the operator's epoch");

    site.begin_epoch(run);
    let evidence = site.evidence(&[]);
    let verdict = site.judge(run, "everything, with other events in the old epoch's place", &evidence, &[]);
    verdict.require(TAMPERED, "altered-batch", &stream(&topic, 0, 0));
    site.ledger.fsck();
}

fn produce_at(site: &mut Site<'_>, events: u64, timestamp: i64) {
    let producer = site.producer(&[]);
    for _ in 0..events {
        let value = site.value();
        let event =
            ToProduce { topic: &site.topic, value: Some(&value), timestamp: Some(timestamp), ..ToProduce::default() };
        producer.send(event);
    }
    site.account.add(producer.acknowledged());
}

/// The files of a partition's log, in order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut logs: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|kind| kind == "log")).collect();
    logs.sort();
    logs
}
