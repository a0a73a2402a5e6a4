//! A small log over HTTP that a test can make misbehave, and an anchor that reads it.

#![allow(dead_code)] // Each test program uses some of it.

mod witness;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anchor::Config;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use evidence::chain::State as ChainState;
use evidence::incident::Incident;
use evidence::statement::{Action, Genesis, KeyStatement, LedgerId, Role};
use evidence::tile::Tile;
use evidence::tree::{CompactRange, leaf_hash};
use evidence::witness::AddCheckpoint;
use evidence::{
    Algorithm, Checkpoint, Entry, Hash, SignedCheckpoint, SignedStatement, SigningKey, Statement, VerifierKey,
};
use service::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
#[allow(unused_imports)] // As above.
pub(crate) use witness::Witness;

pub(crate) const ORIGIN: &str = "example.com/audit";

/// The key of the log.
pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32]).expect("a name")
}

/// The key that may sign for the operator.
pub(crate) fn operator_key() -> SigningKey {
    SigningKey::from_seed("operator", Algorithm::Ed25519, &[3; 32]).expect("a name")
}

fn genesis() -> SignedStatement {
    let genesis = Genesis {
        origin: ORIGIN.into(),
        nonce: Hash([0; 32]),
        operator: operator_key().verifier_key().clone(),
        log: log_key().verifier_key().clone(),
        continues: None,
    };
    SignedStatement::sign(Statement::Genesis(genesis), &[&operator_key(), &log_key()])
}

pub(crate) fn ledger() -> LedgerId {
    LedgerId { origin: ORIGIN.into(), genesis: genesis().hash() }
}

/// The key of the anchor.
pub(crate) fn anchor_key() -> SigningKey {
    SigningKey::from_seed("anchor-a", Algorithm::Cosignature, &[2; 32]).expect("a name")
}

/// What the log serves. A test sets it as needed.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) leaves: Vec<Hash>,
    pub(crate) checkpoint: Option<Vec<u8>>,
    /// The genesis and key entries, in order.
    pub(crate) keys: Vec<Entry>,
    /// The answer to every request for a tile, instead of the tile.
    pub(crate) tile: Option<Vec<u8>>,
}

/// A log over HTTP.
pub(crate) struct Log {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<Mutex<Served>>,
    server: JoinHandle<()>,
}

/// Leaves of a log; a history is a name, and histories differ from entry `from` on.
pub(crate) fn leaves(size: u64, from: u64, history: &str) -> Vec<Hash> {
    let entry = |i: u64| if i < from { format!("entry {i}") } else { format!("entry {i} of {history}") };
    (0..size).map(|i| leaf_hash(entry(i).as_bytes())).collect()
}

pub(crate) fn root(leaves: &[Hash]) -> Hash {
    let mut range = CompactRange::starting_at(0);
    leaves.iter().for_each(|leaf| range.push_leaf(*leaf));
    range.root()
}

pub(crate) fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: leaves.len() as u64, root: root(leaves) }
}

