//! Real neighbours for tests: Apache Kafka, PostgreSQL and Git remotes over smart HTTP and SSH, each started on a free
//! loopback port with its files in a temporary folder, and each able to be killed, frozen and restarted.
//!
//! Nothing here outlives the test binary, also when a test panics or the binary itself is killed: children get a
//! signal when it dies, and a watcher removes the files (a failed run keeps them and says where). Nothing is skipped:
//! what a machine lacks makes the test fail with the name of the package to install.
//!
//! Everything is synchronous; call it from async tests as it is.

mod cache;
mod disk;
mod git;
mod http;
mod kafka;
mod kcat;
mod network;
mod panics;
mod ports;
mod postgres;
mod process;
mod producer;
mod promtool;
mod proxy;
mod scratch;
mod streamseal;
mod usage;
mod user;
mod wait;

pub use disk::SmallDisk;
pub use git::{BareRepository, GitHttp, GitSsh, git};
pub use http::{http_get, http_post};
pub use kafka::proxy::{KafkaProxy, LostProduce};
pub use kafka::{JavaRecord, Kafka, OldFormat, OldRecord};
pub use kcat::Kcat;
pub use network::without_network;
pub use panics::panic_of;
pub use ports::free_port;
pub use postgres::Postgres;
pub use postgres::pooler::Pgbouncer;
pub use postgres::proxy::{Cut, Of, PostgresProxy};
pub use process::{Process, run};
pub use producer::{Acknowledged, Producer, ToProduce};
pub use promtool::promtool;
pub use proxy::{Fate, From};
pub use scratch::{Scratch, unique};
pub use streamseal::streamseal;
pub use usage::Usage;
pub use wait::{eventually, until};
