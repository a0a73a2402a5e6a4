//! Anchoring an honest log.

mod common;

use std::process::Command;

use common::*;
use evidence::{Algorithm, SigningKey};

#[tokio::test]
async fn each_anchor_continues_the_one_before() {
    let log = Log::start(3).await;
    let remote = tempfile::tempdir().expect("a folder");
    let site = Site::new(&log, &remotes(&[&remote.path().join("a.git")]));
    let running = site.start().await;
    for size in [3, 4, 300, 70_000] {
        log.grow(size);
        site.until_anchored(size).await;
    }
    running.until_ready().await;
    let sizes: Vec<(u64, u64)> = site.anchors().iter().map(|a| (a.old_size, a.checkpoint.checkpoint().size)).collect();
    assert_eq!(sizes, [(0, 3), (3, 4), (4, 300), (300, 70_000)]);
    until("the remote has all", || tip(&remote.path().join("a.git")) == site.tip()).await;
    let newest = anchor::newest_checkpoint(&site.path("anchor.git"), "anchors", ORIGIN).expect("read");
    assert_eq!(newest, site.anchors().last().map(|anchor| anchor.checkpoint.to_bytes()));
    for (branch, origin) in [("anchors", "example.com/other"), ("other", ORIGIN)] {
        assert_eq!(anchor::newest_checkpoint(&site.path("anchor.git"), branch, origin).expect("read"), None);
    }
    assert_eq!(anchors(&remote.path().join("a.git")), site.anchors());
    running.stop().await;
    git(&site.path("anchor.git"), &["fsck", "--full", "--strict"]);
    git(&remote.path().join("a.git"), &["fsck", "--full", "--strict"]);
}

#[tokio::test]
async fn unchanged_head_is_cosigned_again() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "heartbeat_s = 1\n");
    let running = site.start().await;
    until("three anchors", || site.path("anchor.git").exists() && tip_count(&site) >= 3).await;
    running.stop().await;
    for (i, anchor) in site.anchors().iter().enumerate() {
        assert_eq!((anchor.old_size, anchor.checkpoint.checkpoint().size), (if i == 0 { 0 } else { 5 }, 5));
        assert_eq!(anchor.proof, []);
    }
}

fn tip_count(site: &Site) -> usize {
    site.tip().map_or(0, |tip| git(&site.path("anchor.git"), &["rev-list", &tip]).lines().count())
}

#[tokio::test]
async fn nothing_is_committed_before_the_heartbeat() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    let before = site.tip();
    // A whole look at the log, after which it says that it is ready.
    let running = site.start().await;
    running.until_ready().await;
    running.stop().await;
    assert_eq!(site.tip(), before);
}

#[tokio::test]
async fn log_without_checkpoint_is_waited_for() {
    let log = Log::start(0).await;
    let site = Site::new(&log, "");
    log.update(|served| served.checkpoint = None);
    let running = site.start().await;
    running.until_not_ready("no checkpoint").await;
    log.grow(0);
    running.until_ready().await;
    assert_eq!(site.tip(), None, "an empty log has nothing to anchor");
    log.grow(1);
    site.until_anchored(1).await;
    running.stop().await;
}

#[tokio::test]
async fn unverified_lines_are_not_published() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    log.update(|served| {
        let mut signed =
            evidence::SignedCheckpoint::parse(served.checkpoint.as_ref().expect("served")).expect("a checkpoint");
        signed.cosign(&SigningKey::from_seed("stranger", Algorithm::Cosignature, &[7; 32]).expect("a name"), 1);
        // A line in the anchor's own name, made by nobody.
        signed.cosign(&SigningKey::from_seed("anchor-a", Algorithm::Cosignature, &[7; 32]).expect("a name"), 1);
        served.checkpoint = Some(signed.to_bytes());
    });
    site.run_until(5).await;
    let anchors = site.anchors();
    let names: Vec<&str> = anchors[0].checkpoint.note().signatures().map(|s| s.name()).collect();
    assert_eq!(names, [ORIGIN, "anchor-a"]);
}

#[tokio::test]
async fn witnesses_cosign_what_is_published() {
    let log = Log::start(3).await;
    let witness = Witness::start("example.net/w").await;
    // It has cosigned an older head for somebody else: the first guess at its size is wrong.
    witness.with(|state| state.seen = Some(checkpoint(&leaves(2, u64::MAX, ""))));
    let mut site = Site::new(&log, &witness.config());
    site.run_until(3).await;
    log.grow(8);
    site.run_until(8).await;
    // One that does not answer, or whose line is not valid for this checkpoint, is left out and holds up nothing.
    witness.with(|state| state.honest = false);
    log.grow(9);
    site.run_until(9).await;
    let gone = Witness::start("example.net/gone").await.config();
    site.reconfigure(&log, &gone);
    log.grow(10);
    site.run_until(10).await;
    let cosigned: Vec<bool> = site.anchors().iter().map(|a| witness.is_on(&a.checkpoint)).collect();
    assert_eq!(cosigned, [true, true, false, false]);
    assert!(site.anchors().iter().skip(2).all(|a| a.checkpoint.note().signatures().len() == 2));
}

#[tokio::test]
async fn several_logs_share_a_repository() {
    let log = Log::start(3).await;
    let site = Site::new(&log, "");
    site.run_until(3).await;
    // Another log's anchor commits to the same branch.
    let work = tempfile::tempdir().expect("a folder");
    let clone = work.path().join("clone");
    run(Command::new("git").args(["clone", "--quiet"]).arg(site.path("anchor.git")).arg(&clone));
    std::fs::create_dir(clone.join("logs/other")).expect("made");
    std::fs::write(clone.join("logs/other/checkpoint"), "x").expect("written");
    git(&clone, &["add", "logs"]);
    git(&clone, &["commit", "--quiet", "-m", "another log"]);
    git(&clone, &["push", "--quiet", "origin", "anchors"]);
    let other = site.tip().expect("there");
    log.grow(4);
    site.run_until(4).await;
    assert_eq!(git(&site.path("anchor.git"), &["rev-parse", "anchors^"]), other);
    assert_eq!(git(&site.path("anchor.git"), &["show", "anchors:logs/other/checkpoint"]), "x");
    assert_eq!(site.anchors().len(), 2);
}
