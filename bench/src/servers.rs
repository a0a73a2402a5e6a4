//! Kafka and PostgreSQL for the cases, started here or named on the command line.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use sqlx::{Connection as _, Executor as _, PgConnection};
use testbed::{Kafka, Postgres, until};

/// Time for an answer of Kafka.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Time for one check whether a topic has leaders.
const PEEK: Duration = Duration::from_millis(500);

/// Interval between requests to a committer that does not answer yet.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Servers that already run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Addresses {
    /// Kafka's bootstrap.servers; by default a new Kafka is started
    #[arg(long, value_name = "HOST:PORT,...")]
    pub bootstrap_servers: Option<String>,
    /// URL of a PostgreSQL with a user who may create databases; by default a new one is started
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Versions for the results, such as Kafka=4.3.1; may be repeated
    #[arg(long, value_name = "NAME=VERSION", value_parser = version_of)]
    pub version_of: Vec<VersionOf>,
}

/// The name and the version of a server.
pub type VersionOf = (String, String);

pub(crate) fn version_of(text: &str) -> Result<VersionOf, String> {
    let (name, version) = text.split_once('=').ok_or("wants NAME=VERSION")?;
    Ok((name.to_owned(), version.to_owned()))
}

/// The servers of a run. Started servers end with the process.
#[derive(Debug)]
pub struct Servers {
    addresses: Addresses,
    runtime: tokio::runtime::Runtime,
    used_kafka: AtomicBool,
    used_postgres: AtomicBool,
}

impl Servers {
    /// Starts no server yet.
    ///
    /// # Errors
    /// When the system cannot start threads.
    pub fn new(addresses: Addresses) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { addresses, runtime, used_kafka: AtomicBool::new(false), used_postgres: AtomicBool::new(false) })
    }

    /// Kafka's `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        self.used_kafka.store(true, Ordering::Relaxed);
        self.addresses.bootstrap_servers.as_deref().unwrap_or_else(|| Kafka::shared().bootstrap())
    }

    /// Creates a topic, unless it exists, and waits until each partition has a leader.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn topic(&self, name: &str, partitions: u32) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create()?;
        let topic = NewTopic::new(name, partitions.cast_signed(), TopicReplication::Fixed(1));
        let created = self.runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new()))?;
        match created.into_iter().next().context("no answer about the topic")? {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => anyhow::bail!("topic {name}: {code}"),
        }
        let reader: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create()?;
        until("the new topic has leaders", ANSWER_WITHIN, || {
            (0..partitions.cast_signed()).all(|partition| reader.fetch_watermarks(name, partition, PEEK).is_ok())
        });
        Ok(())
    }

    /// Waits until the committer at this address answers.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn until_ready(&self, committer: &str) -> anyhow::Result<()> {
        let committer = committer_client::Client::new(committer)?;
        let begun = Instant::now();
        loop {
            match self.runtime.block_on(committer.status()) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > ANSWER_WITHIN => return Err(error.into()),
                Err(_) => std::thread::sleep(ASK_EVERY),
            }
        }
    }

    /// Kafka's id.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn cluster_id(&self) -> anyhow::Result<String> {
        let properties = kafka::Properties::new([("bootstrap.servers", self.bootstrap())])?;
        Ok(kafka::Cluster::new(&properties, ANSWER_WITHIN)?.id()?)
    }

    /// The URL of a new, empty PostgreSQL database.
    ///
    /// # Errors
    /// When the server does not create it.
    pub fn database(&self) -> anyhow::Result<String> {
        self.used_postgres.store(true, Ordering::Relaxed);
        let Some(url) = &self.addresses.postgres else { return Ok(Postgres::shared().database()) };
        // Other runs may have left databases there.
        let name = format!("bench_{}_{}", std::process::id(), testbed::unique("ledger").replace('-', "_"));
        self.execute(url, &format!("CREATE DATABASE {name}"))?;
        let (server, _) = url.rsplit_once('/').with_context(|| format!("{url} names no database to connect to"))?;
        Ok(format!("{server}/{name}"))
    }

    /// Starts both, prints their addresses, and keeps them until the process ends.
    ///
    /// # Errors
    /// When the addresses cannot be printed.
    pub fn keep(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let postgres = Postgres::shared().address_of("postgres");
        let (bootstrap, version) = (self.bootstrap(), Kafka::VERSION);
        writeln!(out, "--bootstrap-servers {bootstrap} --postgres {postgres} --version-of Kafka={version}")?;
        out.flush()?;
        loop {
            std::thread::park();
        }
    }

    /// Size of a database, in bytes.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn database_bytes(&self, url: &str) -> anyhow::Result<u64> {
        let bytes = self.ask(url, "SELECT pg_database_size(current_database())::text")?;
        bytes.parse().with_context(|| format!("{url}: {bytes} bytes"))
    }

    /// The versions of the servers in use, and those given on the command line.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let mut versions = Vec::new();
        if self.used_kafka.load(Ordering::Relaxed) {
            let own = self.addresses.bootstrap_servers.is_none();
            versions.push(("Kafka".to_owned(), if own { Kafka::VERSION } else { "as given" }.to_owned()));
        }
        if self.used_postgres.load(Ordering::Relaxed) {
            let url = self.addresses.postgres.clone();
            let url = url.unwrap_or_else(|| Postgres::shared().address_of("postgres"));
            let version = self.ask(&url, "SHOW server_version").unwrap_or_else(|error| format!("unknown: {error:#}"));
            versions.push(("PostgreSQL".to_owned(), version));
        }
        versions.extend(self.addresses.version_of.iter().cloned());
        versions
    }

    fn execute(&self, url: &str, sql: &str) -> anyhow::Result<()> {
        let sql = sqlx::AssertSqlSafe(sql);
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await.with_context(|| url.to_owned())?;
            connection.execute(sql).await?;
            connection.close().await.map_err(anyhow::Error::from)
        })
    }

    fn ask(&self, url: &str, sql: &'static str) -> anyhow::Result<String> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await?;
            let answer = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            connection.close().await?;
            Ok(answer)
        })
    }
}
