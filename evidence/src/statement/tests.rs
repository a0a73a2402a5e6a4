use super::*;
use crate::{Algorithm, SignedStatement, SigningKey, VerifierKey, sha256};

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).expect("a valid name")
}

fn public(name: &str, seed: u8) -> VerifierKey {
    key(name, seed).verifier_key().clone()
}

fn ledger() -> LedgerId {
    LedgerId { origin: "example.com/audit".into(), genesis: sha256(b"genesis") }
}

fn orders() -> StreamId {
    Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(1)
}

fn genesis(operator: VerifierKey, log: VerifierKey) -> Statement {
    Statement::Genesis(Genesis { origin: log.name().into(), nonce: sha256(b"nonce"), operator, log, continues: None })
}

fn gap() -> Statement {
    Statement::Gap(Gap {
        ledger: ledger(),
        stream: orders(),
        topic_id: None,
        first: 0,
        next: 5,
        reason: Reason::Start,
        low: 5,
        high: 5,
        prev: None,
    })
}

fn summary() -> Statement {
    Statement::Summary(Summary {
        ledger: ledger(),
        stream: orders(),
        topic_id: None,
        first: 0,
        next: 5,
        events: 0,
        bytes: 0,
        time: None,
        root: crate::batch::root(&[]),
        last: None,
        prev: None,
    })
}

fn epoch() -> Statement {
    Statement::Epoch(Epoch {
        ledger: ledger(),
        stream: orders(),
        topic_id: None,
        old_topic_id: None,
        old_next: 7,
        start: 0,
        prev: sha256(b"last"),
    })
}

fn grant(topics: &[String]) -> Statement {
    Statement::Key(KeyStatement {
        ledger: ledger(),
        action: Action::Grant,
        role: Role::Ingest,
        key: public("ingest-a", 3),
        topics: topics.iter().map(|topic| topic.parse().expect("a topic")).collect(),
        distrust_from: None,
        prev: sha256(b"genesis"),
    })
}

fn problem(text: &str) -> String {
    Statement::parse(text).expect_err("must be refused").to_string()
}

#[test]
fn streams_are_those_of_summaries_gaps_and_epochs() {
    for statement in [summary(), gap(), epoch()] {
        assert_eq!(Statement::parse(&statement.encode()).as_ref(), Ok(&statement));
        assert_eq!(statement.stream(), Some(&orders()), "{}", statement.kind());
    }
    assert_eq!(grant(&["orders".into()]).stream(), None);
    assert_eq!(orders().to_string(), "orders/3 epoch 1");
    let of_cluster = Partition { cluster: "c1".into(), topic: "orders".into(), number: 3 };
    assert_eq!(of_cluster.stream(0).to_string(), "orders/3 of cluster c1");
}

#[test]
fn operator_and_log_keys_must_differ() {
    let log = public("example.com/audit", 1);
    let text = genesis(public("operator", 2), log.clone()).encode();
    Statement::parse(&text).expect("two keys");
    for operator in [public("example.com/audit", 2), public("operator", 1), log.clone()] {
        let problem = problem(&genesis(operator, log.clone()).encode());
        assert!(problem.contains("one name, key id or public key"), "{problem}");
    }
}

#[test]
fn error_names_the_line_of_a_bad_value() {
    let (summary, gap) = (summary().encode(), gap().encode());
    for (text, expected) in [
        (summary.replace("time - -", "time - 5"), "line 10: `time` must be a 64-bit decimal"),
        (summary.replace("time - -", "time 5 -"), "line 10: `time` must be a 64-bit decimal"),
        (summary.replace("time - -", "time 5 4"), "line 10: `time` ends before it begins"),
        (summary.replace("time - -", "time - - -"), "line 10: `time` has too many fields"),
        (gap.replace("watermarks 5 5", "watermarks 6 5"), "the low watermark is above the high one"),
        (gap.clone() + "more\n", "unexpected line after the end"),
    ] {
        let problem = problem(&text);
        assert!(problem.contains(expected), "{problem}");
    }
}

/// The limits are 16 KiB and four signatures (SPEC.md, "Statements").
#[test]
fn statement_size_and_signatures_are_bounded() {
    let signed = |last: usize, keys: &[&SigningKey]| {
        let mut topics = vec!["t".repeat(255); 62];
        topics.push("t".repeat(last));
        SignedStatement::sign(grant(&topics), keys).to_bytes()
    };
    let keys = [1, 2, 3, 4].map(|seed| key("operator", seed));
    let [a, b, c, d] = &keys;
    let short = signed(1, &[a]).len();
    // A grant may name 64 topics of 255 bytes, but a statement has no room for all of them.
    let fits = STATEMENT_BYTES_MAX - short + 1;
    assert!((2..255).contains(&fits), "{fits}");
    assert_eq!(signed(fits, &[a]).len(), STATEMENT_BYTES_MAX);
    SignedStatement::parse(&signed(fits, &[a])).expect("as large as it may be");
    for more in [1, 2] {
        let problem = SignedStatement::parse(&signed(fits + more, &[a])).expect_err("too large").to_string();
        assert!(problem.contains("more than 16 KiB"), "{problem}");
    }

    let four = SignedStatement::sign(gap(), &[a, b, c, d]);
    assert_eq!(SignedStatement::parse(&four.to_bytes()).as_ref(), Ok(&four));
}
