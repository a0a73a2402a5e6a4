//! The HTTP interface: submissions, reads, and the log as C2SP tlog-tiles. All reads come from the store.

mod answer;
mod opened;
mod reads;
mod submit;
mod tiles;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::{get, post};
use committer_client::caps;

pub use answer::ApiError;
pub use opened::Opened;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    /// Set once the database is open and the chain has begun.
    opened: Arc<OnceLock<Opened>>,
    bodies: submit::Bodies,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self { opened: Arc::default(), bodies: submit::Bodies::new() }
    }

    /// Serves requests from now on. Until then they are answered with 503.
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
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        api.opened
            .get()
            .cloned()
            .ok_or_else(|| ApiError::unavailable("the committer is not ready yet: /readyz says why"))
    }
}
