//! The ledger of a case: its services and commands, and their acknowledgements.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use evidence::{EventRef, Hash, SignedCheckpoint};
use kafka::{Reader, TopicPartition};
use serde_json::{Value, json};
use testbed::{Process, git, http_get, http_post, run, streamseal, until};

use crate::site::Site;
use crate::strace::Trace;
use testbed::anchors::{BRANCH, anchored_size};
use testbed::ledger::{Verification, number, verify};

/// Time for something that takes less than a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A ledger.
pub(crate) struct Place<'a> {
    pub(crate) site: &'a Site,
    folder: PathBuf,
    committer: SocketAddr,
    commitments: String,
    /// The first entry that must be published.
    pub(crate) published: u64,
    /// Number of acknowledged batches.
    pub(crate) sealed: usize,
    /// Acknowledged entries, by seq.
    pub(crate) acknowledged: BTreeMap<u64, String>,
    /// Heads that were served.
    pub(crate) heads: Vec<(u64, Hash)>,
    /// Commits that were served.
    pub(crate) commits: Vec<String>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(
        site: &'a Site,
        folder: PathBuf,
        [committer, _]: [SocketAddr; 2],
        commitments: String,
        (sealed, published): (usize, u64),
    ) -> Self {
        let (acknowledged, heads, commits) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { site, folder, committer, commitments, published, sealed, acknowledged, heads, commits }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The repository to which anchors are pushed.
    pub(crate) fn remote(&self) -> PathBuf {
        self.join("anchors.git")
    }

    /// A command's arguments with the configuration.
    pub(crate) fn with_config(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).arg("--config").arg(self.join("streamseal.toml"));
        command
    }

    pub(crate) fn committer(&self) -> Process {
        self.start("committer", Process::command(streamseal()))
    }

    pub(crate) fn anchor(&self) -> Process {
        self.start("anchor", Process::command(streamseal()))
    }

    /// Starts a service under strace.
    pub(crate) fn traced(&self, service: &str, trace: &Trace) -> Process {
        self.start(service, trace.command(streamseal()))
    }

    fn start(&self, service: &str, command: Command) -> Process {
        let log = self.folder.with_extension(format!("{service}.log"));
        Process::start(service, log, self.with_config(command, &[service]))
    }

    /// Stops a service cleanly.
    pub(crate) fn stop(&self, service: &Process) {
        let status = service.stop();
        assert!(status.success(), "{service:?}: {status}");
    }

    /// Submits summaries in order until they are acknowledged or the committer has ended. Returns whether all are
    /// acknowledged.
    pub(crate) fn seal(&mut self, batches: Range<usize>, committer: &Process) -> bool {
        for batch in batches {
            let mut ended = false;
            until("a summary is acknowledged, or the committer ends", SOON, || {
                let done = self.submit(batch);
                ended = !done && committer.exited().is_some();
                Trace::count(&self.folder).let_go_if_hit(committer.pid());
                done || ended
            });
            if ended {
                return false;
            }
            self.sealed = self.sealed.max(batch + 1);
            self.take_head();
        }
        true
    }

    /// Submits a summary and returns whether it was acknowledged. A repeated summary always gets the same entry.
    fn submit(&mut self, batch: usize) -> bool {
        let body = json!({ "statements": [self.site.summaries[batch]] }).to_string();
        let Some((200, answer)) = http_post(self.committer, "/v1/statements", &body) else { return false };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["stopped"].is_null(), "batch {batch} is refused: {answer:#}");
        let accepted = &answer["accepted"][0];
        let seq = accepted["seq"].as_str().unwrap().parse().unwrap();
        let entry = accepted["entry"].as_str().unwrap().to_owned();
        let before = self.acknowledged.insert(seq, entry.clone());
        assert!(before.is_none_or(|before| before == entry), "two entries {seq} were acknowledged");
        true
    }

    /// Reads the newest checkpoint.
    fn take_head(&mut self) {
        if let Some((200, text)) = http_get(self.committer, "/checkpoint") {
            let signed = SignedCheckpoint::parse(text.as_bytes()).unwrap();
            self.heads.push((signed.checkpoint().size, signed.checkpoint().root));
        }
    }

    /// A number of the committer's status; `None` while it does not answer.
    pub(crate) fn status(&self, field: &str) -> Option<u64> {
        let (_, body) = http_get(self.committer, "/v1/status").filter(|(status, _)| *status == 200)?;
        serde_json::from_str::<Value>(&body).ok()?[field].as_str()?.parse().ok()
    }

    /// Waits until the committer has signed and published all its entries, or has ended.
    pub(crate) fn until_signed(&mut self, committer: &Process) {
        until("all is signed and published, or the committer ends", SOON, || {
            self.take_head();
            let size = self.status("size");
            let signed = self.heads.last().map(|(size, _)| *size);
            let done = size.is_some() && signed >= size && self.status("published_size") == size;
            done || committer.exited().is_some()
        });
    }

    /// The values in the topic of commitments.
    pub(crate) fn commitments(&self) -> Vec<Vec<u8>> {
        let mut reader = Reader::new(&self.site.properties(), SOON).unwrap();
        let mut commitments = Vec::new();
        let visit = |event: &EventRef<'_>| {
            commitments.push(event.value.unwrap().to_vec());
            Ok::<_, kafka::Error>(())
        };
        reader.read(&TopicPartition::new(self.commitments.as_str(), 0), 0..i64::MAX, visit).unwrap();
        commitments
    }

    /// The number of published entries.
    pub(crate) fn published_size(&self) -> u64 {
        let last: Value = serde_json::from_slice(self.commitments().last().unwrap()).unwrap();
        number(&last["seq"]).unwrap() + 1
    }

    /// Waits until the remote has an anchor of all entries, or the anchor has ended.
    pub(crate) fn until_anchored(&self, anchor: &Process) {
        let mut size = None;
        until("all is anchored, or the anchor ends", SOON, || {
            size = size.or_else(|| self.status("size"));
            let done = size.is_some() && anchored_size(&self.remote(), self.site.origin()) >= size;
            done || anchor.exited().is_some()
        });
    }

    /// Remembers the present commits of the anchor's repository and of the remote.
    pub(crate) fn take_commits(&mut self) {
        for repository in [self.join("anchor.git"), self.remote()] {
            let list = git().arg("-C").arg(&repository).args(["rev-list", BRANCH]).output().unwrap();
            // There may be no repository yet, or a partial one.
            if list.status.success() {
                self.commits.extend(String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned));
            }
        }
    }

    /// `streamseal committer fsck`.
    pub(crate) fn fsck(&self) {
        let mut fsck = self.with_config(Command::new(streamseal()), &["committer"]);
        run(fsck.arg("fsck"));
    }

    /// Runs `streamseal export` for everything.
    pub(crate) fn export(&self, target: &Path) -> Output {
        self.with_config(Command::new(streamseal()), &["export"]).arg(target).output().unwrap()
    }

    /// Runs an anchor until all entries are anchored.
    pub(crate) fn anchor_all(&self) {
        let anchor = self.anchor();
        self.until_anchored(&anchor);
        assert!(anchor.exited().is_none(), "the anchor does not run:\n{}", anchor.log_text());
        self.stop(&anchor);
    }

    /// Exports everything to a folder in the ledger's folder.
    pub(crate) fn export_to(&self, name: &str) {
        let Output { status, stderr, .. } = self.export(&self.join(name));
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    }

    /// Verifies a bundle with the folder's clone and pin file.
    pub(crate) fn verify(&self, bundle: &str) -> Verification {
        verify(&self.trust(), &self.join(bundle), &self.join("clone"), Some(&self.join("pin")))
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.join("trust")
    }

    /// The content of a file; `None` if it does not exist.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.join(name)).ok()
    }
}
