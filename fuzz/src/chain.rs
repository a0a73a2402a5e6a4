//! Events, notes, statements, entries.

use evidence::statement::HeadsLine;
use evidence::{Entry, EventRef, HeaderRef, LeafHasher, LeafPreimage, Note, SignedStatement, Statement, TimestampType};

use crate::text;

pub(crate) fn content(data: &[u8]) {
    let Ok(content) = evidence::decode_content(data) else { return };
    let headers: Vec<HeaderRef<'_>> = content.headers().collect();
    let (key, value, timestamp_type) = (content.key, content.value, TimestampType::Create);
    let event = EventRef { offset: 1, timestamp: 2, timestamp_type, key, value, headers: &headers };
    let mut encoded = Vec::new();
    event.encode_content(&mut encoded);
    assert_eq!(encoded, data);
    // The three ways to hash an event agree.
    let mut hasher = LeafHasher::new();
    hasher.push(&event);
    hasher.push_content(1, 2, timestamp_type, data).expect("decoded above");
    let alone = LeafPreimage { offset: 1, timestamp: 2, timestamp_type, content: evidence::content_hash(data) }.leaf();
    assert_eq!(hasher.drain().leaves, [alone, alone]);
}

pub(crate) fn leaf_preimage(data: &[u8]) {
    let Ok(bytes) = data.try_into() else { return };
    if let Ok(preimage) = LeafPreimage::from_bytes(bytes) {
        assert_eq!(preimage.to_bytes(), data);
    }
}

pub(crate) fn note(data: &[u8]) {
    let Ok(note) = Note::parse(data) else { return };
    assert_eq!(note.to_bytes(), data);
    for signature in note.signatures() {
        let line = signature.to_line();
        assert_eq!(evidence::NoteSignature::parse(&line).expect("its own line"), *signature);
    }
}

pub(crate) fn statement(data: &[u8]) {
    let Ok(signed) = SignedStatement::parse(data) else { return };
    assert_eq!(signed.to_bytes(), data);
    let again = signed.statement().encode();
    assert_eq!(again, signed.note().text());
    assert_eq!(Statement::parse(&again).expect("its own text"), *signed.statement());
}

pub(crate) fn entry(data: &[u8]) {
    if let Ok(entry) = Entry::parse(data) {
        assert_eq!(entry.to_bytes(), data);
        assert_eq!(entry.leaf_hash(), evidence::tree::leaf_hash(data));
    }
}

pub(crate) fn heads_line(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(line) = text.parse::<HeadsLine>() {
        assert_eq!(line.to_string(), text);
    }
}
