//! A Kafka broker.

mod admin;
mod jars;
mod java;
mod old_formats;
pub(crate) mod proxy;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::kcat::Kcat;
use crate::ports::free_port;
use crate::process::{Process, run};
use crate::scratch::{Scratch, unique};
use crate::wait::until;
use admin::Admin;
use jars::Jars;
pub use java::JavaRecord;
pub use old_formats::{OldFormat, OldRecord};
use proxy::KafkaProxy;

/// How long a start may take, log recovery included, on a machine that is busy with other tests.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running single-node Apache Kafka (KRaft) with files and ports of its own. Topics are not created by being used.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    cluster_id: String,
    process: Process,
    admin: Admin,
    /// After the process: dropped in this order.
    folder: Scratch,
}

impl Kafka {
    /// Which Kafka it is.
    pub const VERSION: &str = jars::VERSION;

    /// The broker that all tests of this binary share; use [`topic`](Self::topic) for topics of your own in it, and do
    /// not stop it.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Kafka> = LazyLock::new(Kafka::start);
        &SHARED
    }

    /// A broker of one's own, to be killed and restarted at will.
    ///
    /// # Panics
    /// When Java or Maven is missing, the jars cannot be fetched, or the broker does not start.
    pub fn start() -> Self {
        let port = free_port();
        Self::start_with(Jars::get(), &[], port, port)
    }

    /// The same behind a proxy, to which it sends all its clients.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_behind_proxy() -> (Self, KafkaProxy) {
        let port = free_port();
        let proxy = KafkaProxy::to(port);
        (Self::start_with(Jars::get(), &[], port, proxy.port()), proxy)
    }

    /// Listens at a port and sends clients to the one that it advertises.
    fn start_with(jars: &Jars, java_options: &[String], port: u16, advertised: u16) -> Self {
        let folder = Scratch::new("kafka");
        let [listener, bootstrap] = [port, advertised].map(|port| format!("127.0.0.1:{port}"));
        let settings = folder.join("server.properties");
        fs::write(&settings, properties(&listener, &bootstrap, &folder.join("data")))
            .expect("a new folder can be written to");
        let cluster_id = format_folders(jars, &settings);
        let mut command = Process::command("java");
        command.args(java_options);
        let mut command = jars.java(command);
        command.arg("kafka.Kafka").arg(&settings);
        let process = Process::start("kafka", folder.join("log"), command);
        let broker = Self { admin: Admin::new(&bootstrap), bootstrap, cluster_id, process, folder };
        broker.wait_until_ready();
        broker
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The id of its cluster.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// kcat on this broker.
    pub fn kcat(&self) -> Kcat {
        Kcat::new(&self.bootstrap)
    }

    /// Creates a topic whose name begins with `name` and that no other test has; returns its name.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let name = unique(name);
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Creates a topic of exactly this name, with topic settings such as `("retention.ms", "1000")`.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.admin.create_topic(name, partitions, settings);
    }

    /// Gives a topic more partitions, so that it has `partitions` of them.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        self.admin.add_partitions(topic, partitions);
    }

    /// Deletes a topic and returns when the broker has forgotten it, so that it can be created anew.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        self.admin.delete_topic(name);
    }

    /// Deletes all records before `offset`, as retention would.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        self.admin.delete_records(topic, partition, offset);
    }

    /// The low and the high watermark of a partition.
    ///
    /// # Panics
    /// When the broker does not tell.
    #[track_caller]
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        self.admin.watermarks(topic, partition)
    }

    /// Lets all clients of this `client.id` together fetch no more than so many bytes a second (Kafka's quota
    /// `consumer_byte_rate`), or what they like.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn limit_fetching(&self, client: &str, bytes_s: Option<u64>) {
        let mut configure = Jars::get().java(Command::new("java"));
        configure.args(["kafka.admin.ConfigCommand", "--bootstrap-server", &self.bootstrap]);
        configure.args(["--entity-type", "clients", "--entity-name", client, "--alter"]);
        match bytes_s {
            Some(bytes_s) => configure.arg("--add-config").arg(format!("consumer_byte_rate={bytes_s}")),
            None => configure.args(["--delete-config", "consumer_byte_rate"]),
        };
        run(&mut configure);
    }

    /// Where it keeps its partitions, each in a folder `topic-partition`: for tests that damage what it stores.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Writes Kafka's command-line tools that the documentation uses into `folder`, under their own names.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write_tools(folder: &Path) {
        for (name, class) in [
            ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
            ("kafka-dump-log.sh", "org.apache.kafka.tools.DumpLogSegments"),
        ] {
            let java = Jars::get().java(Command::new("java"));
            let words: Vec<_> = java.get_args().map(|word| format!("'{}'", word.display())).collect();
            let tool = folder.join(name);
            fs::write(&tool, format!("#!/bin/sh\nexec java {} {class} \"$@\"\n", words.join(" ")))
                .expect("the folder can be written to");
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        }
    }

    /// Kills it with SIGKILL.
    pub fn kill9(&self) {
        self.process.kill9();
    }

    /// Ends it in an orderly way.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Starts it again on the same files and port after [`kill9`](Self::kill9) or [`stop`](Self::stop); returns when
    /// it answers and every partition has its leader.
    ///
    /// # Panics
    /// When it still runs or does not start.
    pub fn start_again(&self) {
        self.process.start_again();
        self.wait_until_ready();
    }

    /// Stops and starts it.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Stops it, and starts an empty cluster with another id at the same address.
    ///
    /// # Panics
    /// When that does not start.
    pub fn replace_by_another_cluster(&mut self) {
        self.stop();
        fs::remove_dir_all(self.data()).expect("a stopped broker holds no files");
        self.cluster_id = format_folders(Jars::get(), &self.folder.join("server.properties"));
        self.start_again();
    }

    /// Freezes it (SIGSTOP).
    pub fn sigstop(&self) {
        self.process.sigstop();
    }

    /// Lets it go on.
    pub fn sigcont(&self) {
        self.process.sigcont();
    }

    fn wait_until_ready(&self) {
        until("Kafka answers", READY_WITHIN, || {
            self.process.assert_running();
            self.admin.is_ready()
        });
    }
}

