//! Error answers, and the content types of the others.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use committer_client::{ErrorView, code};

use crate::appender::AppendError;
use crate::store::StoreError;

pub(super) const TEXT: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
pub(super) const BYTES: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/octet-stream")];

/// What is missing now may exist soon.
const UNKEPT: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Seconds after which clients should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error answer.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// One of [`committer_client::code`].
    pub code: &'static str,
    /// The reason for a person.
    pub message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Self {
        Self { status, code, message: message.to_string() }
    }

    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_REQUEST, message)
    }

    pub(super) fn too_large(message: impl ToString) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE, message)
    }

    pub(super) fn not_found(what: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, code::NOT_FOUND, what)
    }

    pub(super) fn busy(message: impl ToString) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code::UNAVAILABLE, message)
    }

    pub(super) fn unavailable(message: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let view = Json(ErrorView { code: self.code.to_owned(), message: self.message });
        let mut response = (self.status, UNKEPT, view).into_response();
        if self.code == code::UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if !error.is_transient() {
            tracing::error!("{error}");
        }
        Self::unavailable(error)
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Busy => Self::busy(error),
            AppendError::Unavailable(_) => Self::unavailable(error),
        }
    }
}