impl Log {
    /// A log of `size` entries.
    pub(crate) async fn start(size: u64) -> Self {
        let served = Served { leaves: Vec::new(), checkpoint: None, keys: Vec::new(), tile: None };
        let served = Arc::new(Mutex::new(served));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&served));
        let (address, server) = serve(router).await;
        let log = Self { address, served, server };
        log.append_key(0, genesis());
        log.set(leaves(size, u64::MAX, ""));
        log
    }

    /// Serves these leaves, with a signed checkpoint over them.
    pub(crate) fn set(&self, leaves: Vec<Hash>) {
        self.set_signed(leaves, &log_key());
    }

    /// The same with another log key.
    pub(crate) fn set_signed(&self, leaves: Vec<Hash>, key: &SigningKey) {
        let signed = SignedCheckpoint::sign(checkpoint(&leaves), key);
        self.update(|served| {
            served.checkpoint = Some(signed.to_bytes());
            served.leaves = leaves;
            served.tile = None;
        });
    }

    /// The honest log with this many entries.
    pub(crate) fn grow(&self, size: u64) {
        self.set(leaves(size, u64::MAX, ""));
    }

    /// Makes a key statement the entry `seq`.
    fn append_key(&self, seq: u64, statement: SignedStatement) {
        self.update(|served| {
            let mut state = ChainState::of_keys(&ledger(), &served.keys).expect("valid so far");
            state.skip_to(seq);
            let mut entry = state.draft(statement, 0);
            // This log has no real entries before the key statement, so it names a made-up one.
            entry.prev = entry.prev.or_else(|| (seq > 0).then_some(Hash([0; 32])));
            served.keys.push(entry);
        });
    }

    /// The operator grants or revokes a log key in entry `seq`.
    pub(crate) fn change_log_key(&self, seq: u64, action: Action, key: &SigningKey) {
        let served = self.served.lock().expect("not poisoned").clone();
        let state = ChainState::of_keys(&ledger(), &served.keys).expect("valid so far");
        let statement = KeyStatement {
            ledger: ledger(),
            action,
            role: Role::Log,
            key: key.verifier_key().clone(),
            topics: Vec::new(),
            distrust_from: None,
            prev: state.keys().statement().expect("a genesis"),
        };
        self.append_key(seq, SignedStatement::sign(Statement::Key(statement), &[&operator_key()]));
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served.lock().expect("not poisoned"));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(served): State<Arc<Mutex<Served>>>, request: Request) -> Response {
    let served = served.lock().expect("not poisoned").clone();
    let path = request.uri().path().trim_start_matches('/');
    let body = if path == "checkpoint" {
        served.checkpoint
    } else if path == "v1/keys" {
        let text = |entry: &Entry| String::from_utf8(entry.to_bytes()).expect("text");
        return axum::Json(committer_client::Keys { entries: served.keys.iter().map(text).collect() }).into_response();
    } else {
        let tile = path.parse::<Tile>().ok();
        served.tile.or_else(|| tile_bytes(tile?, &served.leaves))
    };
    match body {
        Some(body) => body.into_response(),
        None => (StatusCode::NOT_FOUND, r#"{"code":"not-found","message":"not found"}"#).into_response(),
    }
}

fn tile_bytes(tile: Tile, leaves: &[Hash]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for node in tile.nodes() {
        let range = node.range();
        bytes.extend_from_slice(root(leaves.get(range.start as usize..range.end as usize)?).as_bytes());
    }
    Some(bytes)
}

async fn serve(router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    (address, server)
}

/// The folder of an anchor: key, state files, repository.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl Site {
    /// `more` is TOML that is added to the configuration.
    pub(crate) fn new(log: &Log, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        keystore::write_signing_key(&folder.path().join("anchor.key"), &anchor_key()).expect("written");
        let config = config(log, folder.path(), more);
        Self { folder, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces what is added to the configuration.
    pub(crate) fn reconfigure(&mut self, log: &Log, more: &str) {
        self.config = config(log, self.folder.path(), more);
    }

    pub(crate) async fn start(&self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let task = tokio::spawn(anchor::run(self.config.clone(), ledger(), listener, shutdown.clone()));
        Running { address, shutdown, task }
    }

    /// Runs an anchor that must refuse to run, and returns the reason.
    pub(crate) async fn refusal(&self) -> String {
        let running = self.start().await;
        let ended = tokio::time::timeout(DEADLINE, running.task).await.expect("it ends by itself");
        format!("{:#}", ended.expect("no panic").expect_err("it refuses"))
    }

    /// The stored incidents, each with the name of its file.
    pub(crate) fn incidents(&self) -> Vec<(String, Incident)> {
        let Ok(entries) = fs::read_dir(self.path("incidents")) else { return Vec::new() };
        let read = |path: PathBuf| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, Incident::parse(&fs::read(path).expect("read")).expect("an incident"))
        };
        entries.map(|entry| read(entry.expect("listed").path())).collect()
    }

    /// Runs an anchor until the branch has an anchor of this size and every remote of the configuration has it too.
    pub(crate) async fn run_until(&self, size: u64) {
        let running = self.start().await;
        self.until_anchored(size).await;
        for remote in &self.config.remotes {
            until("the remote has it", || tip(Path::new(&remote.url)) == self.tip()).await;
        }
        running.until_ready().await;
        running.stop().await;
    }

    pub(crate) async fn until_anchored(&self, size: u64) {
        let repository = self.path("anchor.git");
        until(&format!("an anchor of size {size}"), || {
            newest(&repository).is_some_and(|a| a.checkpoint.checkpoint().size == size)
        })
        .await;
    }

    pub(crate) fn anchors(&self) -> Vec<AddCheckpoint> {
        anchors(&self.path("anchor.git"))
    }

    pub(crate) fn tip(&self) -> Option<String> {
        tip(&self.path("anchor.git"))
    }

    /// Copies the file or folder `name`, so that the test can put it back later.
    pub(crate) fn save(&self, name: &str) -> Saved {
        let copy = tempfile::tempdir().expect("a folder");
        let path = self.path(name);
        let present = path.exists();
        if present {
            run(Command::new("cp").arg("-a").arg(&path).arg(copy.path().join("copy")));
        }
        Saved { path, copy, present }
    }
}

fn config(log: &Log, folder: &Path, more: &str) -> Config {
    let text = format!(
        "key = 'anchor.key'\ncommitter = 'http://{}'\nrepository = 'anchor.git'\ninterval_s = 1\n{more}",
        log.address
    );
    let mut config: Config = service::config::parse(&text, Path::new("test.toml")).expect("valid");
    config.resolve(folder);
    config
}

/// A copy of a file or folder.
pub(crate) struct Saved {
    path: PathBuf,
    copy: tempfile::TempDir,
    present: bool,
}

