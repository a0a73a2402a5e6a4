//! The committer's answer to a submission, believed only as far as it proves itself.

use committer_client::SubmitResponse;
use evidence::{Entry, Hash, SignedStatement};

use crate::stream::{Refusal, SubmitOutcome};

/// The outcome of a request with these statements. An acknowledgement counts only if its entry holds the statement.
pub fn verify(signed: &[SignedStatement], response: SubmitResponse) -> SubmitOutcome {
    for (signed, accepted) in signed.iter().zip(&response.accepted) {
        if !holds(&accepted.entry, signed.hash()) {
            let problem = format!("the committer acknowledged entry {}, which holds another statement", accepted.seq);
            return SubmitOutcome::Unknown { problem, retry_after_ms: None };
        }
    }
    let refused = response.refused.map(|refused| Refusal { code: refused.code, message: refused.message });
    SubmitOutcome::Decided { accepted: response.accepted.len(), refused }
}

/// Whether an entry holds the statement with this hash.
fn holds(entry: &str, statement: Hash) -> bool {
    Entry::parse(entry.as_bytes()).is_ok_and(|entry| entry.statement.hash() == statement)
}

#[cfg(test)]
mod tests {
    use committer_client::{Accepted, RefusedStatement};

    use super::*;
    use testbed::memory_ledger::MemoryLedger;

    #[test]
    fn entry_with_another_statement_decides_nothing() {
        let ledger = MemoryLedger::new();
        let entries = ledger.entries();
        let signed: Vec<SignedStatement> = entries.iter().map(|entry| entry.statement.clone()).collect();
        let accepted = |which: usize| Accepted {
            seq: entries[which].seq,
            entry: String::from_utf8(entries[which].to_bytes()).expect("text"),
        };
        let statement = Some(RefusedStatement { index: 1, code: "wrong-prev".into(), message: "no".into() });
        let response = |which, refused| SubmitResponse { accepted: vec![accepted(which)], refused, cursor: None };
        let refused = Some(Refusal { code: "wrong-prev".into(), message: "no".into() });
        let expected = SubmitOutcome::Decided { accepted: 1, refused };
        assert_eq!(verify(&signed, response(0, statement.clone())), expected);
        let other = verify(&signed, response(1, statement));
        assert!(matches!(&other, SubmitOutcome::Unknown { problem, .. } if problem.contains("entry 1")), "{other:?}");
    }

    #[test]
    fn entry_acknowledges_only_its_own_statement() {
        let ledger = MemoryLedger::new();
        let [genesis, grant] = ledger.entries() else { panic!("two entries") };
        let text = String::from_utf8(grant.to_bytes()).expect("text");
        assert!(holds(&text, grant.statement.hash()));
        assert!(!holds(&text, genesis.statement.hash()));
        assert!(!holds("", grant.statement.hash()));
    }
}
