//! A Git remote over smart HTTP, by Git's own server program.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::oneshot;

use super::git;

/// Maximum size of a push.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Serves all repositories of a folder, for fetching and pushing.
#[derive(Debug)]
pub struct GitHttp {
    address: SocketAddr,
    served: Arc<Served>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Served {
    folder: PathBuf,
    /// `user:password` in base64; without it, everybody may push.
    login: Option<String>,
    /// The status of every answer, instead of serving the request; 0 serves.
    fault: AtomicU16,
    /// Whether the server takes a push and then answers with an error.
    loses_answers: AtomicBool,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl GitHttp {
    /// Serves the repositories in `folder` to everybody.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(folder: impl Into<PathBuf>) -> Self {
        Self::serve(folder.into(), None)
    }

    /// Serves the repositories in `folder` to one user. `login` is `user:password` in base64, as HTTP's basic
    /// authentication sends it.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start_with_login(folder: impl Into<PathBuf>, login: &str) -> Self {
        Self::serve(folder.into(), Some(login.to_owned()))
    }

    fn serve(folder: PathBuf, login: Option<String>) -> Self {
        let mut server = Self {
            address: (Ipv4Addr::LOCALHOST, crate::free_port()).into(),
            served: Arc::new(Served { folder, login, fault: AtomicU16::new(0), loses_answers: AtomicBool::new(false) }),
            running: None,
        };
        server.start_again();
        server
    }

    /// The URL of a repository, by its name in the folder.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// Answers every request with this status from now on, such as 401 for expired credentials or 507 for a full disk.
    /// `None` serves again.
    pub fn set_fault(&self, status: Option<u16>) {
        self.served.fault.store(status.unwrap_or(0), Ordering::SeqCst);
    }

    /// Sets whether the server takes pushes and then answers with 502.
    pub fn lose_answers(&self, loses: bool) {
        self.served.loses_answers.store(loses, Ordering::SeqCst);
    }

    /// Closes the port, so that connections are refused.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(());
            let _ = running.thread.join();
        }
    }

    /// Serves again on the same port after [`stop`](Self::stop).
    ///
    /// # Panics
    /// When another process took the port.
    pub fn start_again(&mut self) {
        self.stop();
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (address, served) = (self.address, Arc::clone(&self.served));
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).expect("the port is free");
                listener.set_nonblocking(true).expect("a socket can be set so");
                let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is here");
                let _ = ready.send(());
                let router = Router::new().fallback(answer).with_state(served);
                tokio::select! {
                    // Not gracefully, because open connections of clients would delay the end.
                    _ = stopped => {}
                    result = axum::serve(listener, router) => result.expect("serving does not end"),
                }
            });
        });
        is_ready.recv().expect("the server starts");
        self.running = Some(Running { stop, thread });
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let fault = served.fault.load(Ordering::SeqCst);
    if let Ok(status) = StatusCode::from_u16(fault) {
        return status.into_response();
    }
    if let Some(login) = &served.login {
        let sent = request.headers().get(header::AUTHORIZATION);
        if sent.is_none_or(|sent| sent.as_bytes() != format!("Basic {login}").as_bytes()) {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
            return (StatusCode::UNAUTHORIZED, ask).into_response();
        }
    }
    let loses = served.loses_answers.load(Ordering::SeqCst)
        && (request.method() == Method::POST && request.uri().path().ends_with("/git-receive-pack"));
    match run_backend(&served.folder, request).await {
        Ok(_) if loses => StatusCode::BAD_GATEWAY.into_response(),
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Runs `git http-backend` for one request, by CGI (RFC 3875).
async fn run_backend(folder: &Path, request: Request) -> Result<Response, axum::Error> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await?;
    let text = |name: HeaderName| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut command = Command::from(git());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        // A named user may push.
        .env("REMOTE_USER", "test")
        .env("REMOTE_ADDR", Ipv4Addr::LOCALHOST.to_string())
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(axum::Error::new)?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // It may answer and stop reading before it has read everything.
    let feed = async move { drop(stdin.write_all(&body).await) };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    Ok(parse(&output.map_err(axum::Error::new)?.stdout))
}

/// Parses the answer of a CGI program: header lines, an empty line, the body.
fn parse(output: &[u8]) -> Response {
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = match end {
        Some(end) => (&output[..end], &output[end + 4..]),
        None => (&output[..0], output),
    };
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(body)));
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            *response.status_mut() =
                code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
