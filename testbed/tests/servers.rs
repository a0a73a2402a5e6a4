//! Tests of the testbed: its servers are real, keep acknowledged data over a crash, and refuse on demand.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::{
    BareRepository, GitHttp, GitSsh, Kafka, Postgres, PostgresProxy, Process, Producer, Scratch, ToProduce, eventually,
    git, run, streamseal, unique, until, without_network,
};

const SOON: Duration = Duration::from_secs(30);

/// 1,000 distinct lines, each with its newline.
fn lines(prefix: &str) -> String {
    (0..1000).map(|i| format!("{prefix} {i}\n")).collect()
}

#[test]
fn kafka_keeps_acknowledged_events_over_a_crash() {
    let folder = Scratch::new("kafka-crash");
    let kafka = Kafka::start();
    let topic = kafka.topic("crash", 2);
    let mut expected = Vec::new();
    for partition in 0..2 {
        let text = lines(&format!("line of partition {partition},"));
        let file = folder.join(format!("{partition}"));
        fs::write(&file, &text).unwrap();
        kafka.kcat().produce(&topic, partition, &file);
        expected.push(text);
    }
    kafka.kill9();
    assert!(TcpStream::connect(kafka.bootstrap()).is_err());
    kafka.start_again();

    let format = r"%p %s\n";
    let read = kafka.kcat().consume_with_format(&topic, format);
    for (partition, text) in expected.iter().enumerate() {
        let prefix = format!("{partition} ");
        let of_partition = read.lines().filter_map(|line| line.strip_prefix(&prefix));
        assert!(of_partition.eq(text.lines()), "partition {partition}");
        let partition = i32::try_from(partition).unwrap();
        assert_eq!(kafka.watermarks(&topic, partition), (0, 1000));
    }
}

#[test]
fn kafka_topics_are_administered() {
    let folder = Scratch::new("kafka-admin");
    let kafka = Kafka::shared();
    let file = folder.join("lines");
    fs::write(&file, lines("line")).unwrap();
    let topic = kafka.topic("admin", 1);
    kafka.kcat().produce(&topic, 0, &file);
    assert_eq!(kafka.kcat().consume(&topic), lines("line"));

    kafka.delete_records(&topic, 0, 990);
    assert_eq!(kafka.watermarks(&topic, 0), (990, 1000));
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 3, &[("retention.ms", "3600000")]);
    assert_eq!(kafka.watermarks(&topic, 2), (0, 0));
}

#[test]
fn a_frozen_kafka_answers_once_resumed() {
    let folder = Scratch::new("kafka-frozen");
    let kafka = Kafka::start();
    let topic = kafka.topic("frozen", 1);
    let file = folder.join("lines");
    fs::write(&file, lines("line")).unwrap();
    kafka.sigstop();
    let ask = || {
        let mut kcat = Command::new("timeout");
        kcat.args(["2", "kcat", "-L", "-b", kafka.bootstrap()]);
        kcat.output().unwrap().status.success()
    };
    assert!(!ask());
    kafka.sigcont();
    assert!(ask());
    kafka.kcat().produce(&topic, 0, &file);
    assert_eq!(kafka.watermarks(&topic, 0), (0, 1000));
}

