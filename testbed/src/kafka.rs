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

/// Time for a start, including log recovery, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running single-node Apache Kafka (KRaft) with its own files and ports. It does not create topics automatically.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    cluster_id: String,
    process: Process,
    admin: Admin,
    /// Declared after the process, because fields drop in this order.
    folder: Scratch,
}

impl Kafka {
    /// The version of Kafka.
    pub const VERSION: &str = jars::VERSION;

    /// The broker that all tests of this program share. Use [`topic`](Self::topic) for your own topics, and do not stop
    /// the broker.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Kafka> = LazyLock::new(Kafka::start);
        &SHARED
    }

    /// A new broker, which its test may kill and restart.
    ///
    /// # Panics
    /// When Java or Maven is missing, the jars cannot be fetched, or the broker does not start.
    pub fn start() -> Self {
        let port = free_port();
        Self::start_with(Jars::get(), &[], port, port)
    }

    /// A new broker behind a proxy, which it advertises to all clients.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_behind_proxy() -> (Self, KafkaProxy) {
        let port = free_port();
        let proxy = KafkaProxy::to(port);
        (Self::start_with(Jars::get(), &[], port, proxy.port()), proxy)
    }

    /// Starts a broker that listens at one port and advertises another.
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

    /// Creates a topic with a unique name that begins with `name`, and returns the name.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let name = unique(name);
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Creates a topic with exactly this name, and topic settings such as `("retention.ms", "1000")`.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.admin.create_topic(name, partitions, settings);
    }

    /// Raises the number of partitions of a topic to `partitions`.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        self.admin.add_partitions(topic, partitions);
    }

    /// Deletes a topic. Returns when the broker has forgotten it, so that a test can create it again.
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
    /// When the broker does not answer.
    #[track_caller]
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        self.admin.watermarks(topic, partition)
    }

    /// Limits the bytes per second that all clients with this `client.id` fetch together (Kafka's quota
    /// `consumer_byte_rate`). `None` removes the limit.
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

    /// The folder of its data, with a folder `topic-partition` for each partition. Some tests damage files there.
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

    /// Shuts it down cleanly.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Starts it again on the same files and port, after [`kill9`](Self::kill9) or [`stop`](Self::stop). Returns when
    /// it answers and every partition has a leader.
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

    /// Stops it and starts an empty cluster with another id at the same address.
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

    /// Resumes it (SIGCONT).
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

/// Makes the folders of a new cluster and returns its id.
fn format_folders(jars: &Jars, settings: &Path) -> String {
    let cluster_id = cluster_id();
    let mut format = jars.java(Command::new("java"));
    format.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", &cluster_id, "-c"]);
    run(format.arg(settings));
    cluster_id
}

/// A new cluster id in Kafka's form, URL-safe base64 of 16 bytes. Each broker gets another, so that brokers of
/// different tests do not look like one cluster.
fn cluster_id() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0; 21];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("Linux has /dev/urandom");
    let digits = random.map(|byte| DIGITS[usize::from(byte) % DIGITS.len()] as char);
    // Only two bits of the last digit count.
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
# There is only one node.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# Deletes nothing unless a test asks for it, and then at once.
log.retention.hours=-1
log.retention.bytes=-1
file.delete.delay.ms=1000
# A killed broker is back within two seconds; the default session would fence it for nine.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
# Groups form at once and soon drop a killed member.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
# Small.
num.network.threads=2
num.io.threads=4
log.cleaner.threads=1
# Compaction of a topic begins at once.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=4194304
# The largest records that tests produce.
message.max.bytes=20971520
replica.fetch.max.bytes=20971520
"
    )
}

/// Runs a broker once with `java_options`, which make the class-data archive, and stops it.
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
