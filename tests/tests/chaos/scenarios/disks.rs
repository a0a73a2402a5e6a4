//! Full disks.

use std::fs;
use std::time::Instant;

use testbed::{Postgres, SmallDisk, until};

use crate::run::{Run, Scenario};
use crate::site::{Evidence, Plan, SOON, Site};
use testbed::ledger::{PROVEN, Service};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "full-database",
        fault: "the database's disk is full while events are produced",
        expected: "no acknowledgement; producers are not affected; sealing resumes when there is room",
        quick: false,
        play: database,
    },
    Scenario {
        name: "full-remote",
        fault: "the disk of the Git remote is full while events are produced",
        expected: "the chain continues; the anchors follow when there is room",
        quick: false,
        play: remote,
    },
    Scenario {
        name: "full-ledger",
        fault: "the disk with the high-water files and the anchor's repository is full while events are produced",
        expected: "nothing is signed without a high-water file; with room, restarted services continue",
        quick: false,
        play: ledger,
    },
    Scenario {
        name: "full-export",
        fault: "the target disk of an export is full",
        expected: "the export fails and names the disk; its remains are never proven",
        quick: false,
        play: export,
    },
];

fn database(run: &mut Run) {
    let disk = SmallDisk::mount(192);
    let postgres = Postgres::start_on(&disk);
    let mut site = Site::start(run, Plan { database: postgres.database(), ..Plan::default() });
    run.fault("full");
    let ended = site.while_producing(|site| {
        site.until_progress();
        disk.fill();
        let committer = site.ledger.committer.until_not_ready("database");
        let ingest = site.ledger.ingest.until_not_ready("unavailable");
        run.say(&format!("committer: {committer:?}; ingest: {ingest:?}"));
        disk.make_room();
        until("PostgreSQL runs", SOON, || {
            // It ends if it cannot even write its recovery.
            if postgres.has_ended() {
                postgres.start_again();
            }
            postgres.answers()
        });
        Instant::now()
    });
    site.recover(run, ended);
    site.ledger.services().into_iter().for_each(Service::until_ready);
    site.prove(run);
}

fn remote(run: &mut Run) {
    let disk = SmallDisk::mount(4);
    let git = Some(disk.path().join("git"));
    fs::create_dir(disk.path().join("git")).unwrap();
    let mut site = Site::start(run, Plan { git, ..Plan::default() });
    site.produce(50);
    site.until_anchored();
    run.fault("full");
    disk.fill();
    site.produce(50);
    site.until_sealed();
    site.ledger.anchor.until_not_ready("remote");
    disk.make_room();
    let ended = Instant::now();
    site.until_anchored();
    site.recover(run, ended);
    site.ledger.anchor.until_ready();
    site.prove(run);
}

fn ledger(run: &mut Run) {
    let disk = SmallDisk::mount(8);
    let mut site = Site::start(run, Plan { ledger: Some(disk.path().join("ledger")), ..Plan::default() });
    run.fault("full");
    let ended = site.while_producing(|site| {
        site.until_progress();
        disk.fill();
        // A service that cannot write its state ends.
        until("the committer ends", SOON, || site.ledger.committer.exited().is_some());
        until("the anchor ends or waits", SOON, || {
            site.ledger.anchor.exited().is_some() || !site.ledger.anchor.is_ready()
        });
        disk.make_room();
        site.ledger.committer.kill9();
        site.ledger.anchor.kill9();
        site.ledger.committer.start_again();
        site.ledger.anchor.start_again();
        Instant::now()
    });
    site.recover(run, ended);
    site.ledger.services().into_iter().for_each(Service::until_ready);
    site.prove(run);
}

fn export(run: &mut Run) {
    let mut site = Site::start(run, Plan::default());
    site.produce(2_000);
    let evidence = site.prove(run);
    // Ever more room, so that the export fails in each of its parts.
    let disk = SmallDisk::mount(1);
    for kibibytes in [0, 8, 40, 80, 160, 240] {
        run.fault(&format!("full after {kibibytes} KiB"));
        disk.fill_but(kibibytes * 1024);
        let bundle = disk.path().join("bundle");
        let output = site.ledger.try_export(&bundle, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("No space left"), "{kibibytes} KiB: {said}");
        assert!(said.contains(&disk.path().display().to_string()), "{said}");
        assert!(!bundle.exists(), "a partial bundle has the final name");
        for left in fs::read_dir(disk.path()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_dir()) {
            let verdict = Evidence { bundle: left.clone(), ..evidence.clone() }.verify(&[]);
            run.verdict("what a full disk left", &verdict);
            assert_ne!(verdict.code, PROVEN, "{:#}", verdict.report);
            fs::remove_dir_all(left).unwrap();
        }
        disk.make_room();
    }
    let room = SmallDisk::mount(16);
    let evidence = Evidence { bundle: room.path().join("bundle"), ..evidence };
    site.ledger.export(&evidence.bundle);
    let verdict = site.judge(run, "exported to a disk with room", &evidence, &[]);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);
}
