//! tlog-proofs: each line and each length of a proof that an entry is in the log.

use evidence::policy::Policy;
use evidence::tree::{inclusion_nodes, leaf_hash, node_hash};
use evidence::{Hash, TlogProof};

use super::fields::forgeries;
use super::{Forger, sampled};
use crate::common::T0;

/// The inclusion path of an entry in the whole log.
fn path(forger: &Forger, index: u64) -> Vec<Hash> {
    let fold = |group: Vec<_>| {
        let hashes: Vec<Hash> = group.into_iter().map(|node| forger.ledger.node(node)).collect();
        hashes.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).expect("a group has nodes")
    };
    inclusion_nodes(index, forger.ledger.size()).expect("in the log").into_iter().map(fold).collect()
}

#[test]
fn forged_tlog_proof_lines_are_refused() {
    let forger = Forger::new();
    let trust = forger.trust();
    let policy = Policy::parse(trust.split_once("\n\n").expect("a policy follows").1.as_bytes()).expect("a policy");
    for index in [0, 6, 11] {
        let leaf = leaf_hash(&forger.ledger.entries[index as usize]);
        let checkpoint = forger.cosigned(12, T0);
        let honest = TlogProof { extra: Some(b"extra".to_vec()), index, path: path(&forger, index), checkpoint };
        let is_proven = |proof: &TlogProof, leaf: &Hash| proof.verify(leaf, &policy).is_ok_and(|words| words.satisfied);
        assert!(is_proven(&honest, &leaf));
        let text = String::from_utf8(honest.to_bytes()).expect("text");
        for forged in sampled(forgeries(&text)) {
            let Ok(proof) = TlogProof::parse(forged.text.as_bytes()) else { continue };
            if !is_proven(&proof, &leaf) {
                continue;
            }
            // Nothing vouches for `extra`, and lines of unknown keys mean nothing. All else is unchanged.
            let same = (proof.index, &proof.path, proof.checkpoint.checkpoint())
                == (index, &honest.path, honest.checkpoint.checkpoint());
            assert!(same, "{}", forged.what);
        }
        for end in 0..text.len() {
            let cut = TlogProof::parse(&text.as_bytes()[..end]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| !is_proven(&cut, &leaf)), "cut at {end}");
        }
        // It proves this entry and no other.
        for other in (0..12).filter(|other| *other != index) {
            let other = leaf_hash(&forger.ledger.entries[other as usize]);
            assert!(!is_proven(&honest, &other));
        }
    }
}
