//! The proof of one event, read and verified.

use std::path::Path;
use std::sync::LazyLock;

use evidence::policy::Policy;
use evidence::statement::LedgerId;
use evidence::{EventProof, EventProofChecker};
use serde_json::Value;

/// The golden event proofs, with the ledger and policy that they are verified against.
struct GoldenProofs {
    ledger: LedgerId,
    policy: Policy,
    proofs: Vec<EventProof>,
}

static GOLDEN: LazyLock<GoldenProofs> = LazyLock::new(|| {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../evidence/vectors/event_proofs.json"));
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).expect("vectors")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let proof = |proof: &Value| EventProof::parse(text(&proof["proof"]).as_bytes()).expect("a proof");
    GoldenProofs {
        ledger: LedgerId {
            origin: text(&vectors["origin"]),
            genesis: text(&vectors["genesis"]).parse().expect("a hash"),
        },
        policy: Policy::parse(text(&vectors["policy"]).as_bytes()).expect("a policy"),
        proofs: vectors["proofs"].as_array().expect("a list").iter().map(proof).collect(),
    }
});

pub(crate) fn event_proof(data: &[u8]) {
    let Ok(proof) = EventProof::parse(data) else { return };
    assert_eq!(proof.to_bytes(), data);
    let GoldenProofs { ledger, policy, proofs } = &*GOLDEN;
    let mut checker = EventProofChecker::new(ledger.clone(), policy);
    let alone = checker.check(&proof).map(|sealed| sealed.words.satisfied);
    // Proofs that the checker took before make no difference.
    for golden in proofs {
        assert!(checker.check(golden).is_ok_and(|sealed| sealed.words.satisfied));
    }
    assert_eq!(checker.check(&proof).map(|sealed| sealed.words.satisfied), alone);
    if alone == Ok(true) {
        let what = |proof: &EventProof| (proof.offset, proof.timestamp, proof.timestamp_type, proof.content.clone());
        assert!(proofs.iter().any(|golden| what(golden) == what(&proof)), "another event is proven");
    }
}
