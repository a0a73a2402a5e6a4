//! The committer's answers.

use committer_client::{
    Commitment, Cursor, EntryView, ErrorView, Heads, Keys, Status, StreamEntries, SubmitRequest, SubmitResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Tries a body as each of the interface's types.
pub(crate) fn answer(data: &[u8]) {
    as_type::<SubmitRequest>(data);
    as_type::<SubmitResponse>(data);
    as_type::<Cursor>(data);
    as_type::<Keys>(data);
    as_type::<StreamEntries>(data);
    as_type::<EntryView>(data);
    as_type::<Heads>(data);
    as_type::<Status>(data);
    as_type::<Commitment>(data);
    as_type::<ErrorView>(data);
}

/// Requires that any other reader sees the same: the body has each field that is written again, with the same value, and
/// no duplicate key decides.
fn as_type<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(data) else { return };
    let again = serde_json::to_value(&read).expect("can be written");
    let Ok(body) = serde_json::from_slice::<Value>(data) else { return };
    assert!(is_in(&again, &body), "{again} in {body}");
    let back: T = serde_json::from_value(again.clone()).expect("reads back");
    assert_eq!(serde_json::to_value(&back).expect("can be written"), again);
}

/// Whether `whole` contains all of `part`. Null equals absent.
fn is_in(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| is_in(value, whole.get(key).unwrap_or(&Value::Null)))
        }
        // Structures may be written as lists of their fields.
        (Value::Object(part), Value::Array(whole)) => part.len() >= whole.len(),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_in(part, whole))
        }
        (part, whole) => part == whole,
    }
}
