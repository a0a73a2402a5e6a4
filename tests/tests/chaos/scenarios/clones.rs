//! Clones of the anchors that are incomplete or manipulated.

use testbed::{git, run as sh};

use crate::run::{Run, Scenario};
use crate::site::{Evidence, Plan, Site};
use testbed::anchors::{AnchorClone, BRANCH};
use testbed::ledger::{INCOMPLETE, PROVEN, TAMPERED};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "clones",
    fault: "a shallow clone; refs/replace that hide a rewritten history, or that hide a good one",
    expected: "the shallow clone is incomplete; replacements change nothing",
    quick: true,
    play,
}];

fn play(run: &mut Run) {
    let mut site = Site::start(run, Plan::default());
    for _ in 0..4 {
        site.produce(20);
        site.until_anchored();
    }
    let evidence = site.prove(run);
    let folder = evidence.clone.with_extension("shallow");
    let shallow = Evidence { clone: folder.clone(), ..evidence.clone() };
    let url = site.git.url("anchors.git");
    run.fault("a shallow clone");
    sh(git().args(["clone", "--quiet", "--depth", "2", "--branch", BRANCH, &url]).arg(&folder));
    let verdict = site.check(run, "with a shallow clone", &shallow, &[], |_| true);
    verdict.require(INCOMPLETE, "incomplete-clone", &[]);

    run.fault("a good history behind replacements");
    let replaced = AnchorClone::of(&url, evidence.clone.with_extension("replaced"));
    let tip = replaced.git(&["rev-parse", BRANCH]);
    let other =
        replaced.git(&["commit-tree", "-m", "other", "-p", &format!("{BRANCH}^"), &format!("{BRANCH}~2^{{tree}}")]);
    replaced.git(&["replace", &tip, &other]);
    let replaced = Evidence { clone: replaced.path().to_owned(), ..evidence.clone() };
    let verdict = site.check(run, "with a good history behind replacements", &replaced, &[], |_| true);
    assert_eq!(verdict.code, PROVEN, "{:#}", verdict.report);

    run.fault("a rewritten history that replacements make look good");
    let rewritten = AnchorClone::of(&url, evidence.clone.with_extension("rewritten"));
    let commits = rewritten.commits();
    rewritten.drop_commit(&commits[commits.len() / 2]);
    let now = rewritten.git(&["rev-parse", BRANCH]);
    rewritten.git(&["replace", &now, &tip]);
    assert_eq!(rewritten.git(&["rev-list", "--count", BRANCH]), commits.len().to_string(), "Git itself is fooled");
    let rewritten = Evidence { clone: rewritten.path().to_owned(), ..evidence.clone() };
    let verdict = rewritten.verify(&[]);
    run.verdict("with a rewritten history that replacements make look good", &verdict);
    verdict.require(TAMPERED, "inconsistent-anchors", &[]);
}
