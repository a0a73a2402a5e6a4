//! Servers and helpers that tests and benchmarks share.
//!
//! - Real servers: [`Kafka`], [`Postgres`] with [`Pgbouncer`], Git over [HTTP](GitHttp) and [SSH](GitSsh). Each listens on
//!   a free loopback port and keeps its files in a temporary folder. A test can kill, freeze and restart it.
//! - Streamseal itself: [`ledger`] runs its services as processes, [`anchors`], [`commitments`] and [`forge`] read and
//!   forge what they publish and export.
//! - Evidence without services: [`statements`] and [`memory_ledger`].
//! - Records below the level of a client library: [`wire`], and [`events`] to read them back.
//!
//! Nothing outlives the test program, even if a test panics or the program is killed: its children receive a signal,
//! and a watcher removes the files. A failed run keeps its files and prints where they are. Tests skip nothing: if the
//! machine lacks a program, the test fails and names the package to install.
//!
//! Everything is synchronous; async tests call it directly.

pub mod anchors;
mod cache;
pub mod commitments;
mod disk;
pub mod events;
pub mod forge;
mod git;
mod http;
mod kafka;
mod kcat;
pub mod ledger;
pub mod memory_ledger;
mod network;
mod panics;
mod ports;
mod postgres;
mod process;
mod producer;
mod promtool;
mod proxy;
mod scratch;
pub mod statements;
mod streamseal;
mod usage;
mod user;
mod wait;
pub mod wire;

pub use self::kafka::proxy::{KafkaProxy, LostProduce};
pub use self::kafka::{JavaRecord, Kafka, OldFormat, OldRecord};
pub use disk::SmallDisk;
pub use git::{BareRepository, GitHttp, GitSsh, git, isolate_git};
pub use http::{http_get, http_post};
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
pub use proxy::{Fate, Side};
pub use scratch::{Scratch, unique};
pub use streamseal::streamseal;
pub use usage::Usage;
pub use wait::{eventually, until};
