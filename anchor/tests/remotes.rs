//! Remotes that are away or hold something else: reported, and never forced.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;

/// Two anchors at two remotes. The first remote goes wrong, the second shows that others are not affected.
struct TwoRemotes {
    log: Log,
    site: Site,
    wrong: PathBuf,
    other: PathBuf,
}

async fn two_remotes() -> TwoRemotes {
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    let (wrong, other) = (site.path("wrong.git"), site.path("other.git"));
    bare(&wrong);
    bare(&other);
    site.reconfigure(&log, &remotes(&[&wrong, &other]));
    site.run_until(5).await;
    log.grow(6);
    site.run_until(6).await;
    assert_eq!(tip(&wrong), site.tip());
    TwoRemotes { log, site, wrong, other }
}

impl TwoRemotes {
    /// Expects an incident that names the commits of both sides. The wrong remote stays as it is, the other gets all
    /// anchors. After `repair` the wrong one catches up.
    async fn incident(self, what: &str, repair: impl FnOnce(&Path, &Path)) {
        let incidents = format!("streamseal_anchor_incidents_total{{remote=\"{}\"}}", self.wrong.display());
        let found = tip(&self.wrong);
        let running = self.site.start().await;
        running.until_not_ready(what).await;
        self.log.grow(7);
        self.site.until_anchored(7).await;
        until("the other remote has all", || tip(&self.other) == self.site.tip()).await;
        let (_, text) = running.get("/readyz").await;
        for commit in [&found, &tip(&self.other)] {
            let commit = commit.as_deref().unwrap_or("it holds nothing");
            assert!(
                text.contains(commit) || commit == self.site.tip().expect("there"),
                "{commit} is not named: {text}"
            );
        }
        assert!(running.metric(&incidents).await >= 1.0);
        running.stop().await;
        assert_eq!(tip(&self.wrong), found, "nothing was forced");
        repair(&self.site.path("anchor.git"), &self.wrong);
        self.site.run_until(7).await;
        assert_eq!(tip(&self.wrong), self.site.tip());
        assert_eq!(anchors(&self.wrong).len(), 3);
    }
}

/// What an operator does by hand.
fn push_by_force(repository: &Path, remote: &Path) {
    git(repository, &["push", "--quiet", "--force", &remote.display().to_string(), "anchors"]);
}

#[tokio::test]
async fn rewound_remote_is_an_incident() {
    let t = two_remotes().await;
    git(&t.wrong, &["update-ref", "refs/heads/anchors", "anchors^"]);
    t.incident("the branch was rewound", push_by_force).await;
}

#[tokio::test]
async fn deleted_branch_is_an_incident() {
    let t = two_remotes().await;
    git(&t.wrong, &["update-ref", "-d", "refs/heads/anchors"]);
    t.incident("the branch was deleted", push_by_force).await;
}

#[tokio::test]
async fn rewritten_remote_is_an_incident() {
    let t = two_remotes().await;
    let rewritten = git(&t.wrong, &["commit-tree", "-m", "rewritten", "anchors^{tree}"]);
    git(&t.wrong, &["update-ref", "refs/heads/anchors", &rewritten]);
    t.incident("another history", push_by_force).await;
}

#[tokio::test]
async fn foreign_commit_is_an_incident() {
    let t = two_remotes().await;
    let added = git(&t.wrong, &["commit-tree", "-m", "added", "-p", "anchors", "anchors^{tree}"]);
    git(&t.wrong, &["update-ref", "refs/heads/anchors", &added]);
    t.incident("commits that this anchor did not make", push_by_force).await;
}

#[tokio::test]
async fn foreign_history_is_fetched() {
    let t = two_remotes().await;
    let rewritten = git(&t.wrong, &["commit-tree", "-m", "rewritten", "anchors^{tree}"]);
    git(&t.wrong, &["update-ref", "refs/heads/anchors", &rewritten]);
    let running = t.site.start().await;
    running.until_not_ready("another history").await;
    running.stop().await;
    assert_eq!(git(&t.site.path("anchor.git"), &["show", "-s", "--format=%s", &rewritten]), "rewritten");
}

#[tokio::test]
async fn new_remote_with_other_history_is_left_alone() {
    let mut t = two_remotes().await;
    let foreign = t.site.path("foreign.git");
    bare(&foreign);
    let tree = git(&foreign, &["mktree"]);
    let commit = git(&foreign, &["commit-tree", "-m", "somebody else's", &tree]);
    git(&foreign, &["update-ref", "refs/heads/anchors", &commit]);
    t.site.reconfigure(&t.log, &remotes(&[&foreign, &t.other]));
    let running = t.site.start().await;
    running.until_not_ready("another history").await;
    running.stop().await;
    assert_eq!(tip(&foreign), Some(commit));
}

#[tokio::test]
async fn new_remote_gets_the_whole_history() {
    let mut t = two_remotes().await;
    let new = t.site.path("new.git");
    // More commits, as those of another log, than are copied as loose objects.
    let mut commit = t.site.tip().expect("there");
    for _ in 0..70 {
        commit =
            git(&t.site.path("anchor.git"), &["commit-tree", "-m", "another log", "-p", &commit, "anchors^{tree}"]);
    }
    git(&t.site.path("anchor.git"), &["update-ref", "refs/heads/anchors", &commit]);
    t.site.reconfigure(&t.log, &remotes(&[&new]));
    t.site.run_until(6).await;
    t.log.grow(7);
    t.site.run_until(7).await;
    assert_eq!(anchors(&new), t.site.anchors());
    assert_eq!(git(&new, &["rev-list", "--count", "anchors"]), "73");
    git(&new, &["fsck", "--full", "--strict"]);
}

#[tokio::test]
async fn returning_remote_gets_all_anchors_in_order() {
    let t = two_remotes().await;
    let away = t.site.path("away");
    fs::rename(&t.wrong, &away).expect("moved");
    let running = t.site.start().await;
    running.until_not_ready("there is no repository").await;
    for size in [7, 8] {
        t.log.grow(size);
        t.site.until_anchored(size).await;
    }
    until("the other remote has all", || tip(&t.other) == t.site.tip()).await;
    assert!(!t.wrong.exists(), "no empty repository in its place");
    fs::rename(&away, &t.wrong).expect("moved back");
    until("it catches up", || tip(&t.wrong) == t.site.tip()).await;
    running.until_ready().await;
    running.stop().await;
    assert_eq!(anchors(&t.wrong).len(), 4);
}

#[tokio::test]
async fn unreachable_remote_delays_the_first_anchor() {
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    let remote = site.path("remote.git");
    fs::create_dir(&remote).expect("made");
    fs::write(remote.join("in the way"), "x").expect("written");
    site.reconfigure(&log, &remotes(&[&remote]));
    let running = site.start().await;
    running.until_not_ready("must be asked once before the first anchor").await;
    assert_eq!(site.tip(), None);
    fs::remove_file(remote.join("in the way")).expect("removed");
    site.until_anchored(5).await;
    running.until_ready().await;
    running.stop().await;
    assert_eq!(tip(&remote), site.tip());
}

#[tokio::test]
async fn git_replace_does_not_fool_the_anchor() {
    let t = two_remotes().await;
    // The remote shows another history under the name of a commit that it was given.
    let rewritten = git(&t.wrong, &["commit-tree", "-m", "rewritten", "anchors^{tree}"]);
    git(&t.wrong, &["replace", "-f", "anchors", &rewritten]);
    t.log.grow(7);
    t.site.run_until(7).await;
    assert_eq!(tip(&t.wrong), t.site.tip());
    assert_eq!(anchors(&t.wrong).len(), 3);
}
