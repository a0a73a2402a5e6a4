//! Cases about several copies of the branch: how they are found, and what one of them lacks.

use git2::{Oid, Repository};

use super::form::{Case, Change, Inputs};
use super::{Golden, SECOND_STREAM_FILE, STREAM_FILE, import};
use crate::common::T0;
use crate::common::clones::folder;

const CLONE: &str = "anchors.git";
const COMMIT: &str = "anchors.git, commit";
const LOCAL: &str = "refs/heads/anchors";
const REMOTE: &str = "refs/remotes/origin/anchors";

/// A stream for `git fast-import` as it was imported.
struct Imported {
    git: Repository,
    _folder: tempfile::TempDir,
}

impl Imported {
    fn new(stream: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (clone, file) = (folder.path().join(CLONE), folder.path().join("stream"));
        std::fs::write(&file, stream).expect("written");
        import(&clone, &file);
        Self { git: Repository::open_bare(clone).expect("opened"), _folder: folder }
    }

    fn reference(&self, name: &str) -> Oid {
        self.git.refname_to_id(name).expect("a reference")
    }

    /// The commit `before_newest` steps before the newest of the branch.
    fn commit(&self, before_newest: usize) -> git2::Commit<'_> {
        let newest = self.git.find_commit(self.reference(LOCAL)).expect("there");
        (0..before_newest).fold(newest, |commit, _| commit.parent(0).expect("a parent"))
    }

    fn tree(&self, before_newest: usize) -> Oid {
        self.commit(before_newest).tree_id()
    }

    fn file(&self, before_newest: usize, name: &str) -> Oid {
        let tree = self.commit(before_newest).tree().expect("a tree");
        let path = format!("logs/{}/{name}", folder(crate::common::ORIGIN));
        tree.get_path(std::path::Path::new(&path)).expect("there").id()
    }
}

fn absent_from(clone: &str, id: Oid) -> Change {
    let id = id.to_string();
    Change::absent(format!("{clone}/objects/{}/{}", &id[..2], &id[2..]))
}

fn absent(id: Oid) -> Change {
    absent_from(CLONE, id)
}

/// A reference that the clone of the vectors lacks.
fn reference(name: &str, text: &str) -> Change {
    Change::splice(&format!("{CLONE}/{name}"), 0, 0, format!("{text}\n").as_bytes())
}

/// A commit on top of a branch, with one more file.
fn commit_on_top(branch: &str, more: &str, file: &str) -> String {
    let time = T0 + 200;
    format!(
        "commit {branch}\ncommitter a <a@example.com> {time} +0000\ndata 1\nx\n{more}M 100644 inline {file}\ndata 1\nx\n\n"
    )
}

