//! An anchor that was killed at any step, or lost a file, makes the same anchor or none.

mod common;

use std::fs;

use anchor::{Source, adopt};
use common::*;

const STATE: &str = "anchor.key.high-water";

fn seen_file(site: &Site) -> String {
    let names = fs::read_dir(site.folder.path()).expect("listed").map(|e| e.expect("listed").file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    names.find(|name| name.starts_with("anchor.key.remote-")).expect("what was seen at the remote")
}

/// Two anchors, with copies of everything as it was after the first.
struct TwoAnchors {
    log: Log,
    site: Site,
    state: Saved,
    repository: Saved,
    remote: Saved,
    seen: Saved,
    second: Option<String>,
}

async fn two_anchors() -> TwoAnchors {
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    let remote = site.path("remote.git");
    site.reconfigure(&log, &remotes(&[&remote]));
    site.run_until(5).await;
    let (state, repository, remote) = (site.save(STATE), site.save("anchor.git"), site.save("remote.git"));
    let seen = site.save(&seen_file(&site));
    log.grow(9);
    site.run_until(9).await;
    let second = site.tip();
    assert_eq!(tip(&site.path("remote.git")), second);
    TwoAnchors { log, site, state, repository, remote, seen, second }
}

impl TwoAnchors {
    /// Expects that the second anchor is unchanged everywhere, and that a third follows.
    async fn goes_on(&self) {
        self.site.run_until(9).await;
        assert_eq!(self.site.tip(), self.second, "the same commit");
        assert_eq!(tip(&self.site.path("remote.git")), self.second);
        self.log.grow(12);
        self.site.run_until(12).await;
        assert_eq!(anchors(&self.site.path("remote.git")).len(), 3);
    }
}

#[tokio::test]
async fn kill_before_the_state_repeats_the_anchor() {
    let t = two_anchors().await;
    t.state.restore();
    t.repository.restore();
    t.remote.restore();
    t.seen.restore();
    // Nothing of the second anchor is left: it is made again, at another time.
    t.site.run_until(9).await;
    assert_eq!(t.site.anchors().len(), 2);
    assert_eq!(tip(&t.site.path("remote.git")), t.site.tip());
}

/// The cosignature must be in the state file before anything else can have it.
#[tokio::test]
async fn state_is_written_before_the_commit() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    let first = site.tip();
    let state = fs::read(site.path(STATE)).expect("read");
    // Git's own lock on the branch: it cannot be moved.
    let branch_lock = site.path("anchor.git/refs/heads/anchors.lock");
    fs::write(&branch_lock, "").expect("written");
    log.grow(9);
    let running = site.start().await;
    running.until_not_ready("anchors").await;
    running.stop().await;
    assert_eq!(site.tip(), first);
    let written = fs::read(site.path(STATE)).expect("read");
    assert_ne!(written, state);
    fs::remove_file(&branch_lock).expect("removed");
    site.run_until(9).await;
    assert_eq!(
        fs::read(site.path(STATE)).expect("read"),
        written,
        "the anchor that was written is the one that was made"
    );
    assert_eq!(site.anchors().len(), 2);
}

