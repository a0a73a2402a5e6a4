//! The cost of an anchor in a repository with many anchors.

use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use testbed::{BareRepository, Process, free_port, git, http_get, run as run_command, until};

use crate::line::Line;
use crate::{Better, Case, Context, Goal, Measurement};

pub(super) const CASE: Case = Case {
    name: "anchor",
    about: "Processor time that the anchor takes for one anchor (a look at the committer, the cosignature, the commit, the push \
            to a remote by path), with repository and remote holding that many already. Three anchors of one ledger work \
            at the same time, an anchor a second each; the baseline is the one with a short history.",
    run,
};

/// Lengths of the history; the first one is the baseline.
const HISTORIES: [u32; 3] = [10, 1_000, 100_000];

/// Maximum ratio to the baseline. A cost that grows with the history would exceed it many times.
const RATIO_MAX: f64 = 1.2;

/// Length of each sample, with an anchor per second.
const WINDOW: Duration = Duration::from_secs(10);

/// For an anchor to be made, and the first ones after a start are not counted.
const ANCHORED_WITHIN: Duration = Duration::from_secs(60);
const WARM_UP: f64 = 3.0;

const BRANCH: &str = "refs/heads/anchors";

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let topic = testbed::unique("anchored");
    let line = Line::start(context.servers, &[&topic], context.line)?;
    let folder = context.scratch("anchors");
    let histories = HISTORIES.map(|anchors| context.size(anchors, anchors.min(100)));
    let sites: Vec<_> =
        histories.iter().map(|&anchors| Site::make(&line, folder.path(), anchors)).collect::<anyhow::Result<_>>()?;
    let running: Vec<_> = sites.iter().map(Site::start).collect();
    for (site, process) in sites.iter().zip(&running) {
        until("the first anchors", ANCHORED_WITHIN, || {
            process.assert_running();
            site.anchors() >= WARM_UP
        });
    }
    let mut samples = vec![Vec::new(); sites.len()];
    for _ in 0..context.runs {
        let state = || sites.iter().zip(&running).map(|(site, process)| (site.anchors(), cpu_ms(process.pid())));
        let before: Vec<_> = state().collect();
        std::thread::sleep(context.size(WINDOW, WINDOW / 4));
        // On a busy machine, it takes longer until each anchor made one.
        for (site, before) in sites.iter().zip(&before) {
            until("an anchor", ANCHORED_WITHIN, || site.anchors() > before.0);
        }
        for ((samples, before), after) in samples.iter_mut().zip(before).zip(state()) {
            let anchors = after.0 - before.0;
            samples.push((after.1 - before.1) / anchors);
        }
    }
    let baseline = samples.remove(0);
    for (anchors, samples) in HISTORIES[1..].iter().zip(samples) {
        let name = format!("{anchors} anchors in the repository");
        let measured = Measurement::new(name, "ms", Better::Lower, samples)
            .against(&format!("{} anchors", HISTORIES[0]), baseline.clone())
            .goal(Goal::RatioAtMost(RATIO_MAX));
        context.record(measured)?;
    }
    Ok(())
}

/// An anchor service with its key, its repository and a remote.
struct Site {
    binary: PathBuf,
    config: PathBuf,
    address: SocketAddr,
}

