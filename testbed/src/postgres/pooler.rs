//! A connection pooler in front of a PostgreSQL server.

use std::fs;
use std::path::Path;

use super::{Postgres, READY_WITHIN, answers_at};
use crate::ports::free_port;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::user::{as_server, give_to_server};
use crate::wait::until;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running pgbouncer.
#[derive(Debug)]
pub struct Pgbouncer {
    port: u16,
    _process: Process,
    /// Declared after the process, because fields drop in this order.
    _folder: Scratch,
}

impl Pgbouncer {
    /// Starts a pooler for all databases of `server`, with configuration lines such as `pool_mode = session`.
    ///
    /// # Panics
    /// When pgbouncer is not installed or does not start.
    pub fn start(server: &Postgres, settings: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "no {PROGRAM}; Debian has it in the package pgbouncer (./test installs it)"
        );
        let (folder, port) = (Scratch::new("pgbouncer"), free_port());
        let config = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n{settings}\n",
            server.port
        );
        fs::write(&config, text).expect("written");
        give_to_server(folder.path());
        let mut command = as_server("KILL", Path::new(PROGRAM));
        command.arg(&config);
        let process = Process::start("pgbouncer", folder.join("log"), command);
        until("pgbouncer answers", READY_WITHIN, || {
            process.assert_running();
            answers_at(port)
        });
        Self { port, _process: process, _folder: folder }
    }

    /// The URL of a database of the server, through the pooler.
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().expect("a database's URL ends with its name");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}