#[tokio::test]
async fn cosignature_time_never_goes_back() {
    const FUTURE: u64 = 10_000_000_000;
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    // The same anchor as a clock of the far future would have made it.
    let mut anchor = site.anchors().remove(0);
    anchor.checkpoint.cosign(&anchor_key(), FUTURE);
    let name: String = evidence::sha256(ORIGIN.as_bytes()).0.iter().map(|b| format!("{b:02x}")).collect();
    let clone = site.path("clone");
    run(std::process::Command::new("git").args(["clone", "--quiet"]).arg(site.path("anchor.git")).arg(&clone));
    fs::write(clone.join("logs").join(&name).join("consistency"), anchor.to_bytes()).expect("written");
    fs::write(clone.join("logs").join(&name).join("checkpoint"), anchor.checkpoint.to_bytes()).expect("written");
    git(&clone, &["commit", "--quiet", "--amend", "-a", "-m", "the future"]);
    git(&clone, &["push", "--quiet", "--force", "origin", "anchors"]);
    fs::remove_file(site.path(STATE)).expect("removed");
    adopt(&site.config, ledger(), &Source::Repository).await.expect("adopted");
    log.grow(9);
    let running = site.start().await;
    site.until_anchored(9).await;
    // What it cosigns is stale to every auditor, and only a person can do something about it.
    running.until_not_ready("clock: the last cosignature is of 10000000000 s").await;
    running.until_not_ready("let a new anchor key take over").await;
    running.stop().await;
    let times: Vec<u64> =
        site.anchors().iter().map(|a| verify_cosignature(&a.checkpoint, anchor_key().verifier_key())).collect();
    assert_eq!(times, [FUTURE, FUTURE]);

    let new = evidence::SigningKey::from_seed("anchor-b", evidence::Algorithm::Cosignature, &[5; 32]).expect("a name");
    let mut config = site.config.clone();
    config.key = site.path("anchor-b.key");
    keystore::write_signing_key(&config.key, &new).expect("written");
    let site = Site { folder: site.folder, config };
    adopt(&site.config, ledger(), &Source::Repository).await.expect("adopted");
    let running = site.start().await;
    running.until_ready().await;
    let repository = site.path("anchor.git");
    until("an anchor by the new key", || {
        let cosigned = newest(&repository).map(|a| a.checkpoint.note().verify_cosignature(new.verifier_key()));
        matches!(cosigned, Some(Ok(time)) if time < FUTURE)
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn commit_is_made_up_after_a_kill() {
    let t = two_anchors().await;
    t.repository.restore();
    t.remote.restore();
    t.seen.restore();
    t.goes_on().await;
}

#[tokio::test]
async fn commit_is_made_up_though_the_log_grew() {
    let t = two_anchors().await;
    t.repository.restore();
    t.remote.restore();
    t.seen.restore();
    t.log.grow(20);
    t.site.run_until(20).await;
    let repository = t.site.path("anchor.git");
    assert_eq!(Some(git(&repository, &["rev-parse", "anchors^"])), t.second, "the second anchor was made first");
    assert_eq!(t.site.anchors().len(), 3);
}

#[tokio::test]
async fn push_is_made_up_after_a_kill() {
    let t = two_anchors().await;
    t.remote.restore();
    t.seen.restore();
    t.goes_on().await;
}

#[tokio::test]
async fn unrecorded_push_is_no_incident() {
    let t = two_anchors().await;
    t.seen.restore();
    t.goes_on().await;
}

#[tokio::test]
async fn first_anchor_is_completed_after_a_kill() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    let repository = site.save("anchor.git");
    site.run_until(5).await;
    let first = site.tip();
    repository.restore();
    assert_eq!(site.tip(), None);
    site.run_until(5).await;
    assert_eq!(site.tip(), first, "the same commit");
}

#[tokio::test]
async fn pending_anchor_of_a_forked_log_is_committed() {
    let t = two_anchors().await;
    t.repository.restore();
    t.remote.restore();
    t.seen.restore();
    t.log.set(leaves(9, 6, "fork"));
    let running = t.site.start().await;
    running.until_not_ready("the log forked").await;
    running.stop().await;
    assert_eq!(t.site.tip(), t.second);
}

#[tokio::test]
async fn lost_repository_is_refused_until_adoption() {
    let t = two_anchors().await;
    fs::remove_dir_all(t.site.path("anchor.git")).expect("removed");
    let refusal = t.site.refusal().await;
    assert!(
        refusal.contains("does not hold the last anchor") && refusal.contains("anchor --config FILE adopt SOURCE"),
        "{refusal}"
    );
    let source = Source::Remote(t.site.config.remotes[0].url.clone());
    let head = adopt(&t.site.config, ledger(), &source).await.expect("adopted");
    assert_eq!(head.expect("an anchor").size, 9);
    t.goes_on().await;
}

#[tokio::test]
async fn rolled_back_repository_is_refused() {
    let t = two_anchors().await;
    t.log.grow(12);
    t.site.run_until(12).await;
    t.repository.restore();
    let refusal = t.site.refusal().await;
    assert!(refusal.contains("rolled back"), "{refusal}");
    assert!(refusal.contains("size 12"), "names what was cosigned: {refusal}");
}

#[tokio::test]
async fn clone_of_a_rolled_back_remote_is_refused() {
    let t = two_anchors().await;
    t.log.grow(12);
    t.site.run_until(12).await;
    fs::remove_dir_all(t.site.path("anchor.git")).expect("removed");
    t.remote.restore();
    let clone = t.site.path("anchor.git");
    run(std::process::Command::new("git")
        .args(["clone", "--quiet", "--bare"])
        .arg(t.site.path("remote.git"))
        .arg(&clone));
    let refusal = t.site.refusal().await;
    assert!(refusal.contains("does not hold the last anchor"), "{refusal}");
}

#[tokio::test]
async fn adopted_older_branch_keeps_the_largest_head() {
    let t = two_anchors().await;
    fs::remove_dir_all(t.site.path("anchor.git")).expect("removed");
    t.remote.restore();
    t.seen.restore();
    let source = Source::Remote(t.site.config.remotes[0].url.clone());
    // A log that forked after what the remote holds, before what was cosigned.
    t.log.set(leaves(12, 7, "fork"));
    let error = adopt(&t.site.config, ledger(), &source).await.expect_err("forked");
    assert!(error.to_string().contains("the log forked"), "{error:#}");
    t.log.grow(8);
    let error = adopt(&t.site.config, ledger(), &source).await.expect_err("behind");
    assert!(error.to_string().contains("the log went backwards"), "{error:#}");
    t.log.grow(12);
    adopt(&t.site.config, ledger(), &source).await.expect("adopted");
    t.log.set(leaves(12, 7, "fork"));
    let running = t.site.start().await;
    running.until_not_ready("the log forked").await;
    running.stop().await;
    t.log.grow(12);
    t.site.run_until(12).await;
    let sizes: Vec<(u64, u64)> =
        t.site.anchors().iter().map(|a| (a.old_size, a.checkpoint.checkpoint().size)).collect();
    assert_eq!(sizes, [(0, 5), (5, 12)]);
}

#[tokio::test]
async fn lost_state_is_refused_until_adoption() {
    let t = two_anchors().await;
    fs::remove_file(t.site.path(STATE)).expect("removed");
    let refusal = t.site.refusal().await;
    assert!(refusal.contains("state file was lost"), "{refusal}");
    adopt(&t.site.config, ledger(), &Source::Repository).await.expect("adopted");
    t.goes_on().await;
}

#[tokio::test]
async fn remote_reveals_lost_state_and_repository() {
    let t = two_anchors().await;
    fs::remove_file(t.site.path(STATE)).expect("removed");
    fs::remove_dir_all(t.site.path("anchor.git")).expect("removed");
    let refusal = t.site.refusal().await;
    assert!(refusal.contains("holds the branch \"anchors\" already"), "{refusal}");
    assert_eq!(t.site.tip(), None);
}

#[tokio::test]
async fn damaged_state_file_is_refused() {
    let t = two_anchors().await;
    let mut bytes = fs::read(t.site.path(STATE)).expect("read");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    fs::write(t.site.path(STATE), bytes).expect("written");
    let refusal = t.site.refusal().await;
    assert!(refusal.contains(STATE) && refusal.contains("damaged"), "{refusal}");
}

#[tokio::test]
async fn second_anchor_with_same_key_is_refused() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    let running = site.start().await;
    site.until_anchored(5).await;
    let refusal = site.refusal().await;
    assert!(refusal.contains("in use by another process"), "{refusal}");
    running.stop().await;
}

#[tokio::test]
async fn new_key_takes_over_after_an_adoption() {
    let t = two_anchors().await;
    let new = evidence::SigningKey::from_seed("anchor-b", evidence::Algorithm::Cosignature, &[5; 32]).expect("a name");
    let mut config = t.site.config.clone();
    config.key = t.site.path("anchor-b.key");
    keystore::write_signing_key(&config.key, &new).expect("written");
    let site = Site { folder: t.site.folder, config };
    let refusal = site.refusal().await;
    assert!(refusal.contains("anchor --config FILE adopt SOURCE"), "{refusal}");
    adopt(&site.config, ledger(), &Source::Repository).await.expect("adopted");
    let running = site.start().await;
    let repository = site.path("anchor.git");
    until("an anchor by the new key", || {
        newest(&repository).is_some_and(|a| a.checkpoint.note().verify_cosignature(new.verifier_key()).is_ok())
    })
    .await;
    running.stop().await;
    let newest = newest(&repository).expect("there");
    assert_eq!((newest.old_size, newest.checkpoint.checkpoint().size), (9, 9));
}

#[tokio::test]
async fn key_of_wrong_type_is_refused() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    fs::remove_file(site.path("anchor.key")).expect("removed");
    keystore::write_signing_key(&site.path("anchor.key"), &log_key()).expect("written");
    let refusal = site.refusal().await;
    assert!(refusal.contains("anchor.key") && refusal.contains("cosigning key"), "{refusal}");
}
