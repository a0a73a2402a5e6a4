//! Remotes on Git servers: smart HTTP with a password, and SSH with a host key.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::*;
use testbed::{BareRepository, GitHttp, GitSsh, Scratch};

const PASSWORD: &str = "correct horse";
/// `me:correct horse` in base64.
const LOGIN: &str = "bWU6Y29ycmVjdCBob3JzZQ==";

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

/// A server with a repository, and an anchor that pushes to it.
struct Http {
    log: Log,
    site: Site,
    server: GitHttp,
    repository: BareRepository,
    _folder: Scratch,
}

/// Each test's remote has a name of its own: they are counted by name, for the whole process.
async fn http(remote: &str) -> Http {
    let folder = Scratch::new("anchor-http");
    let repository = BareRepository::new(folder.join("anchors.git"));
    repository.git(&["config", "http.receivepack", "true"]);
    let server = GitHttp::start_with_login(folder.path(), LOGIN);
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    write_private(&site.path("password"), &format!("{PASSWORD}\n"));
    site.reconfigure(
        &log,
        &format!(
            "[[remotes]]\nname = '{remote}'\nurl = '{}'\nuser = 'me'\npassword_file = 'password'\n",
            server.url("anchors.git")
        ),
    );
    Http { log, site, server, repository, _folder: folder }
}

impl Http {
    /// Waits until so many anchors are made and the server has the newest, and checks all of them.
    async fn until_pushed(&self, running: &Running, anchors_made: usize) {
        // A server that is away is known before the next anchor is made.
        until("it is made", || self.site.tip().is_some() && self.site.anchors().len() >= anchors_made).await;
        until("the server has it", || tip(self.repository.path()) == self.site.tip()).await;
        running.until_ready().await;
        assert_eq!(anchors(self.repository.path()).len(), anchors_made);
    }
}

#[tokio::test]
async fn pushes_over_http_with_a_password() {
    let t = http("counted").await;
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.until_pushed(&running, 1).await;
    t.log.grow(6);
    t.site.until_anchored(6).await;
    t.until_pushed(&running, 2).await;
    running.until_metric("streamseal_anchor_pushes_total{remote=\"counted\"}", 2.0).await;
    running.stop().await;
}

#[tokio::test]
async fn server_errors_are_retried() {
    let mut t = http("unsteady").await;
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.until_pushed(&running, 1).await;

    t.server.stop();
    t.log.grow(6);
    running.until_not_ready("remote unsteady: ").await;
    t.server.start_again();
    t.until_pushed(&running, 2).await;

    for (size, status) in [(7, 507), (8, 403)] {
        t.server.set_fault(Some(status));
        t.log.grow(size);
        running.until_not_ready(&status.to_string()).await;
        t.server.set_fault(None);
        t.until_pushed(&running, size as usize - 4).await;
    }
    assert!(running.metric("streamseal_anchor_push_failures_total{remote=\"unsteady\"}").await >= 3.0);
    running.stop().await;
}

#[tokio::test]
async fn push_with_a_lost_answer_counts() {
    let t = http("silent").await;
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.until_pushed(&running, 1).await;
    t.server.lose_answers(true);
    t.log.grow(6);
    running.until_not_ready("502").await;
    until("the server has it all the same", || tip(t.repository.path()) == t.site.tip()).await;
    t.server.lose_answers(false);
    t.until_pushed(&running, 2).await;
    t.log.grow(7);
    t.site.until_anchored(7).await;
    t.until_pushed(&running, 3).await;
    running.stop().await;
}

#[tokio::test]
async fn new_credentials_need_no_restart() {
    let t = http("expired").await;
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.until_pushed(&running, 1).await;
    write_private(&t.site.path("password"), "wrong\n");
    t.log.grow(6);
    running.until_not_ready("refused the credentials").await;
    let (_, text) = running.get("/readyz").await;
    assert!(!text.contains("wrong"), "{text}");
    write_private(&t.site.path("password"), PASSWORD);
    t.until_pushed(&running, 2).await;
    running.stop().await;
}