#[test]
fn postgres_keeps_committed_rows_over_a_crash() {
    let server = Postgres::start();
    let database = server.database();
    server.psql(&database, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    server.kill9();
    server.start_again();
    assert_eq!(server.psql(&database, "SELECT count(*), sum(n) FROM t"), "1000|500500");
    server.restart();
    assert_eq!(server.psql(&database, "SELECT count(*) FROM t"), "1000");
}

#[test]
fn a_backup_and_a_standby_lack_later_rows() {
    let folder = Scratch::new("copies");
    let server = Postgres::start();
    let database = server.database();
    let proxy = PostgresProxy::in_front_of(&database);
    let through = proxy.through(&database);
    let count = || server.psql(&through, "SELECT count(*) FROM t");
    server.psql(&through, "CREATE TABLE t AS SELECT 1 AS n");
    let backup = folder.join("backup");
    server.back_up(&backup);
    let standby = server.standby();
    let copy = standby.address_of(&database);
    server.psql(&through, "INSERT INTO t VALUES (2)");
    until("the standby follows", SOON, || standby.psql(&copy, "SELECT count(*) FROM t") == "2");
    standby.cut_off();
    server.psql(&through, "INSERT INTO t VALUES (3)");
    standby.promote();
    proxy.fail_over_to(&copy);
    assert_eq!(count(), "2");
    proxy.fail_over_to(&database);
    assert_eq!(count(), "3");
    server.stop();
    server.restore(&backup);
    server.start_again();
    assert_eq!(count(), "1");
}

#[test]
fn a_frozen_postgres_answers_once_resumed() {
    let server = Postgres::start();
    server.sigstop();
    assert!(!server.answers());
    server.sigcont();
    until("PostgreSQL answers", SOON, || server.answers());
}

#[test]
fn a_producer_records_acknowledged_events() {
    let kafka = Kafka::start();
    let topic = kafka.topic("account", 2);
    let producer = Producer::new(kafka.bootstrap(), &[]);
    let send = |partition, value: &str| {
        producer.send(ToProduce { topic: &topic, partition, value: Some(value), ..ToProduce::default() });
    };
    send(0, "a");
    send(1, "b");
    kafka.kill9();
    send(0, "c");
    kafka.start_again();
    let mut events: Vec<String> = producer
        .acknowledged()
        .into_iter()
        .map(|event| {
            assert_eq!(event.topic, topic);
            format!("{} {} {}", event.partition, event.offset, String::from_utf8(event.value.unwrap()).unwrap())
        })
        .collect();
    events.sort();
    assert_eq!(events, ["0 0 a", "0 1 c", "1 0 b"]);
    let mut read: Vec<_> = kafka.kcat().consume_with_format(&topic, r"%p %o %s\n").lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, events);
    assert_eq!(producer.acknowledged(), []);
}

#[test]
fn databases_of_one_server_are_separate() {
    let server = Postgres::shared();
    let (one, other) = (server.database(), server.database());
    server.psql(&one, "CREATE TABLE t (n int)");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 't'";
    assert_eq!(server.psql(&one, tables), "1");
    assert_eq!(server.psql(&other, tables), "0");
    assert_eq!(server.psql(&one, "SHOW fsync"), "on");
}

/// A work tree with one commit.
fn work_tree(folder: &Scratch) -> PathBuf {
    let tree = folder.join(unique("tree"));
    run(git().args(["init", "--quiet", "-b", "main"]).arg(&tree));
    commit(&tree, "first");
    tree
}

fn commit(tree: &Path, text: &str) {
    fs::write(tree.join("file"), text).unwrap();
    run(git().arg("-C").arg(tree).args(["add", "file"]));
    run(git().arg("-C").arg(tree).args(["commit", "--quiet", "-m", text]));
}

