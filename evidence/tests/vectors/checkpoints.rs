//! Checkpoints.

use evidence::{Checkpoint, SignedCheckpoint};
use serde::Serialize;

use crate::fixture::{KeyRing, ORIGIN, checkpoint, head, signed_text};
use crate::form::{Input, Refused, Text, as_text, refused_text};

#[derive(Serialize)]
pub(crate) struct Vectors {
    checkpoints: Vec<Valid>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Valid {
    name: &'static str,
    checkpoint: String,
    origin: String,
    size: Text,
    root: Text,
}

pub(crate) fn vectors() -> Vectors {
    let ring = KeyRing::new();
    let cosigned = [(&ring.witness_1, 1_732_180_060), (&ring.anchor, 1_732_180_061)];
    let largest = Checkpoint { size: i64::MAX as u64, ..head(1) };
    let checkpoints = [
        ("the empty tree", checkpoint(0, &ring, &[])),
        ("one entry", checkpoint(1, &ring, &[])),
        ("two cosignatures", checkpoint(7, &ring, &cosigned)),
        ("the largest size", SignedCheckpoint::sign(largest, &ring.log)),
    ]
    .map(|(name, signed)| {
        let bytes = signed.to_bytes();
        assert_eq!(SignedCheckpoint::parse(&bytes).as_ref(), Ok(&signed));
        let Checkpoint { origin, size, root } = signed.checkpoint().clone();
        Valid { name, checkpoint: as_text(bytes), origin, size: size.into(), root: root.into() }
    });
    Vectors { checkpoints: checkpoints.into(), refused: refused_checkpoints(&ring) }
}

fn refused_checkpoints(ring: &KeyRing) -> Vec<Refused<Input>> {
    let text = head(7).encode();
    let root = head(7).root.to_string();
    let refused = |name: &str, text: &str, code| {
        refused_text(name, &signed_text(text, &[&ring.log]), code, SignedCheckpoint::parse)
    };
    let changed = |name: &str, from: &str, to: &str, code| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        refused(name, &changed, code)
    };
    vec![
        changed("a leading zero", "\n7\n", "\n07\n", "malformed"),
        changed("a sign", "\n7\n", "\n+7\n", "malformed"),
        changed("2^63", "\n7\n", "\n9223372036854775808\n", "malformed"),
        changed("no size", "\n7\n", "\n", "malformed"),
        changed("a root without padding", &root, root.trim_end_matches('='), "malformed"),
        changed("size 0 with another root", "\n7\n", "\n0\n", "malformed"),
        changed("an origin with a space", "example.com/audit", "example.com audit", "unsupported"),
        changed("an origin with a plus", "example.com/audit", "example.com+audit", "unsupported"),
        refused("an extension line", &format!("{text}extension\n"), "unsupported"),
        refused("an empty line at the end of the text", &format!("{text}\n"), "malformed"),
        refused("only an origin", &format!("{ORIGIN}\n"), "malformed"),
        refused_text("no signature", text.as_bytes(), "malformed", SignedCheckpoint::parse),
    ]
}
