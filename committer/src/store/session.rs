//! Sets up connections to PostgreSQL, and makes sure that no pooler shares them.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};

use super::{CALL_TIME_MAX, StoreError, StoreErrorKind, in_time};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A committer that freezes while it holds the lock must not stop the others for longer than 10 s. One that waits for the
/// lock gives up later than that, and before [`CALL_TIME_MAX`].
const SESSION: &str = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '12s';
     SET statement_timeout = '15s'";

/// How many connections hold a transaction at once while [`check_own`] asks.
const HOLDERS: usize = 3;

/// How many times it asks beside each of them.
const QUESTIONS: usize = 4;

/// Connects without the pool, which would hide the reason of an error.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await;
    let no_answer = |_| StoreError::new(StoreErrorKind::Unavailable, "no answer to the attempt to connect");
    Ok(connected.map_err(no_answer)??)
}

/// Sets up a connection, and refuses a server that acknowledges commits before they are on disk.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), StoreError> {
    in_time(sqlx::raw_sql(SESSION).execute(&mut *connection)).await?;
    for (setting, show) in [("synchronous_commit", "SHOW synchronous_commit"), ("fsync", "SHOW fsync")] {
        let value: String = in_time(sqlx::query_scalar(show).fetch_one(&mut *connection)).await?;
        if value == "off" {
            return Err(StoreError::refused(format!(
                "{setting} is off, so PostgreSQL would lose acknowledged summaries: set it to on"
            )));
        }
    }
    // As a setting of the session, it outlives a reload of the server's configuration.
    let keep = "SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false)";
    in_time(sqlx::raw_sql(keep).execute(connection)).await?;
    Ok(())
}

/// Refuses a pooler that shares one server connection between sessions.
///
/// Without such a pooler, a server process belongs to one session until that ends. A sharing pooler gives the process to
/// the next transaction of any session. So while one connection is idle, others begin transactions and keep them open.
/// Either one of them gets the idle connection's process, or they hold that process and the idle connection gets another.
/// The first transaction already exposes an idle pooler. A busy one could pass a round by chance, hence several rounds.
pub(super) async fn check_own(options: &PgConnectOptions) -> Result<(), StoreError> {
    let idle = connect(options).await?;
    let asked = tokio::time::timeout(CALL_TIME_MAX, ask_beside(options, idle)).await;
    asked.unwrap_or_else(|_| Err(StoreError::no_answer())).map_err(|error| match error.is_transient() {
        true => StoreError::new(
            error.kind,
            format!(
                "{error}. At the start the committer opens {} connections at once, to check that no pooler shares them: the \
                 server, and any pooler before it, must allow that many",
                HOLDERS + 1
            ),
        ),
        false => error,
    })
}

/// Asks the idle connection for its server process while others hold transactions.
async fn ask_beside(options: &PgConnectOptions, mut idle: PgConnection) -> Result<(), StoreError> {
    let own = server_process(&mut idle).await?;
    let mut holders = Vec::new();
    for _ in 0..HOLDERS {
        let mut holder = connect(options).await?;
        match sqlx::raw_sql("BEGIN").execute(&mut holder).await {
            // Protocol violation: a pooler in statement mode accepts no transactions.
            Err(sqlx::Error::Database(answer)) if answer.code().as_deref() == Some("08P01") => {
                return Err(shared(&answer));
            }
            begun => {
                begun?;
            }
        }
        if server_process(&mut holder).await? == own {
            return Err(shared(&"two connections reached one server process"));
        }
        holders.push(holder);
        for _ in 0..QUESTIONS {
            if server_process(&mut idle).await? != own {
                return Err(shared(&"one connection reached two server processes"));
            }
        }
    }
    holders.push(idle);
    for connection in holders {
        connection.close().await?;
    }
    Ok(())
}

/// The id of the server process that answers. Asks without a prepared statement, which a pooler would break.
async fn server_process(connection: &mut PgConnection) -> Result<i32, StoreError> {
    Ok(sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)?)
}

/// The refusal of a pooler that shares connections; `sign` is how it was noticed.
pub(super) fn shared(sign: &dyn std::fmt::Display) -> StoreError {
    StoreError::refused(format!(
        "it is behind a connection pooler that shares connections ({sign}). The committer needs connections of its own: it \
         uses prepared statements, SET and an advisory lock. Use session pooling or the server's own port"
    ))
}

/// Whether a SQLSTATE says that a prepared statement is missing or exists already, because another session made it.
pub(super) fn is_of_another(code: &str) -> bool {
    matches!(code, "26000" | "42P05")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_reload_makes_no_session_acknowledge_early() {
        let server = ::testbed::Postgres::start();
        let url = server.database();
        let mut ours = PgConnection::connect(&url).await.expect("connects");
        let mut other = PgConnection::connect(&url).await.expect("connects");
        prepare(&mut ours).await.expect("it is on");
        server.psql(&url, "ALTER SYSTEM SET synchronous_commit = off");
        server.psql(&url, "SELECT pg_reload_conf()");
        let deadline = std::time::Instant::now() + CALL_TIME_MAX;
        while show(&mut other).await == "on" {
            assert!(std::time::Instant::now() < deadline, "a session that is not ours has the new setting");
            tokio::task::yield_now().await;
        }
        assert_eq!(show(&mut ours).await, "on");
    }

    async fn show(connection: &mut PgConnection) -> String {
        sqlx::query_scalar("SHOW synchronous_commit").fetch_one(connection).await.expect("it answers")
    }

    #[tokio::test]
    async fn a_statement_of_another_session_names_the_pooler() {
        let url = ::testbed::Postgres::shared().database();
        let mut connection = PgConnection::connect(&url).await.expect("connects");
        let missing =
            sqlx::raw_sql("EXECUTE nobody_prepared_it").execute(&mut connection).await.expect_err("not there");
        let error = StoreError::from(missing);
        assert_eq!(error.kind, StoreErrorKind::Refused);
        assert!(error.message.contains("session pooling"), "{error}");
    }

    /// Accepts each client, and then never answers.
    async fn silent() -> PgConnectOptions {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let mut clients = Vec::new();
            loop {
                let (mut client, _) = listener.accept().await.expect("a client");
                let mut hello = [0; 1_024];
                let read = client.read(&mut hello).await.expect("a startup message");
                assert_ne!(read, 0, "a startup message");
                // AuthenticationOk and ReadyForQuery.
                client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.expect("written");
                clients.push(client);
            }
        });
        format!("postgres://user@127.0.0.1:{port}/ledger?sslmode=disable").parse().expect("a URL")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_ends_the_check() {
        let options = silent().await;
        let checked = tokio::time::timeout(2 * CALL_TIME_MAX, check_own(&options)).await;
        let error = checked.expect("it ends").expect_err("no answer");
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
        assert!(error.message.contains("no answer within") && error.message.contains("4 connections"), "{error}");
    }
}