#[tokio::test]
async fn password_that_others_can_read_is_refused() {
    let t = http("unreadable").await;
    fs::set_permissions(t.site.path("password"), fs::Permissions::from_mode(0o644)).expect("set");
    let running = t.site.start().await;
    running.until_not_ready("chmod 600").await;
    running.stop().await;
}

#[tokio::test]
async fn refusal_by_a_hook_is_retried() {
    let t = http("hooked").await;
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.until_pushed(&running, 1).await;
    t.repository.set_hook("echo no more today >&2; exit 1");
    t.log.grow(6);
    t.site.until_anchored(6).await;
    running.until_not_ready("refused the push").await;
    assert_eq!(anchors(t.repository.path()).len(), 1);
    t.repository.remove_hook();
    t.until_pushed(&running, 2).await;
    running.stop().await;
}

#[tokio::test]
async fn incidents_on_a_server_are_never_forced() {
    let t = http("rewritten").await;
    t.repository.git(&["config", "receive.denyNonFastForwards", "false"]);
    let running = t.site.start().await;
    t.site.until_anchored(5).await;
    t.log.grow(6);
    t.site.until_anchored(6).await;
    t.until_pushed(&running, 2).await;
    let rewritten = t.repository.git(&["commit-tree", "-m", "rewritten", "anchors^{tree}"]);
    let first = t.repository.git(&["rev-parse", "anchors^"]);
    let mut size = 6;
    for (arguments, what) in [
        (vec!["update-ref", "refs/heads/anchors", &first], "the branch was rewound"),
        (vec!["update-ref", "refs/heads/anchors", &rewritten], "another history"),
        (vec!["update-ref", "-d", "refs/heads/anchors"], "the branch was deleted"),
    ] {
        let ours = tip(t.repository.path()).expect("there");
        t.repository.git(&arguments);
        let found = tip(t.repository.path());
        size += 1;
        t.log.grow(size);
        running.until_not_ready(what).await;
        assert_eq!(tip(t.repository.path()), found, "nothing was forced");
        t.repository.git(&["update-ref", "refs/heads/anchors", &ours]);
        t.site.until_anchored(size).await;
        until("the server has it", || tip(t.repository.path()) == t.site.tip()).await;
        running.until_ready().await;
    }
    running.stop().await;
}

#[tokio::test]
async fn pushes_over_ssh_to_a_known_host() {
    let server = GitSsh::start();
    let repository = server.repository("anchors.git");
    let log = Log::start(5).await;
    let mut site = Site::new(&log, "");
    server.write_known_hosts(&site.path("known_hosts"));
    site.reconfigure(
        &log,
        &format!(
            "[[remotes]]\nname = 'server'\nurl = '{}'\nssh_key = '{}'\nknown_hosts = 'known_hosts'\n",
            server.url("anchors.git"),
            server.key().display()
        ),
    );
    let pushed = || server_tip(&repository) == site.tip();
    let running = site.start().await;
    site.until_anchored(5).await;
    until("the server has it", pushed).await;
    running.until_ready().await;

    // Another host answers at the address: nothing is sent to it.
    let known = fs::read_to_string(site.path("known_hosts")).expect("read");
    let place = known.split(' ').next().expect("a name");
    let other = GitSsh::start();
    other.write_known_hosts(&site.path("other"));
    let other_key = fs::read_to_string(site.path("other")).expect("read");
    let (_, other_key) = other_key.split_once(' ').expect("a key");
    fs::write(site.path("known_hosts"), format!("{place} {other_key}")).expect("written");
    log.grow(6);
    site.until_anchored(6).await;
    running.until_not_ready("known_hosts does not have").await;
    assert!(!pushed());
    fs::write(site.path("known_hosts"), "").expect("written");
    running.until_not_ready("known_hosts has no key").await;
    fs::write(site.path("known_hosts"), known).expect("written");
    until("the server has it", pushed).await;

    server.stop();
    log.grow(7);
    running.until_not_ready("remote server: ").await;
    server.start_again();
    until("the server has it", pushed).await;
    running.stop().await;
}

/// The repository belongs to the server's account, which libgit2 minds.
fn server_tip(repository: &BareRepository) -> Option<String> {
    let found = repository.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/anchors"]);
    (!found.is_empty()).then_some(found)
}
