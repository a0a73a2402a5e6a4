//! `POST /v1/statements`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use committer_client::{Accepted, Stopped, SubmitRequest, SubmitResponse, caps, code};
use evidence::{Error, SignedStatement};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Failure;
use super::{Opened, reads};
use crate::appender::{Appender, Candidate, Outcome};
use crate::store::StoredEntry;

/// Bytes of submissions being read or waiting, in KiB, all requests together.
const BODIES_KIB_MAX: usize = 64 * 1024;

/// How long a client may take to send its statements.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Room for bodies of submissions.
#[derive(Clone)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_KIB_MAX)))
    }

    /// Takes the room that a body needs by its announced length, or the most that one may take.
    fn take_room(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Failure> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(caps::SUBMIT_BODY_BYTES);
        if length > caps::SUBMIT_BODY_BYTES {
            return Err(body_too_large());
        }
        let kib = u32::try_from(length / 1024 + 1).map_err(Failure::too_large)?;
        Arc::clone(&self.0).try_acquire_many_owned(kib).map_err(|_| Failure::busy("too many submissions are waiting"))
    }
}

/// What was read of a submission.
struct Read {
    candidates: Vec<Candidate>,
    /// The first statement that is none.
    stopped: Option<Stopped>,
}

pub(super) async fn statements(
    State(bodies): State<Bodies>,
    opened: Opened,
    request: Request,
) -> Result<Json<SubmitResponse>, Failure> {
    // Held until the answer, as the statements are in memory until then.
    let _room = match bodies.take_room(request.headers()) {
        Ok(room) => room,
        Err(failure) => {
            discard_body(request).await;
            return Err(failure);
        }
    };
    let body = read_body(request).await?;
    opened.submit(body).await.map(Json)
}

impl Opened {
    /// Decides about the statements of a [`SubmitRequest`] in JSON.
    ///
    /// # Errors
    /// When it is no such request, or nothing is known about its outcome.
    pub async fn submit(&self, body: Bytes) -> Result<SubmitResponse, Failure> {
        let appender = self.appender.clone();
        // Some 20 microseconds a statement, mostly signatures: not on a thread that serves other requests.
        let turn = self.turns.wait().await;
        // The work goes on, and keeps its turn, when the client has gone away.
        let work = move || {
            let _turn = turn;
            read(&appender, &body)
        };
        let read = self.compute.run(work).await?;
        let Read { candidates, mut stopped } = read;
        if candidates.is_empty() {
            return Ok(SubmitResponse { accepted: Vec::new(), stopped, cursor: None });
        }
        let Outcome { accepted, refused, standing } = self.appender.append(candidates).await?;
        if let Some(refusal) = refused {
            let (code, message) = (refusal.code().to_owned(), refusal.to_string());
            stopped = Some(Stopped { index: accepted.len(), code, message });
        }
        let cursor = match standing {
            Some(row) => Some(self.cursor_of(row, &accepted).await?),
            None => None,
        };
        let view = |entry: StoredEntry| Ok(Accepted { seq: entry.seq, entry: reads::text(entry.bytes)? });
        let accepted = accepted.into_iter().map(view).collect::<Result<_, Failure>>()?;
        Ok(SubmitResponse { accepted, stopped, cursor })
    }
}

async fn read_body(request: Request) -> Result<Bytes, Failure> {
    let body = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, code::UNAVAILABLE, message)
    })?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
        _ => Failure::bad_request(rejection.body_text()),
    })
}

/// Lets a client finish sending, so that it reads the answer instead of finding the connection closed: as much as
/// might be an honest mistake, without keeping any of it.
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
    // One who is too slow finds the connection closed.
    let _ = tokio::time::timeout(BODY_TIME_MAX, discard).await;
}

fn body_too_large() -> Failure {
    Failure::too_large(format!("a submission has {} bytes at most", caps::SUBMIT_BODY_BYTES))
}

/// Parses the statements, up to the first that is none, and verifies their signatures ahead.
fn read(appender: &Appender, body: &[u8]) -> Result<Read, Failure> {
    let request: SubmitRequest = serde_json::from_slice(body).map_err(Failure::bad_request)?;
    match request.statements.len() {
        0 => return Err(Failure::bad_request("there are no statements")),
        n if n > caps::STATEMENTS => {
            return Err(Failure::too_large(format!("{n} statements, the most is {}", caps::STATEMENTS)));
        }
        _ => {}
    }
    let (mut statements, mut stopped) = (Vec::with_capacity(request.statements.len()), None);
    for (index, text) in request.statements.iter().enumerate() {
        match parse(text) {
            Ok(statement) => statements.push(statement),
            Err((code, message)) => {
                stopped = Some(Stopped { index, code: code.to_owned(), message });
                break;
            }
        }
    }
    Ok(Read { candidates: appender.prepare(statements), stopped })
}

fn parse(text: &str) -> Result<SignedStatement, (&'static str, String)> {
    if text.len() > caps::STATEMENT_BYTES {
        let message = format!("{} bytes, a statement has {} at most", text.len(), caps::STATEMENT_BYTES);
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
    use service::{Health, Shutdown};
    use tokio::sync::watch;
    use tokio::task::unconstrained;

    use super::*;
    use crate::appender::Parts;
    use crate::changes::Changes;
    use crate::checkpoints::Checkpoints;
    use crate::compute::{Compute, Turns};
    use crate::signer::Verdict;
    use crate::store::memory::{Direct, MemoryDatabase};
    use crate::system_clock;
    use testbed::statements::TestLedger;

    #[tokio::test]
    async fn a_submission_is_read_when_it_is_its_turn() {
        let ledger = TestLedger::new("turns");
        let store = MemoryDatabase::new(system_clock()).open(&ledger.id(), Arc::new(Direct)).expect("opens");
        let (appender, _) = Appender::new(Parts {
            recent: None,
            store: Arc::clone(&store),
            ledger: ledger.id(),
            clock: system_clock(),
            compute: Compute::Here,
            log_key: None,
            changes: Changes::new(),
            verdict: watch::channel(Verdict::Sound).1,
            seen: watch::channel(None).1,
            health: Health::new().component("appending"),
            stop: Shutdown::new(),
        });
        let checkpoints = Checkpoints::new(Arc::clone(&store), ledger.id());
        let (id, turns) = (ledger.id(), Turns::new());
        let opened = Opened { store, checkpoints, appender, ledger: id, compute: Compute::Here, turns };
        // Read at once, and refused as it is none.
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
