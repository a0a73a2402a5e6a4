//! What the committer's answer to a submission says, believed only as far as it shows.

use committer_client::SubmitResponse;
use evidence::{Entry, Hash, SignedStatement};

use crate::stream::{Answer, Refused};

/// An acknowledgement counts when it shows the statement in its entry.
pub fn decided(signed: &[SignedStatement], answer: SubmitResponse) -> Answer {
    for (signed, accepted) in signed.iter().zip(&answer.accepted) {
        if !acknowledges(&accepted.entry, signed.hash()) {
            let problem = format!("the committer acknowledged entry {}, which holds another statement", accepted.seq);
            return Answer::Unknown { problem, retry_after_ms: None };
        }
    }
    let refused = answer.refused.map(|refused| Refused { code: refused.code, message: refused.message });
    Answer::Decided { accepted: answer.accepted.len(), refused }
}

/// Whether an entry holds the statement with this identity: what an acknowledgement must show.
fn acknowledges(entry: &str, statement: Hash) -> bool {
    Entry::parse(entry.as_bytes()).is_ok_and(|entry| entry.statement.hash() == statement)
}

#[cfg(test)]
mod tests {
    use committer_client::{Accepted, RefusedStatement};

    use super::*;
    use testbed::memory_ledger::MemoryLedger;

    #[test]
    fn an_acknowledgement_of_another_statement_decides_nothing() {
        let ledger = MemoryLedger::new();
        let entries = ledger.entries();
        let signed: Vec<SignedStatement> = entries.iter().map(|entry| entry.statement.clone()).collect();
        let accepted = |which: usize| Accepted {
            seq: entries[which].seq,
            entry: String::from_utf8(entries[which].to_bytes()).expect("text"),
        };
        let statement = Some(RefusedStatement { index: 1, code: "wrong-prev".into(), message: "no".into() });
        let answer = |which, refused| SubmitResponse { accepted: vec![accepted(which)], refused, cursor: None };
        let refused = Some(Refused { code: "wrong-prev".into(), message: "no".into() });
        assert_eq!(decided(&signed, answer(0, statement.clone())), Answer::Decided { accepted: 1, refused });
        let other = decided(&signed, answer(1, statement));
        assert!(matches!(&other, Answer::Unknown { problem, .. } if problem.contains("entry 1")), "{other:?}");
    }

    #[test]
    fn an_entry_acknowledges_the_statement_that_it_holds() {
        let ledger = MemoryLedger::new();
        let [genesis, grant] = ledger.entries() else { panic!("two entries") };
        let text = String::from_utf8(grant.to_bytes()).expect("text");
        assert!(acknowledges(&text, grant.statement.hash()));
        assert!(!acknowledges(&text, genesis.statement.hash()));
        assert!(!acknowledges("", grant.statement.hash()));
    }
}
