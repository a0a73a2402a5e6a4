//! `POST /v1/statements`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use committer_client::{Accepted, RefusedStatement, SubmitRequest, SubmitResponse, caps, code};
use evidence::{Error, SignedStatement};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::ApiError;
use super::opened::Opened;
use super::reads;
use crate::appender::{Appender, Candidate, Decision};
use crate::store::StoredEntry;

/// Maximum KiB of submissions that are read or wait, over all requests.
const BODIES_KIB_MAX: usize = 64 * 1024;

/// Maximum time for a client to send its statements.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Limits the memory for submissions' bodies.
#[derive(Clone)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_KIB_MAX)))
    }

    /// Takes room for a body's announced length, or for the maximum if none is announced.
    fn take_room(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(caps::SUBMIT_BODY_BYTES);
        if length > caps::SUBMIT_BODY_BYTES {
            return Err(body_too_large());
        }
        let kib = u32::try_from(length / 1024 + 1).map_err(ApiError::too_large)?;
        Arc::clone(&self.0).try_acquire_many_owned(kib).map_err(|_| ApiError::busy("too many submissions are waiting"))
    }
}

/// A parsed submission.
struct ParsedRequest {
    candidates: Vec<Candidate>,
    /// The first statement that cannot be parsed.
    refused: Option<RefusedStatement>,
}

pub(super) async fn statements(
    State(bodies): State<Bodies>,
    opened: Opened,
    request: Request,
) -> Result<Json<SubmitResponse>, ApiError> {
    // Held until the answer: the statements are in memory until then.
    let _room = match bodies.take_room(request.headers()) {
        Ok(room) => room,
        Err(error) => {
            discard_body(request).await;
            return Err(error);
        }
    };
    let body = read_body(request).await?;
    opened.submit(body).await.map(Json)
}

impl Opened {
    /// Appends the statements of a [`SubmitRequest`] in JSON, as far as they are accepted.
    ///
    /// # Errors
    /// If the request is malformed, or nothing is known about its outcome.
    pub async fn submit(&self, body: Bytes) -> Result<SubmitResponse, ApiError> {
        let appender = self.appender.clone();
        // Takes some 20 microseconds for each statement: too long for a thread that serves other requests.
        let turn = self.turns.wait().await;
        // The work continues, and keeps its turn, if the client goes away.
        let work = move || {
            let _turn = turn;
            read(&appender, &body)
        };
        let read = self.compute.run(work).await?;
        let ParsedRequest { candidates, mut refused } = read;
        if candidates.is_empty() {
            return Ok(SubmitResponse { accepted: Vec::new(), refused, cursor: None });
        }
        let Decision { accepted, refused: refusal, open_stream } = self.appender.append(candidates).await?;
        if let Some(refusal) = refusal {
            let (code, message) = (refusal.code().to_owned(), refusal.to_string());
            refused = Some(RefusedStatement { index: accepted.len(), code, message });
        }
        let cursor = match open_stream {
            Some(row) => Some(self.cursor_of(row, &accepted).await?),
            None => None,
        };
        let view = |entry: StoredEntry| Ok(Accepted { seq: entry.seq, entry: reads::text(entry.bytes)? });
        let accepted = accepted.into_iter().map(view).collect::<Result<_, ApiError>>()?;
        Ok(SubmitResponse { accepted, refused, cursor })
    }
}

async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, code::UNAVAILABLE, message)
    })?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
        _ => ApiError::bad_request(rejection.body_text()),
    })
}

/// Reads and drops the body, so that the client reads the answer instead of finding the connection closed. Stops at what
/// could still be an honest mistake.
async fn discard_body(request: Request) {
    let mut left = 2 * caps::SUBMIT_BODY_BYTES;
    let mut body = request.into_body().into_data_stream();
    let discard = async {
        while let Some(Ok(part)) = body.next().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that is too slow finds the connection closed.
    let _ = tokio::time::timeout(BODY_TIME_MAX, discard).await;
}

fn body_too_large() -> ApiError {
    ApiError::too_large(format!("a submission has at most {} bytes", caps::SUBMIT_BODY_BYTES))
}

/// Parses the statements, up to the first malformed one, and verifies their signatures ahead.
fn read(appender: &Appender, body: &[u8]) -> Result<ParsedRequest, ApiError> {
    let request: SubmitRequest = serde_json::from_slice(body).map_err(ApiError::bad_request)?;
    match request.statements.len() {
        0 => return Err(ApiError::bad_request("there are no statements")),
        n if n > caps::STATEMENTS => {
            return Err(ApiError::too_large(format!("{n} statements; the maximum is {}", caps::STATEMENTS)));
        }
        _ => {}
    }
    let (mut statements, mut refused) = (Vec::with_capacity(request.statements.len()), None);
    for (index, text) in request.statements.iter().enumerate() {
        match parse(text) {
            Ok(statement) => statements.push(statement),
            Err((code, message)) => {
                refused = Some(RefusedStatement { index, code: code.to_owned(), message });
                break;
            }
        }
    }
    Ok(ParsedRequest { candidates: appender.prepare(statements), refused })
}

fn parse(text: &str) -> Result<SignedStatement, (&'static str, String)> {
    if text.len() > caps::STATEMENT_BYTES {
        let message = format!("{} bytes; the maximum of a statement is {}", text.len(), caps::STATEMENT_BYTES);
        return Err((code::TOO_LARGE, message));
    }
    SignedStatement::parse(text.as_bytes()).map_err(|error| {
        let code = match error {
            Error::Unsupported { .. } => code::UNSUPPORTED,
            Error::Malformed { .. } => code::MALFORMED,
        };
        (code, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, poll};
    use tokio::task::unconstrained;

    use super::*;
    use crate::appender::AppenderParts;
    use crate::checkpoints::Checkpoints;
    use crate::compute::{Compute, Turns};
    use crate::store::memory::{Direct, MemoryDatabase};
    use crate::system_clock;
    use testbed::statements::TestLedger;

    #[tokio::test]
    async fn submission_is_parsed_when_it_gets_a_turn() {
        let ledger = TestLedger::new("turns");
        let store = MemoryDatabase::new(system_clock()).open(&ledger.id(), Arc::new(Direct)).expect("opens");
        let parts = AppenderParts::for_test(Arc::clone(&store), ledger.id());
        let (appender, _) = Appender::new(AppenderParts { compute: Compute::Here, ..parts });
        let checkpoints = Checkpoints::new(Arc::clone(&store), ledger.id());
        let (id, turns) = (ledger.id(), Turns::new());
        let opened = Opened { store, checkpoints, appender, ledger: id, compute: Compute::Here, turns };
        // Parsed at once, and refused.
        let submission = || opened.submit(Bytes::from_static(b"no JSON"));
        assert!(submission().now_or_never().is_some_and(|read| read.is_err()));

        let turn = || unconstrained(opened.turns.wait()).now_or_never();
        let mut turns: Vec<_> = std::iter::from_fn(turn).collect();
        assert_eq!(turns.len(), std::thread::available_parallelism().expect("known").get());
        let mut waiting = pin!(submission());
        assert!(poll!(&mut waiting).is_pending());
        turns.pop();
        assert!(waiting.now_or_never().is_some_and(|read| read.is_err()));
        assert!(turn().is_some(), "given back");
    }
}
