//! The Git remote to which anchors are pushed.

use std::time::Instant;

use testbed::{git, run as sh, until};

use crate::run::{Run, Scenario};
use crate::site::{Plan, SOON, Site};
use testbed::anchors::BRANCH;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "remote-down",
        fault: "the Git remote refuses connections while events are sealed",
        expected: "the chain continues; the anchors of this time follow in order",
        quick: true,
        play: |run| {
            let mut site = Site::start(run, Plan::default());
            trouble(run, &mut site, "down", |site| site.git.stop(), |site| site.git.start_again());
            site.prove(run);
        },
    },
    Scenario {
        name: "remote-refuses",
        fault: "the Git remote refuses: a hook, expired credentials, a full disk by its status",
        expected: "the anchor retries and reports it; the anchors of this time follow in order",
        quick: true,
        play: refuses,
    },
    Scenario {
        name: "remote-rewritten",
        fault: "the branch at the remote is rewound, rewritten and deleted",
        expected: "an incident names both sides; the anchor never forces a push; sealing continues",
        quick: true,
        play: rewritten,
    },
];

/// Disturbs the remote until there are more anchors, then waits until it has all of them.
fn trouble<'a>(
    run: &mut Run,
    site: &mut Site<'a>,
    what: &str,
    begin: impl FnOnce(&mut Site<'a>),
    end: impl FnOnce(&mut Site<'a>),
) {
    site.produce(20);
    site.until_anchored();
    run.fault(what);
    begin(site);
    let before = own_commits(site);
    for _ in 0..2 {
        // Sealing does not wait for Git.
        let made = own_commits(site).len();
        site.produce(20);
        site.until_sealed();
        until("an anchor is made", SOON, || own_commits(site).len() > made);
    }
    site.ledger.anchor.until_not_ready("remote");
    assert!(remote_commits(site).is_none_or(|commits| commits.len() <= before.len()), "the remote took a push");
    end(site);
    let ended = Instant::now();
    until("the remote has all anchors", SOON, || {
        remote_commits(site).is_some_and(|commits| commits == own_commits(site))
    });
    site.recover(run, ended);
}

fn refuses(run: &mut Run) {
    let mut site = Site::start(run, Plan::default());
    let (begin, end) = ("echo full up >&2; exit 1", "a hook refuses");
    trouble(run, &mut site, end, |site| site.remote.set_hook(begin), |site| site.remote.remove_hook());
    for status in [401, 507] {
        let what = format!("answers {status}");
        trouble(run, &mut site, &what, |site| site.git.set_fault(Some(status)), |site| site.git.set_fault(None));
    }
    site.prove(run);
}

fn rewritten(run: &mut Run) {
    let mut site = Site::start(run, Plan::default());
    let reference = format!("refs/heads/{BRANCH}");
    for (what, incident) in
        [("rewound", "the branch was rewound"), ("rewritten", "another history"), ("deleted", "the branch was deleted")]
    {
        site.produce(20);
        site.until_anchored();
        run.fault(what);
        let remote = &site.remote;
        match what {
            "rewound" => remote.git(&["update-ref", &reference, &format!("{BRANCH}^")]),
            "rewritten" => {
                let other = remote.git(&["commit-tree", "-m", "rewritten", &format!("{BRANCH}^{{tree}}")]);
                remote.git(&["update-ref", &reference, &other])
            }
            _ => remote.git(&["update-ref", "-d", &reference]),
        };
        let theirs = remote_commits(&site);
        site.produce(20);
        site.until_sealed();
        site.ledger.anchor.until_not_ready(incident);
        assert_eq!(remote_commits(&site), theirs, "something was pushed there");
        // The operator's remedy.
        let own = site.ledger.own_repository();
        sh(git().arg("-C").arg(own).args(["push", "--quiet", "--force"]).arg(site.remote.path()).arg(&reference));
        let ended = Instant::now();
        until("the remote has all anchors", SOON, || remote_commits(&site) == Some(own_commits(&site)));
        site.recover(run, ended);
    }
    site.prove(run);
}

fn own_commits(site: &Site<'_>) -> Vec<String> {
    commits(&site.ledger.own_repository()).unwrap_or_default()
}

fn remote_commits(site: &Site<'_>) -> Option<Vec<String>> {
    commits(site.remote.path())
}

/// The commits of the branch of anchors; `None` without one.
fn commits(repository: &std::path::Path) -> Option<Vec<String>> {
    let listed = git().arg("-C").arg(repository).args(["rev-list", BRANCH, "--"]).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout);
    listed.status.success().then(|| text.lines().map(str::to_owned).collect())
}