impl Saved {
    pub(crate) fn restore(&self) {
        if self.path.is_dir() {
            fs::remove_dir_all(&self.path).expect("removed");
        } else if self.path.exists() {
            fs::remove_file(&self.path).expect("removed");
        }
        if self.present {
            run(Command::new("cp").arg("-a").arg(self.copy.path().join("copy")).arg(&self.path));
        }
    }
}

/// An anchor that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("it ends");
        ended.expect("no panic").expect("ends well");
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.expect("answers");
        (response.status().as_u16(), response.text().await.expect("text"))
    }

    pub(crate) async fn until_ready(&self) {
        self.until_readiness("readiness", |status, _| status == 200).await;
    }

    /// Waits until the anchor is not ready for this reason.
    pub(crate) async fn until_not_ready(&self, reason: &str) {
        self.until_readiness(reason, |status, text| status == 503 && text.contains(reason)).await;
    }

    async fn until_readiness(&self, what: &str, wanted: impl Fn(u16, &str) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            let (status, text) = self.get("/readyz").await;
            if wanted(status, &text) {
                return;
            }
            assert!(Instant::now() < end, "waited for {what:?}, last was {status} {text:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a metric has this value: a push may be counted a little later.
    pub(crate) async fn until_metric(&self, name: &str, value: f64) {
        let end = Instant::now() + DEADLINE;
        loop {
            let found = self.metric(name).await;
            if found == value {
                return;
            }
            assert!(Instant::now() < end, "waited for {name} to be {value}, last was {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A metric's value, by its name with labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a program that must succeed, and returns what it prints.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Git, in a repository.
#[track_caller]
pub(crate) fn git(repository: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Mallory").env(format!("GIT_{role}_EMAIL"), "m@example.com");
    }
    run(command.arg("-C").arg(repository).args(arguments)).trim_end().to_owned()
}

/// The newest commit of the branch.
pub(crate) fn tip(repository: &Path) -> Option<String> {
    let git = git2::Repository::open_bare(repository).ok()?;
    let reference = git.find_reference("refs/heads/anchors").ok()?;
    Some(reference.target()?.to_string())
}

/// The log's anchor in the newest commit.
pub(crate) fn newest(repository: &Path) -> Option<AddCheckpoint> {
    let git = git2::Repository::open_bare(repository).ok()?;
    let commit = git.find_reference("refs/heads/anchors").ok()?.peel_to_commit().ok()?;
    anchor_in(&git, &commit)
}

/// All anchors in a repository, oldest first, each verified to follow from the one before, from a branch that is linear
/// and begins without a parent.
pub(crate) fn anchors(repository: &Path) -> Vec<AddCheckpoint> {
    let git = git2::Repository::open_bare(repository).expect("a repository");
    let mut commit = git.find_reference("refs/heads/anchors").expect("there").peel_to_commit().expect("a commit");
    let mut anchors = Vec::new();
    loop {
        anchors.push(anchor_in(&git, &commit).expect("every commit has an anchor"));
        assert!(commit.parent_count() <= 1, "the branch is linear");
        let Ok(parent) = commit.parent(0) else { break };
        commit = parent;
    }
    anchors.reverse();
    // Commits of other logs leave this log's files as they were.
    anchors.dedup();
    let (log, anchor) = (log_key(), anchor_key());
    let mut before: Option<&Checkpoint> = None;
    let mut last_time = 0;
    for anchor_made in &anchors {
        anchor_made.verify_step(before).expect("follows from the one before");
        anchor_made.checkpoint.verify(log.verifier_key()).expect("signed by the log");
        let time = verify_cosignature(&anchor_made.checkpoint, anchor.verifier_key());
        assert!(time >= last_time, "times never decrease");
        last_time = time;
        before = Some(anchor_made.checkpoint.checkpoint());
    }
    anchors
}

pub(crate) fn verify_cosignature(checkpoint: &SignedCheckpoint, key: &VerifierKey) -> u64 {
    checkpoint.note().verify_cosignature(key).expect("cosigned")
}

fn anchor_in(git: &git2::Repository, commit: &git2::Commit<'_>) -> Option<AddCheckpoint> {
    let name: String = evidence::sha256(ORIGIN.as_bytes()).0.iter().map(|b| format!("{b:02x}")).collect();
    let tree = commit.tree().ok()?;
    let file = |file: &str| {
        let entry = tree.get_path(&Path::new("logs").join(&name).join(file)).ok()?;
        Some(git.find_blob(entry.id()).ok()?.content().to_vec())
    };
    let anchor = AddCheckpoint::parse(&file("consistency")?).expect("a request in its only spelling");
    assert_eq!(file("checkpoint").expect("beside it"), anchor.checkpoint.to_bytes());
    Some(anchor)
}

/// A bare repository made by Git itself.
pub(crate) fn bare(path: &Path) {
    run(Command::new("git").args(["init", "--quiet", "--bare"]).arg(path));
}

/// Remotes by path, as TOML.
pub(crate) fn remotes(paths: &[&Path]) -> String {
    paths.iter().map(|path| format!("[[remotes]]\nurl = '{}'\n", path.display())).collect()
}
