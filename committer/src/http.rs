//! The HTTP interface: submissions, reads, and the log as C2SP tlog-tiles. Everything read comes from the store.

mod answer;
mod reads;
mod submit;
mod tiles;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::{get, post};
use committer_client::caps;
use evidence::statement::LedgerId;

pub use answer::Failure;

use crate::appender::Appender;
use crate::checkpoints::Checkpoints;
use crate::compute::{Compute, Turns};
use crate::store::Store;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    /// Set once the database is open and the chain has begun.
    opened: Arc<OnceLock<Opened>>,
    bodies: submit::Bodies,
}

/// The chain to serve: what the HTTP interface does once a request was read.
#[derive(Clone)]
pub struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) appender: Appender,
    pub(crate) ledger: LedgerId,
    pub(crate) compute: Compute,
    pub(crate) turns: Turns,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self { opened: Arc::default(), bodies: submit::Bodies::new() }
    }

    /// From now on requests are served instead of put off.
    pub(crate) fn open(&self, opened: Opened) {
        // Only `run` does this, once.
        let _ = self.opened.set(opened);
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/v1/statements", post(submit::statements).layer(DefaultBodyLimit::max(caps::SUBMIT_BODY_BYTES)))
            .route("/v1/cursors", get(reads::cursors))
            .route("/v1/keys", get(reads::keys))
            .route("/v1/entries", get(reads::covering_entry))
            .route("/v1/entries/{seq}", get(reads::entry))
            .route("/v1/streams/entries", get(reads::stream_entries))
            .route("/v1/heads", get(reads::heads))
            .route("/v1/status", get(reads::status))
            .route("/checkpoint", get(tiles::checkpoint))
            .route("/tile/{*rest}", get(tiles::tile))
            .with_state(self.clone())
    }
}

impl FromRef<Api> for submit::Bodies {
    fn from_ref(api: &Api) -> Self {
        api.bodies.clone()
    }
}

impl FromRequestParts<Api> for Opened {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, api: &Api) -> Result<Self, Failure> {
        api.opened
            .get()
            .cloned()
            .ok_or_else(|| Failure::unavailable("the committer is not ready yet: /readyz says why"))
    }
}
