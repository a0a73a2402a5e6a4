//! A witness over HTTP that follows the protocol, unless a test changes that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use evidence::witness::AddCheckpoint;
use evidence::{Algorithm, Checkpoint, SignedCheckpoint, SigningKey};
use tokio::task::JoinHandle;

use super::{log_key, serve};

/// How a witness behaves, and what it has seen.
pub(crate) struct State {
    /// The checkpoint that it cosigned last.
    pub(crate) seen: Option<Checkpoint>,
    /// When false, it answers with a cosignature of another checkpoint.
    pub(crate) honest: bool,
    /// The answer to every request, instead of what the protocol requires.
    pub(crate) answer: Option<(u16, String)>,
    /// The time of its cosignatures.
    pub(crate) time: u64,
    /// The number of requests.
    pub(crate) requests: u64,
}

pub(crate) struct Witness {
    address: SocketAddr,
    pub(crate) key: SigningKey,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Witness {
    pub(crate) async fn start(name: &str) -> Self {
        let key = SigningKey::from_seed(name, Algorithm::Cosignature, &[9; 32]).expect("a name");
        let state = State { seen: None, honest: true, answer: None, time: 1_700_000_000, requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let (signer, shared) = (key.clone(), Arc::clone(&state));
        let handler = move |body: axum::body::Bytes| {
            std::future::ready(add_checkpoint(&signer, &mut shared.lock().expect("not poisoned"), &body))
        };
        let router = Router::new().route("/w/add-checkpoint", axum::routing::post(handler));
        let (address, server) = serve(router).await;
        Self { address, key, state, server }
    }

    /// Reads or changes its state.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("not poisoned"))
    }

    /// The section of the configuration.
    pub(crate) fn config(&self) -> String {
        format!("[[witnesses]]\nurl = 'http://{}/w'\nvkey = '{}'\n", self.address, self.key.verifier_key())
    }

    /// Whether it has cosigned a checkpoint.
    pub(crate) fn is_on(&self, checkpoint: &SignedCheckpoint) -> bool {
        checkpoint.note().verify_cosignature(self.key.verifier_key()).is_ok()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn add_checkpoint(key: &SigningKey, state: &mut State, body: &[u8]) -> Response {
    state.requests += 1;
    if let Some((status, answer)) = &state.answer {
        return (StatusCode::from_u16(*status).expect("a status"), answer.clone()).into_response();
    }
    let request = AddCheckpoint::parse(body).expect("a request in its only spelling");
    request.checkpoint.verify(log_key().verifier_key()).expect("signed by the log");
    let size = state.seen.as_ref().map_or(0, |seen| seen.size);
    if request.old_size != size {
        return (StatusCode::CONFLICT, format!("{size}\n")).into_response();
    }
    request.verify_step(state.seen.as_ref()).expect("consistent");
    state.seen = Some(request.checkpoint.checkpoint().clone());
    let mut cosigned = request.checkpoint;
    if !state.honest {
        let other = Checkpoint { size: size + 1_000, ..cosigned.checkpoint().clone() };
        cosigned = SignedCheckpoint::sign(other, &log_key());
    }
    cosigned.cosign(key, state.time);
    let line = cosigned.note().signatures().last().expect("cosigned").to_line();
    format!("{line}\n").into_response()
}