/// Pushes the tree's branch. Returns whether the remote took it, and Git's output.
fn push(mut git: Command, tree: &Path, url: &str) -> (bool, String) {
    let output = git.arg("-C").arg(tree).args(["push", "--quiet", url, "main"]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Pushes, is refused by a hook, pushes again, and reads the pushed text from a clone.
fn pushes_and_is_refused(git: impl Fn() -> Command, repository: &BareRepository, url: &str) {
    let folder = Scratch::new("git");
    let tree = work_tree(&folder);
    let (pushed, said) = push(git(), &tree, url);
    assert!(pushed, "{said}");
    let first = repository.git(&["rev-parse", "main"]);

    commit(&tree, "second");
    repository.set_hook("echo no room here >&2; exit 1");
    let (pushed, said) = push(git(), &tree, url);
    assert!(!pushed);
    assert!(said.contains("no room here"), "{said}");
    assert_eq!(repository.git(&["rev-parse", "main"]), first);

    repository.remove_hook();
    let (pushed, said) = push(git(), &tree, url);
    assert!(pushed, "{said}");
    let clone = folder.join("clone");
    run(git().args(["clone", "--quiet", "-b", "main", url]).arg(&clone));
    assert_eq!(fs::read_to_string(clone.join("file")).unwrap(), "second");
}

#[test]
fn git_pushes_by_path() {
    let folder = Scratch::new("path");
    let repository = BareRepository::new(folder.join("log.git"));
    let url = repository.path().to_str().unwrap().to_owned();
    pushes_and_is_refused(git, &repository, &url);
}

#[test]
fn git_pushes_over_http() {
    let folder = Scratch::new("http");
    let repository = BareRepository::new(folder.join("log.git"));
    let server = GitHttp::start(folder.path());
    pushes_and_is_refused(git, &repository, &server.url("log.git"));
}

#[test]
fn git_pushes_over_ssh() {
    let server = GitSsh::start();
    let repository = server.repository("log.git");
    pushes_and_is_refused(|| server.git(), &repository, &server.url("log.git"));

    // A server with another host key is not trusted.
    let other = GitSsh::start();
    let folder = Scratch::new("stranger");
    other.write_known_hosts(&folder.join("known_hosts"));
    other.repository("log.git");
    let tree = work_tree(&folder);
    let (pushed, said) = push(server.git(), &tree, &other.url("log.git"));
    assert!(!pushed);
    assert!(said.contains("Host key verification failed"), "{said}");
}

#[test]
fn an_http_remote_fails_on_demand() {
    let folder = Scratch::new("faults");
    let repository = BareRepository::new(folder.join("log.git"));
    let mut server = GitHttp::start(folder.path());
    let tree = work_tree(&folder);
    let url = server.url("log.git");

    server.set_fault(Some(507));
    let (pushed, said) = push(git(), &tree, &url);
    assert!(!pushed && said.contains("507"), "{said}");
    server.stop();
    let (pushed, said) = push(git(), &tree, &url);
    assert!(!pushed && said.contains("connect"), "{said}");
    assert_eq!(repository.git(&["branch", "--list"]), "");

    server.set_fault(None);
    server.start_again();
    let (pushed, said) = push(git(), &tree, &url);
    assert!(pushed, "{said}");
}

#[test]
fn an_http_remote_asks_for_its_login() {
    let folder = Scratch::new("login");
    BareRepository::new(folder.join("log.git"));
    // `ann:secret`
    let server = GitHttp::start_with_login(folder.path(), "YW5uOnNlY3JldA==");
    let tree = work_tree(&folder);
    let url = server.url("log.git");
    let (pushed, said) = push(git(), &tree, &url);
    assert!(!pushed, "{said}");
    let (pushed, said) = push(git(), &tree, &url.replace("//", "//ann:secret@"));
    assert!(pushed, "{said}");
}

#[test]
fn processes_are_frozen_killed_and_restarted() {
    let folder = Scratch::new("process");
    let mut command = Process::command("sh");
    command.args(["-c", "echo started; exec sleep 1000"]);
    let process = Process::start("sleeper", folder.join("log"), command);
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.split(' ').nth(2).unwrap_or("gone").to_owned()
    };
    let pid = process.pid();
    until("the sleeper sleeps", SOON, || process.log_text() == "started\n");
    process.sigstop();
    until("the sleeper is frozen", SOON, || state(pid) == "T");
    process.sigcont();
    until("the sleeper goes on", SOON, || state(pid) == "S");
    process.assert_running();
    process.kill9();
    assert_eq!(state(pid), "gone");

    process.start_again();
    until("it starts again", SOON, || process.log_text() == "started\nstarted\n");
    assert!(!process.stop().success());
}

#[test]
fn nothing_outlives_a_killed_test_program() {
    if let Ok(folder) = std::env::var("TEST_OF_A_KILLED_PROGRAM") {
        return be_killed(Path::new(&folder));
    }
    let folder = Scratch::new("killed");
    let mut command = Process::command(std::env::current_exe().unwrap());
    command.args(["--exact", "nothing_outlives_a_killed_test_program"]).env("TEST_OF_A_KILLED_PROGRAM", folder.path());
    let binary = Process::start("test program", folder.join("log"), command);
    let (pid, files) = eventually("its child runs", SOON, || {
        let text = fs::read_to_string(folder.join("child")).ok()?;
        let (pid, files) = text.strip_suffix('\n')?.split_once(' ')?;
        Some((pid.to_owned(), files.to_owned()))
    });
    assert!(Path::new(&files).exists());
    binary.kill9();
    until("its child is gone", SOON, || !Path::new("/proc").join(&pid).exists());
    until("its files are gone", SOON, || !Path::new(&files).exists());
}

/// The test program to kill. It starts a child, writes a file, writes down both, and waits.
fn be_killed(tell: &Path) {
    let folder = Scratch::new("files");
    fs::write(folder.join("file"), "text").unwrap();
    let mut command = Process::command("sleep");
    command.arg("1000");
    let child = Process::start("sleeper", folder.join("log"), command);
    let text = format!("{} {}\n", child.pid(), folder.path().display());
    fs::write(tell.join("child"), text).unwrap();
    child.wait(SOON);
}

#[test]
fn without_network_cuts_off_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reach = |mut command: Command| {
        let command = command.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]);
        command.output().unwrap().status.success()
    };
    assert!(reach(Command::new("bash")));
    assert!(!reach(without_network("bash")));
}

#[test]
fn the_built_binary_is_found() {
    run(Command::new(streamseal()).arg("--version"));
}