impl Site {
    /// Starts an anchor, gives it and its remote a history of `anchors` anchors, and lets it continue.
    fn make(line: &Line, folder: &Path, anchors: u32) -> anyhow::Result<Self> {
        let name = testbed::unique("anchor");
        let folder = folder.join(&name);
        std::fs::create_dir(&folder)?;
        let (key, own) = (folder.join("anchor.key"), folder.join("own.git"));
        std::fs::copy(line.file("keys/anchor.key"), &key)?;
        let remote = BareRepository::new(folder.join("remote.git"));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = |path: &Path| toml::Value::String(path.display().to_string());
        let remotes = toml::Table::from_iter([
            ("name".to_owned(), toml::Value::from("remote")),
            ("url".to_owned(), text(remote.path())),
        ]);
        let config = line.configured(
            &name,
            &[
                ("anchor.key".to_owned(), text(&key)),
                ("anchor.repository".to_owned(), text(&own)),
                ("anchor.remotes".to_owned(), toml::Value::Array(vec![remotes.into()])),
                ("anchor.listen".to_owned(), toml::Value::from(address.to_string())),
                ("anchor.interval_s".to_owned(), toml::Value::Integer(1)),
                ("anchor.heartbeat_s".to_owned(), toml::Value::Integer(1)),
            ],
        )?;
        let site = Self { binary: line.binary().to_owned(), config, address };
        let first = site.start();
        until("the first anchor", ANCHORED_WITHIN, || {
            first.assert_running();
            site.anchors() >= 1.0
        });
        first.stop();
        let tip = write_history(&own, anchors)?;
        run_command(git().arg("-C").arg(&own).args(["push", "--quiet", "--force"]).arg(remote.path()).arg(BRANCH));
        let mut adopt = Command::new(&site.binary);
        run_command(adopt.args(["anchor", "--config"]).arg(&site.config).args(["adopt", "remote"]));
        // Packs as the anchor itself would. Otherwise it would first pack the whole history.
        std::fs::write(own.join("anchor-packs"), format!("streamseal/anchor-packs@v1\nmerged {tip}\n"))?;
        Ok(site)
    }

    fn start(&self) -> Process {
        let mut command = Process::command(&self.binary);
        command.env("RUST_LOG", "info").args(["anchor", "--config"]).arg(&self.config);
        Process::start("anchor", self.config.with_extension("log"), command)
    }

    /// Number of anchors since its start.
    fn anchors(&self) -> f64 {
        let metrics = http_get(self.address, "/metrics").map(|(_, text)| text).unwrap_or_default();
        let count = metrics.lines().find_map(|line| line.strip_prefix("streamseal_anchor_anchors_total "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0.0)
    }
}

/// Puts a history of commits below the branch's newest anchor, with files of the same size. Returns the new tip.
fn write_history(repository: &Path, anchors: u32) -> anyhow::Result<String> {
    let in_it = |arguments: &[&str]| run_command(git().arg("-C").arg(repository).args(arguments)).trim_end().to_owned();
    let files = in_it(&["ls-tree", "-r", "--format=%(objectsize) %(path)", BRANCH]);
    let files: Vec<(usize, &str)> = files
        .lines()
        .map(|line| line.split_once(' ').and_then(|(size, path)| Some((size.parse().ok()?, path))).context("a file"))
        .collect::<anyhow::Result<_>>()?;
    let tree = in_it(&["rev-parse", &format!("{BRANCH}^{{tree}}")]);
    let mut import = git();
    import.arg("-C").arg(repository).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut import = import.spawn()?;
    let mut out = BufWriter::new(import.stdin.take().context("its input is a pipe")?);
    let text = crate::line::fill::text();
    let now = SystemTime::now();
    // The first commit has no parent.
    writeln!(out, "reset {BRANCH}\n")?;
    for number in 0..anchors {
        let time = Timestamp::try_from(now - Duration::from_secs(60) * (anchors - number))?.as_second();
        writeln!(out, "commit {BRANCH}\ncommitter Bench <bench@example.com> {time} +0000\ndata 6\nanchor")?;
        if number + 1 == anchors {
            writeln!(out, "M 040000 {tree} ")?;
            continue;
        }
        for (size, path) in &files {
            writeln!(out, "M 100644 inline {path}\ndata {size}")?;
            out.write_all(crate::line::fill::value(&text, number as usize + 1, *size))?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    drop(out);
    ensure!(import.wait()?.success(), "git fast-import failed");
    Ok(in_it(&["rev-parse", BRANCH]))
}

/// Processor time of all threads of a process, in milliseconds, more precise than clock ticks.
fn cpu_ms(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let schedstat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e6
}
