//! Checkpoints, proofs, tiles, policies, and the messages of witnesses.

use evidence::incident::Incident;
use evidence::policy::Policy;
use evidence::tile::{Tile, decode_entries, encode_entries};
use evidence::witness::{AddCheckpoint, parse_cosignatures, parse_size};
use evidence::{SignedCheckpoint, TlogProof, TrustFile};

use crate::text;

pub(crate) fn checkpoint(data: &[u8]) {
    if let Ok(signed) = SignedCheckpoint::parse(data) {
        assert_eq!(signed.to_bytes(), data);
    }
}

pub(crate) fn incident(data: &[u8]) {
    let Ok(incident) = Incident::parse(data) else { return };
    assert_eq!(incident.to_bytes(), data);
    // Without known log keys, an incident proves nothing.
    assert!(incident.verify(&[]).is_err());
}

pub(crate) fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_bytes(), data);
    }
}

pub(crate) fn witness_request(data: &[u8]) {
    let Ok(request) = AddCheckpoint::parse(data) else { return };
    assert_eq!(request.to_bytes(), data);
    // Any head before it gives an answer.
    let _ = request.verify_step(None);
    let _ = request.verify_step(Some(request.checkpoint.checkpoint()));
}

pub(crate) fn cosignatures(data: &[u8]) {
    if let Ok(size) = parse_size(data) {
        assert_eq!(format!("{size}\n").as_bytes(), data);
    }
    if let Ok(lines) = parse_cosignatures(data) {
        let encoded: String = lines.iter().map(|line| line.to_line() + "\n").collect();
        assert_eq!(encoded.as_bytes(), data);
    }
}

/// A policy may have comments and spaces. Without them it has one encoding.
pub(crate) fn policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    let plain = policy.encode();
    let again = Policy::parse(plain.as_bytes()).expect("its own text");
    assert_eq!(again.encode(), plain);
    assert_eq!((again.logs(), again.witnesses()), (policy.logs(), policy.witnesses()));
    for witness in policy.witnesses() {
        assert_eq!(policy.counts(&witness.key), again.counts(&witness.key));
    }
}

pub(crate) fn trust_file(data: &[u8]) {
    let Ok(trust) = TrustFile::parse(data) else { return };
    let plain = trust.encode();
    assert_eq!(TrustFile::parse(plain.as_bytes()).expect("its own text").encode(), plain);
    // The lines before the policy have one encoding.
    let head = plain.split("\n\n").next().unwrap_or_default();
    assert!(data.starts_with(head.as_bytes()));
}

pub(crate) fn tile_path(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(tile) = text.parse::<Tile>() {
        assert_eq!(tile.to_string(), text);
        assert!(tile.nodes().count() == usize::from(tile.width()));
    }
    if let Ok(tile) = Tile::parse_entries_path(text) {
        assert_eq!(tile.entries_path().as_deref(), Some(text));
    }
}

/// The first byte is the width of the tile; the others are the tile.
pub(crate) fn tile(data: &[u8]) {
    let Some((width, bytes)) = data.split_first() else { return };
    let Some(tile) = Tile::new(0, 0, u16::from(*width)) else { return };
    if let Ok(hashes) = tile.decode_hashes(bytes) {
        assert_eq!(hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>(), bytes);
    }
}

/// The first byte is the width of the tile less one, the others are the entry bundle.
pub(crate) fn entry_bundle(data: &[u8]) {
    let Some((width, bytes)) = data.split_first() else { return };
    if let Ok(entries) = decode_entries(bytes, u16::from(*width) + 1) {
        assert_eq!(encode_entries(&entries).expect("as long as they were"), bytes);
    }
}
