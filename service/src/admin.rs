//! The listener that a supervisor, a load balancer and Prometheus talk to.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::{Health, Shutdown, metrics};

/// The time that open requests have to finish after shutdown begins.
const DRAIN: Duration = Duration::from_secs(5);

/// The routes of every service. One with an HTTP interface of its own merges them into it.
///
/// - /livez: 200 as long as the process answers.
/// - /readyz: 503 with a line for each component that is not ready. Otherwise 200 with `ok`, and a line for each component
///   that lacks something.
/// - /metrics: the metrics of the process in Prometheus' text format.
pub fn router(health: Health) -> Router {
    metrics::show_readiness(&health);
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(readiness(&health))))
        .route("/metrics", get(|| async { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render()) }))
}

fn readiness(health: &Health) -> impl IntoResponse + use<> {
    let not_ready = health.not_ready();
    let (status, mut text) = if not_ready.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, String::new())
    };
    for (name, what) in not_ready.into_iter().chain(health.ready_without()) {
        writeln!(text, "{name}: {what}").expect("a string takes everything");
    }
    (status, text)
}

/// Serves `router` until `shutdown`. Then it takes no new connections, and gives open requests a few seconds.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> anyhow::Result<()> {
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let out_of_time = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server => result.context("serve HTTP"),
        () = out_of_time => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// The whole answer, with its head.
    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    mod declared {
        crate::catalogue! {
            EVENTS: Counter = "test_total" ("events") ["topic"] "Events of a test.";
            WAITED: Histogram = "test_seconds" ("seconds") [] "Waiting of a test.";
        }
    }

    #[tokio::test]
    async fn serves_liveness_readiness_and_metrics() {
        metrics::install(declared::METRICS).expect("installed");
        metrics::install(&[]).expect("a second service of the process installs it too");
        let health = Health::new();
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, router(health.clone()), shutdown.clone()));

        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200 "));
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        let database = health.component("database");
        database.not_ready("connection refused");
        let answer = fetch(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("database: connection refused\n"), "{answer}");
        database.ready_without("its second copy");
        let answer = fetch(address, "/readyz").await;
        let wanted = "ok\ndatabase: its second copy\n";
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(wanted), "{answer}");
        database.not_ready("connection refused");
        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200 "));

        let pages = health.component("pages of \"/a\"");
        pages.ready_without("a picture");
        declared::EVENTS.with(["orders"]).increment(3);
        declared::WAITED.with([]).record(0.02);
        let answer = fetch(address, "/metrics").await;
        for part in [
            "# HELP test_total Events of a test.\n# TYPE test_total counter\ntest_total{topic=\"orders\"} 3\n",
            "test_seconds_bucket{le=\"0.025\"} 1\n",
            concat!("\nstreamseal_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\","),
            "\nstreamseal_log_lines_dropped_total ",
            "\nstreamseal_ready{component=\"database\"} 0\n",
            "\nstreamseal_ready{component=\"pages of \\\"/a\\\"\"} 1\n",
            "\nprocess_cpu_seconds_total ",
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
        database.remove();
        assert!(!fetch(address, "/metrics").await.contains("component=\"database\""));

        shutdown.cancel();
        server.await.expect("not panicked").expect("no error");
        TcpStream::connect(address).await.expect_err("the listener is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_request_does_not_block_shutdown() {
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, router(Health::new()), shutdown.clone()));
        let mut client = TcpStream::connect(address).await.expect("connects");
        client.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("sent");
        shutdown.cancel();
        server.await.expect("not panicked").expect("no error");
    }
}