impl Golden {
    pub(super) fn copies(&self) -> Vec<Case> {
        [self.absent_objects(), self.forks(), self.two_copies(), self.references(), self.findings()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn absent_objects(&self) -> Vec<Case> {
        let whole = Imported::new(&self.files[STREAM_FILE]);
        let third = format!("M 100644 inline logs/{}/notes\ndata 1\nx\n", folder(crate::common::ORIGIN));
        let third = Change::splice(STREAM_FILE, self.files[STREAM_FILE].len() - 1, 0, third.as_bytes());
        let three = self.fast_import(&[(3, 0), (5, 30), (11, 60)]);
        let first = Imported::new(&three).commit(2).id();
        let pinned = Inputs { pin: true, ..Inputs::default() };
        let pin = || vec![self.replace("pin", "size 11", "size 7"), self.replace_root(7)];
        vec![
            self.damaged("a shallow clone", vec![absent(whole.commit(1).id())], 3, "incomplete-clone", COMMIT),
            self.damaged(
                "of a shallow clone's anchors the oldest one does not count",
                vec![absent(whole.commit(2).id())],
                3,
                "incomplete-clone",
                COMMIT,
            ),
            self.damaged("a gap between two anchors", vec![absent(whole.tree(1))], 3, "incomplete-clone", COMMIT),
            self.damaged(
                "one kind of damage in all commits is one finding",
                vec![absent(whole.file(0, "consistency")), absent(whole.file(1, "consistency"))],
                3,
                "incomplete-clone",
                COMMIT,
            ),
            self.damaged("a third file beside the newest anchor alone", vec![third], 5, "unreadable-clone", COMMIT),
            self.case(
                "a shallow clone that was read past the pinned head",
                [pin(), vec![self.stream_instead(&three), absent(first)]].concat(),
                pinned.clone(),
                1,
                Some(("rewritten-history", CLONE)),
            ),
            self.case(
                "a shallow clone that was not read past the pinned head",
                [pin(), vec![absent(whole.commit(1).id())]].concat(),
                pinned,
                3,
                Some(("incomplete-clone", COMMIT)),
            ),
        ]
    }

    fn forks(&self) -> Vec<Case> {
        let other = Self::with_gap_of(3);
        let stream = other.fast_import(&[(5, 0), (11, 60)]);
        let fork = Imported::new(&stream);
        let text = String::from_utf8(stream.clone()).expect("text");
        let forged = text.replace("\n11\n", "\n10\n");
        let with = |change: Change| vec![self.stream_instead(&stream), change];
        let second = |stream: &[u8]| Change::splice(SECOND_STREAM_FILE, 0, 0, stream);
        let under_honest = [
            &text.as_bytes()[..text.match_indices("commit refs").nth(1).expect("two commits").0],
            &self.fast_import(&[(11, 120)]),
        ]
        .concat();
        let gap = Imported::new(&under_honest);
        vec![
            self.damaged("a fork", vec![self.stream_instead(&stream)], 1, "fork", COMMIT),
            self.damaged("a fork in a shallow clone", with(absent(fork.commit(1).id())), 1, "fork", COMMIT),
            self.damaged(
                "of a fork the file consistency alone can be read",
                with(absent(fork.file(0, "checkpoint"))),
                1,
                "fork",
                COMMIT,
            ),
            self.damaged(
                "of a fork the file checkpoint alone can be read",
                with(absent(fork.file(0, "consistency"))),
                1,
                "fork",
                COMMIT,
            ),
            self.damaged(
                "a fork in a second clone, which is shallow",
                vec![second(&stream), absent_from("second.git", fork.commit(1).id())],
                1,
                "fork",
                "second.git, commit",
            ),
            self.damaged(
                "another head of this size in a second clone, not signed by the log",
                vec![second(forged.as_bytes())],
                1,
                "bad-signature",
                "second.git, commit",
            ),
            self.damaged(
                "a fork under a commit that does not follow from it, whose tree is there",
                vec![self.stream_instead(&under_honest)],
                1,
                "inconsistent-anchors",
                COMMIT,
            ),
            self.damaged(
                "a fork of a size inside the bundle, under an anchor whose proof is absent",
                vec![self.stream_instead(&under_honest), absent(gap.file(0, "consistency"))],
                1,
                "fork",
                COMMIT,
            ),
        ]
    }

    fn two_copies(&self) -> Vec<Case> {
        let whole = Imported::new(&self.files[STREAM_FILE]);
        let stream = &self.files[STREAM_FILE];
        let with = |more: &[u8]| self.stream_instead(&[&stream[..], more].concat());
        let beside = self.fast_import_to(REMOTE, &[(5, 0), (8, 30)]);
        let time_back = self.fast_import(&[(5, 60), (8, 30), (11, 0)]);
        let gap = Imported::new(&time_back).tree(1);
        vec![
            self.case(
                "an older copy of the branch",
                vec![reference(REMOTE, &whole.commit(1).id().to_string())],
                Inputs::default(),
                0,
                None,
            ),
            self.damaged(
                "a copy whose newest anchor is not in the longer one",
                vec![with(&beside)],
                1,
                "rewritten-history",
                CLONE,
            ),
            self.damaged(
                "a copy whose newest anchor may be in a gap of the longer one",
                vec![with(&beside), absent(whole.tree(2))],
                3,
                "incomplete-clone",
                COMMIT,
            ),
            self.damaged("a time goes back", vec![self.stream_instead(&time_back)], 1, "time-backwards", COMMIT),
            self.damaged(
                "a time goes back across a gap",
                vec![self.stream_instead(&time_back), absent(gap)],
                1,
                "time-backwards",
                COMMIT,
            ),
        ]
    }

    fn references(&self) -> Vec<Case> {
        let stream = &self.files[STREAM_FILE];
        let whole = Imported::new(stream);
        let id = whole.reference(LOCAL).to_string();
        let local =
            |text: &str| Change::splice(&format!("{CLONE}/{LOCAL}"), 0, id.len() + 1, format!("{text}\n").as_bytes());
        let proven = |name, changes| self.case(name, changes, Inputs::default(), 0, None);
        let tag = [&stream[..], b"tag v1\nfrom refs/heads/anchors\ntagger a <a@example.com> 0 +0000\ndata 1\nx\n"];
        let tag_id = Imported::new(&tag.concat()).reference("refs/tags/v1").to_string();
        let team = commit_on_top("refs/remotes/origin/team/anchors", "", "x");
        vec![
            proven(
                "the branch is a symbolic reference",
                vec![reference("refs/heads/main", &id), local("ref: refs/heads/main")],
            ),
            self.damaged(
                "the branch is a symbolic reference to nothing",
                vec![local("ref: refs/heads/main")],
                5,
                "unreadable-clone",
                CLONE,
            ),
            self.damaged(
                "the branch is a symbolic reference to a file outside of refs",
                vec![local("ref: refs/../HEAD")],
                5,
                "unreadable-clone",
                CLONE,
            ),
            self.damaged(
                "the branch ends in a tag",
                vec![self.stream_instead(&tag.concat()), local(&tag_id)],
                5,
                "unreadable-clone",
                COMMIT,
            ),
            proven(
                "the name of the remote has a slash",
                vec![Change::absent(format!("{CLONE}/{LOCAL}")), reference("refs/remotes/up/stream/anchors", &id)],
            ),
            proven(
                "another branch of a remote, which is not about the log",
                vec![self.stream_instead(&[&stream[..], team.as_bytes()].concat())],
            ),
            self.damaged(
                "a reference that cannot be read beside one that can",
                vec![reference(REMOTE, "x")],
                5,
                "unreadable-clone",
                CLONE,
            ),
            self.damaged(
                "no branch of this name",
                vec![Change::absent(format!("{CLONE}/{LOCAL}"))],
                4,
                "no-branch",
                CLONE,
            ),
        ]
    }

    fn findings(&self) -> Vec<Case> {
        let stream = &self.files[STREAM_FILE];
        let with = |more: &str| self.stream_instead(&[&stream[..], more.as_bytes()].concat());
        let side = commit_on_top("refs/heads/side", "", "x");
        let merge = side + &commit_on_top(LOCAL, "merge refs/heads/side\n", "x");
        let without = commit_on_top(LOCAL, "deleteall\n", "x");
        let mut wrong = String::from_utf8(stream.clone()).expect("text");
        let newest = wrong.rfind("\nold 11\n").expect("there") + "\nold 1".len();
        wrong.replace_range(newest..=newest, "0");
        let on_top = wrong + &commit_on_top(LOCAL, "", "logs/of-another-log/checkpoint");
        let first = self.fast_import(&[(5, 0)]);
        let two = Inputs { expect: vec!["orders/0#0@0..4", "orders/0#1@12..13"], ..Inputs::default() };
        vec![
            self.damaged("a commit with two parents", vec![with(&merge)], 1, "rewritten-history", COMMIT),
            self.damaged("the log's folder is gone", vec![with(&without)], 1, "rewritten-history", COMMIT),
            self.damaged(
                "an anchor that follows from another one, under a commit about another log",
                vec![self.stream_instead(on_top.as_bytes())],
                1,
                "inconsistent-anchors",
                COMMIT,
            ),
            self.case(
                "an anchor covers the newest statement of one stream and not of the other",
                vec![self.stream_instead(&first)],
                two,
                4,
                Some(("not-anchored", "- orders 0 1")),
            ),
        ]
    }

    /// Replaces the clone of the vectors.
    fn stream_instead(&self, stream: &[u8]) -> Change {
        Change::splice(STREAM_FILE, 0, self.files[STREAM_FILE].len(), stream)
    }
}
