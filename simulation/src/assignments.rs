//! The ingest-consumers: the real step of a stream for each assigned partition, and around it a simulated Kafka client,
//! requests and a signing key.

use std::sync::Arc;

use evidence::statement::LedgerId;
use evidence::{SignedStatement, SigningKey, Statement};
use ingest_consumer::acknowledgement;
use ingest_consumer::cursor;
use ingest_consumer::stream::{Cursor, InspectError, Limits, Permission, Refusal, Stream, SubmitOutcome};

use crate::committers::{Reply, RequestError};
use crate::ledger::{TOPIC, partition};

const LIMITS: Limits =
    Limits { batch_events: 7, batch_bytes: 200, batch_age_ms: 500, request_statements: 3, unacknowledged: 6 };

/// A partition that a process believes to own. Two processes can believe so at once.
pub(crate) struct Assignment {
    pub(crate) number: u64,
    pub(crate) partition: u32,
    /// The index of its ingest key.
    pub(crate) key: usize,
    /// Whether the partition was assigned to another process since.
    pub(crate) is_zombie: bool,
    pub(crate) stream: Stream,
    /// The next offset of its Kafka client.
    pub(crate) reader: Option<u64>,
    pub(crate) inspecting: Option<Inspecting>,
    pub(crate) request: Option<Request>,
}

pub(crate) enum Inspecting {
    /// The committer will be asked.
    Asked,
    /// The committer was asked in this call.
    Sent(u64),
    /// The committer answered; Kafka will be asked.
    Answered(Box<(Cursor, Permission)>),
}

pub(crate) enum Request {
    /// Kafka will be asked for the topic id.
    Unchecked(Option<String>, Vec<Statement>),
    /// The committer was asked in this call.
    Sent(u64, Vec<SignedStatement>),
}

impl Assignment {
    pub(crate) fn new(number: u64, of: u32, key: usize, ledger: &LedgerId) -> Self {
        let stream = Stream::new(ledger.clone(), partition(of), LIMITS);
        let (reader, inspecting, request) = (None, None, None);
        Self { number, partition: of, key, is_zombie: false, stream, reader, inspecting, request }
    }

    /// Signs statements as `ingest_consumer::clients` does. Returns them with the body that submits them.
    pub(crate) fn sign(statements: Vec<Statement>, key: &Arc<SigningKey>) -> (Vec<SignedStatement>, Vec<u8>) {
        let signed: Vec<_> = statements.into_iter().map(|statement| SignedStatement::sign(statement, &[key])).collect();
        let body = body(&signed);
        (signed, body)
    }
}

/// The body of a submission.
pub(crate) fn body(signed: &[SignedStatement]) -> Vec<u8> {
    let text = |signed: &SignedStatement| String::from_utf8(signed.to_bytes()).expect("notes are text");
    let request = committer_client::SubmitRequest { statements: signed.iter().map(text).collect() };
    serde_json::to_vec(&request).expect("texts are JSON")
}

/// Verifies the answer about a cursor, as `ingest_consumer::clients` does.
pub(crate) fn inspected(
    ledger: &LedgerId,
    of: u32,
    key: &SigningKey,
    reply: Reply,
) -> Result<(Cursor, Permission), InspectError> {
    let unavailable = |why: &str| InspectError::Unavailable(why.to_owned());
    let (answer, keys) = match reply {
        Reply::Cursor(Ok(answer)) => answer,
        Reply::Cursor(Err(RequestError::Unavailable(why))) => return Err(unavailable(&why)),
        Reply::Cursor(Err(RequestError::Refused(failure))) => return Err(unavailable(&failure.message)),
        Reply::Submitted(_) => return Err(unavailable("an answer to another question")),
    };
    let keys = cursor::keys(ledger, &keys.entries).map_err(InspectError::Invalid)?;
    let verified = cursor::verify(ledger, &keys, &partition(of), &answer).map_err(InspectError::Invalid)?;
    Ok((verified, cursor::permission(ledger, &keys, key.verifier_key(), TOPIC)))
}

/// The outcome of a submission, as `ingest_consumer::clients` sees it.
pub(crate) fn answered(signed: &[SignedStatement], reply: Reply) -> SubmitOutcome {
    match reply {
        Reply::Submitted(Ok(response)) => acknowledgement::verify(signed, response),
        Reply::Submitted(Err(RequestError::Refused(failure))) => {
            let (code, message) = (failure.code.to_owned(), failure.message);
            SubmitOutcome::Decided { accepted: 0, refused: Some(Refusal { code, message }) }
        }
        Reply::Submitted(Err(RequestError::Unavailable(problem))) => {
            SubmitOutcome::Unknown { problem, retry_after_ms: Some(1000) }
        }
        Reply::Cursor(_) => {
            SubmitOutcome::Unknown { problem: "an answer to another question".to_owned(), retry_after_ms: None }
        }
    }
}