/// Makes the folders of a new cluster; returns its id.
fn format_folders(jars: &Jars, settings: &Path) -> String {
    let cluster_id = cluster_id();
    let mut format = jars.java(Command::new("java"));
    format.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", &cluster_id, "-c"]);
    run(format.arg(settings));
    cluster_id
}

/// A new cluster id in Kafka's form (URL-safe base64 of 16 bytes): brokers of different tests must not look like one
/// cluster.
fn cluster_id() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0; 21];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("Linux has /dev/urandom");
    let digits = random.map(|byte| DIGITS[usize::from(byte) % DIGITS.len()] as char);
    // Of the last digit only two bits count.
    format!("{}A", String::from_iter(digits))
}

fn properties(listener: &str, bootstrap: &str, data: &Path) -> String {
    let controller = format!("127.0.0.1:{}", free_port());
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{listener},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{bootstrap}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node must do.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# Nothing is deleted that a test did not ask to be, and then at once.
log.retention.hours=-1
log.retention.bytes=-1
file.delete.delay.ms=1000
# Back after a SIGKILL within a second or two; the default session keeps the dead broker fenced for nine.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
# Groups form at once, and a member that was killed is missed soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
# Small.
num.network.threads=2
num.io.threads=4
log.cleaner.threads=1
# Compaction, where a topic wants it, begins at once.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=4194304
# The largest records that tests produce.
message.max.bytes=20971520
replica.fetch.max.bytes=20971520
"
    )
}

/// Runs a broker once with `java_options` and stops it: how the class-data archive is made.
fn run_once(jars: &Jars, java_options: &[String]) {
    let port = free_port();
    let broker = Kafka::start_with(jars, java_options, port, port);
    broker.create_topic("warm", 1, &[]);
    let line = broker.folder.join("line");
    fs::write(&line, "warm\n").expect("a new folder can be written to");
    broker.kcat().produce("warm", 0, &line);
    broker.kcat().consume("warm");
    broker.stop();
}
