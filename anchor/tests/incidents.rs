//! Two signed heads that contradict each other are stored in a file that proves it without this anchor.

mod common;

use std::path::Path;
use std::process::Command;

use anchor::{Source, adopt};
use common::*;
use evidence::incident::{Incident, Kind};

/// The one incident of a site: it proves what it is, and its name says so.
fn incident(site: &Site, kind: Kind) -> (String, Incident) {
    let [(name, incident)] = site.incidents().try_into().expect("one file");
    assert_eq!(incident.verify(&[log_key().verifier_key().clone()]), Ok(kind));
    assert_eq!(incident.ledger(), &ledger());
    assert!(name.contains(&format!("Z-{kind}-")), "{name}");
    (name, incident)
}

fn sizes(incident: &Incident) -> (u64, u64) {
    (incident.known().checkpoint().size, incident.found().checkpoint().size)
}

/// Anchors a log of 5 entries, then lets it sign something else: both heads are kept, once, also by the next process.
async fn keeps(spoil: impl FnOnce(&Log), kind: Kind, found: u64) {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    let ours = site.anchors()[0].checkpoint.clone();
    spoil(&log);
    let offered = log.served.lock().expect("not poisoned").checkpoint.clone().expect("served");
    let running = site.start().await;
    running.until_not_ready("both signed heads are kept in").await;
    let (name, incident) = incident(&site, kind);
    running.until_not_ready(&site.path("incidents").join(&name).display().to_string()).await;
    running.stop().await;
    assert_eq!(sizes(&incident), (5, found));
    assert_eq!(incident.known(), &ours, "with all its signatures");
    assert_eq!(incident.found().to_bytes(), offered);

    let running = site.start().await;
    running.until_not_ready(&name).await;
    running.stop().await;
    assert_eq!(site.incidents(), [(name, incident)]);
    log.grow(9);
    site.run_until(9).await;
}

#[tokio::test]
async fn other_root_of_same_size_is_kept() {
    keeps(|log| log.set(leaves(5, 4, "fork")), Kind::Fork, 5).await;
}

#[tokio::test]
async fn larger_fork_is_kept() {
    keeps(|log| log.set(leaves(300, 4, "fork")), Kind::Fork, 300).await;
}

#[tokio::test]
async fn smaller_head_is_kept() {
    keeps(|log| log.grow(4), Kind::Rollback, 4).await;
}

/// The proof of a fork does not begin with the older root where that is the root of a complete tree.
#[tokio::test]
async fn fork_after_a_complete_tree_is_kept() {
    let log = Log::start(4).await;
    let site = Site::new(&log, "");
    site.run_until(4).await;
    log.set(leaves(7, 3, "fork"));
    let running = site.start().await;
    running.until_not_ready("both signed heads are kept in").await;
    running.stop().await;
    assert_eq!(sizes(&incident(&site, Kind::Fork).1), (4, 7));
}

/// An anchor of a forked log of 5 entries, whose last one is another.
async fn forked_site() -> Site {
    let forked = Log::start(5).await;
    forked.set(leaves(5, 4, "fork"));
    let site = Site::new(&forked, "");
    site.run_until(5).await;
    site
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

#[tokio::test]
async fn fork_at_a_remote_is_kept() {
    let forked = forked_site().await;
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    let remote = site.path("remote.git");
    bare(&remote);
    site.reconfigure(&log, &remotes(&[&remote]));
    site.run_until(5).await;
    git(&forked.path("anchor.git"), &["push", "--quiet", "--force", &remote.display().to_string(), "anchors"]);
    log.grow(6);
    let running = site.start().await;
    running.until_not_ready("another history").await;
    running.until_not_ready("both signed heads are kept in").await;
    running.stop().await;
    let (_, incident) = incident(&site, Kind::Fork);
    assert_eq!(incident.known(), &forked.anchors()[0].checkpoint);
}

#[tokio::test]
async fn fork_at_a_remote_stops_the_first_anchor() {
    let forked = forked_site().await;
    let log = Log::start(5).await;
    let site = Site::new(&log, &remotes(&[&forked.path("anchor.git")]));
    let refusal = site.refusal().await;
    assert!(refusal.contains("holds the branch") && refusal.contains("both signed heads are kept in"), "{refusal}");
    assert_eq!(sizes(&incident(&site, Kind::Fork).1), (5, 5));
}

#[tokio::test]
async fn fork_in_a_replaced_repository_is_kept() {
    let forked = forked_site().await;
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    std::fs::remove_dir_all(site.path("anchor.git")).expect("removed");
    copy(&forked.path("anchor.git"), &site.path("anchor.git"));
    let refusal = site.refusal().await;
    assert!(refusal.contains("lost, rolled back or changed"), "{refusal}");
    assert!(refusal.contains("both signed heads are kept in"), "{refusal}");
    assert_eq!(incident(&site, Kind::Fork).1.known(), &forked.anchors()[0].checkpoint);
}

#[tokio::test]
async fn fork_is_kept_and_not_adopted() {
    let forked = forked_site().await;
    let log = Log::start(9).await;
    let site = Site::new(&log, "");
    copy(&forked.path("anchor.git"), &site.path("anchor.git"));
    let error = adopt(&site.config, ledger(), &Source::Repository).await.expect_err("a fork");
    assert!(format!("{error:#}").contains("both signed heads are kept in"), "{error:#}");
    assert_eq!(sizes(&incident(&site, Kind::Fork).1), (5, 9));
}

/// What the log never signed proves nothing against it.
#[tokio::test]
async fn head_never_signed_by_the_log_is_dropped() {
    let forked = forked_site().await;
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    let clone = site.path("clone");
    run(Command::new("git").args(["clone", "--quiet"]).arg(forked.path("anchor.git")).arg(&clone));
    let thief = evidence::SigningKey::from_seed(ORIGIN, evidence::Algorithm::Ed25519, &[4; 32]).expect("a name");
    let checkpoint = evidence::SignedCheckpoint::sign(forked.anchors()[0].checkpoint.checkpoint().clone(), &thief);
    let made_up = evidence::witness::AddCheckpoint { old_size: 0, proof: vec![], checkpoint };
    let name: String = evidence::sha256(ORIGIN.as_bytes()).0.iter().map(|b| format!("{b:02x}")).collect();
    std::fs::write(clone.join("logs").join(&name).join("consistency"), made_up.to_bytes()).expect("written");
    git(&clone, &["commit", "--quiet", "-a", "-m", "made up"]);
    let remote = site.path("remote.git");
    run(Command::new("git").args(["clone", "--quiet", "--bare"]).arg(&clone).arg(&remote));
    let mut site = site;
    site.reconfigure(&log, &remotes(&[&remote]));
    let running = site.start().await;
    running.until_not_ready("another history").await;
    running.stop().await;
    assert!(site.incidents().is_empty());
}
