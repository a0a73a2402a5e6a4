//! Which signatures make a checkpoint count.

use evidence::policy::{POLICY_BYTES_MAX, Policy, PolicyError, Verdict};
use evidence::tree::leaf_hash;
use evidence::{Algorithm, Checkpoint, Error, Note, NoteError, SignedCheckpoint, SigningKey};

const ORIGIN: &str = "example.com/audit";

fn log(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[seed; 32]).expect("a name")
}

fn witness(seed: u8) -> SigningKey {
    SigningKey::from_seed(&format!("example.com/w{seed}"), Algorithm::Cosignature, &[100 + seed; 32]).expect("a name")
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 7, root: leaf_hash(b"") }
}

/// Signed by log 1 and cosigned by witnesses at times.
fn signed(witnesses: &[(u8, u64)]) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::sign(checkpoint(), &log(1));
    for (seed, time) in witnesses {
        signed.cosign(&witness(*seed), *time);
    }
    signed
}

/// Log 1, witnesses W1 to W6, and the lines given.
fn policy(lines: &str) -> Policy {
    parse(lines).expect("a policy")
}

fn parse(lines: &str) -> Result<Policy, Error> {
    let mut text = format!("log {}\n", log(1).verifier_key());
    for seed in 1..=6 {
        text.push_str(&format!("witness W{seed} {}\n", witness(seed).verifier_key()));
    }
    Policy::parse(format!("{text}{lines}").as_bytes())
}

fn check(lines: &str, witnesses: &[(u8, u64)]) -> Verdict {
    policy(lines).check(&signed(witnesses)).expect("valid signatures")
}

fn satisfied(lines: &str, witnesses: &[u8]) -> bool {
    check(lines, &witnesses.iter().map(|w| (*w, 1_000)).collect::<Vec<_>>()).satisfied
}

/// The example of the specification: two of X1 to X3, and any of Y1 to Y3.
const NESTED: &str = "group X 2 W1 W2 W3\ngroup Y any W4 W5 W6\ngroup XY all X Y\nquorum XY\n";

#[test]
fn thresholds_count_witnesses_and_groups() {
    for subset in 0..1_u8 << 6 {
        let present: Vec<u8> = (1..=6).filter(|w| subset >> (w - 1) & 1 == 1).collect();
        let (x, y) = (present.iter().filter(|w| **w <= 3).count(), present.iter().filter(|w| **w > 3).count());
        assert_eq!(satisfied(NESTED, &present), x >= 2 && y >= 1, "{present:?}");
        assert_eq!(satisfied("group G all W1 W2 W3 W4 W5 W6\nquorum G\n", &present), present.len() == 6);
        assert_eq!(satisfied("group G 4 W1 W2 W3 W4 W5 W6\nquorum G\n", &present), present.len() >= 4);
        assert_eq!(satisfied("quorum W2\n", &present), present.contains(&2));
        assert!(satisfied("quorum none\n", &present));
    }
}

#[test]
fn the_verdict_names_who_signed_and_when() {
    let verdict = check("quorum W2\n", &[(2, 20), (1, 10)]);
    assert_eq!(&verdict.log, log(1).verifier_key());
    let named: Vec<(String, u64)> = verdict.witnesses.iter().map(|(w, t)| (w.name().to_owned(), *t)).collect();
    assert_eq!(named, [("example.com/w1".to_owned(), 10), ("example.com/w2".to_owned(), 20)]);
}

#[test]
fn one_witness_does_not_set_a_quorums_time() {
    let two = "group G 2 W1 W2 W3\nquorum G\n";
    let times = |lines, witnesses: &[(u8, u64)]| {
        let verdict = check(lines, witnesses);
        (verdict.existed_by_s, verdict.newest_at_s)
    };
    assert_eq!(times(two, &[(1, 100), (2, 200), (3, 300)]), (Some(200), Some(200)));
    assert_eq!(times(two, &[(1, 0), (2, 200), (3, u64::MAX >> 1)]), (Some(200), Some(200)));
    assert_eq!(times(two, &[(1, 100), (3, 300)]), (Some(300), Some(100)));
    assert_eq!(times(two, &[(1, 100)]), (None, None));
    // A witness outside of the quorum says nothing about its time.
    assert_eq!(times("quorum W2\n", &[(1, 1), (2, 200), (3, 999)]), (Some(200), Some(200)));
    assert_eq!(times("quorum none\n", &[(1, 1)]), (None, None));
}

#[test]
fn checkpoint_without_a_known_log_is_refused() {
    let not_by_log = Err(PolicyError::NotByLog { origin: ORIGIN.into() });
    let by_stranger = SignedCheckpoint::sign(checkpoint(), &log(9));
    assert_eq!(policy("quorum none\n").check(&by_stranger), not_by_log);
    let mut cosigned_only = Note::unsigned(checkpoint().encode()).expect("lines");
    cosigned_only.cosign(&witness(1), 1);
    let cosigned_only = SignedCheckpoint::parse(&cosigned_only.to_bytes()).expect("a checkpoint");
    assert_eq!(policy("quorum W1\n").check(&cosigned_only), not_by_log);
}

#[test]
fn known_log_does_not_count_for_another_origin() {
    let other = SigningKey::from_seed("example.com/other", Algorithm::Ed25519, &[8; 32]).expect("a name");
    let known = policy(&format!("log {}\nquorum none\n", other.verifier_key()));
    let mut note = Note::unsigned(checkpoint().encode()).expect("lines");
    note.sign(&other);
    let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
    assert_eq!(known.check(&signed), Err(PolicyError::NotByLog { origin: ORIGIN.into() }));
    note.sign(&log(1));
    let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
    assert_eq!(known.check(&signed).map(|verdict| verdict.log), Ok(log(1).verifier_key().clone()));
}

#[test]
fn quorum_counts_itself_and_its_groups_members() {
    let counted = |lines: &str| {
        let policy = policy(lines);
        (1..=6).filter(|seed| policy.counts(witness(*seed).verifier_key())).collect::<Vec<u8>>()
    };
    assert_eq!(counted(NESTED), [1, 2, 3, 4, 5, 6]);
    assert_eq!(counted("group X 2 W1 W2 W3\ngroup Y any W4 W5 X\nquorum Y\n"), [1, 2, 3, 4, 5]);
    assert_eq!(counted("group X 2 W1 W2 W3\ngroup Y any W4 W5\nquorum X\n"), [1, 2, 3]);
    assert_eq!(counted("quorum W6\n"), [6]);
    assert_eq!(counted("quorum none\n"), [0; 0]);
    assert!(!policy(NESTED).counts(witness(7).verifier_key()), "one that the policy does not know");
}

#[test]
fn either_key_of_a_rotated_log_counts() {
    let rotated = policy(&format!("log {}\nquorum none\n", log(2).verifier_key()));
    for seed in [1, 2] {
        let signed = SignedCheckpoint::sign(checkpoint(), &log(seed));
        assert_eq!(rotated.check(&signed).map(|verdict| verdict.log), Ok(log(seed).verifier_key().clone()));
    }
}

#[test]
fn only_lines_of_unknown_keys_are_ignored() {
    let quorum = policy("quorum none\n");
    let mut note = signed(&[(1, 10), (9, 10)]).note().clone();
    let as_read = |note: &Note| SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
    assert_eq!(quorum.check(&as_read(&note)).map(|verdict| verdict.witnesses.len()), Ok(1));

    // A cosignature of another checkpoint, by a witness that the quorum does not count.
    let mut other = SignedCheckpoint::sign(Checkpoint { size: 8, ..checkpoint() }, &log(1));
    other.cosign(&witness(2), 10);
    let stolen = other.note().signatures().nth(1).expect("the cosignature").clone();
    note.add_signature(stolen);
    let invalid = Err(PolicyError::Signature(NoteError::Invalid("example.com/w2".into())));
    assert_eq!(quorum.check(&as_read(&note)), invalid);
}

/// Relays merge the cosignatures that they have of one checkpoint.
#[test]
fn several_cosignatures_of_a_witness_count_once() {
    let times = |lines: &str, cosignatures: &[(u8, u64)]| {
        let mut note = signed(&[]).note().clone();
        cosignatures.iter().for_each(|(seed, time)| note.cosign(&witness(*seed), *time));
        let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
        let verdict = policy(lines).check(&signed).expect("all lines are valid");
        let named = verdict.witnesses.iter().map(|(_, time)| *time).collect::<Vec<_>>();
        (verdict.satisfied, named, verdict.existed_by_s, verdict.newest_at_s)
    };
    for twice in [[(1, 10), (1, 12)], [(1, 12), (1, 10)]] {
        assert_eq!(times("quorum W1\n", &twice), (true, vec![10], Some(10), Some(12)));
        assert_eq!(times("quorum none\n", &twice), (true, vec![10], None, None));
        // Two lines are not two witnesses.
        assert_eq!(times("group G 2 W1 W2\nquorum G\n", &twice), (false, vec![10], None, None));
    }
    assert_eq!(times("quorum W1\n", &[(1, 10), (1, 10)]), (true, vec![10], Some(10), Some(10)));
    // Of a quorum, the earliest times say by when it existed. The latest times say how new it is.
    let three = [(1, 10), (2, 20), (1, 50), (2, 40), (3, 30)];
    assert_eq!(times("group G 2 W1 W2 W3\nquorum G\n", &three), (true, vec![10, 20, 30], Some(20), Some(40)));
    assert_eq!(times("group G all W1 W2 W3\nquorum G\n", &three), (true, vec![10, 20, 30], Some(30), Some(30)));
}

#[test]
fn all_lines_of_known_keys_must_verify() {
    let mut other = SignedCheckpoint::sign(Checkpoint { size: 8, ..checkpoint() }, &log(1));
    other.cosign(&witness(1), 10);
    let stolen: Vec<_> = other.note().signatures().cloned().collect();
    for (line, name) in stolen.into_iter().zip([ORIGIN, "example.com/w1"]) {
        let mut note = signed(&[(1, 10)]).note().clone();
        note.add_signature(line);
        let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
        let invalid = Err(PolicyError::Signature(NoteError::Invalid(name.into())));
        assert_eq!(policy("quorum W1\n").check(&signed), invalid, "beside a valid one");
    }
    let mut note = signed(&[(1, 10)]).note().clone();
    note.sign(&log(1));
    let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
    assert_eq!(policy("quorum W1\n").check(&signed).map(|verdict| verdict.satisfied), Ok(true), "the log's line twice");
}

#[test]
fn a_time_beyond_63_bits_is_refused() {
    let mut note = signed(&[(1, 1 << 63)]).note().clone();
    for _ in 0..2 {
        let signed = SignedCheckpoint::parse(&note.to_bytes()).expect("a checkpoint");
        let checked = policy("quorum none\n").check(&signed);
        assert!(matches!(checked, Err(PolicyError::Signature(NoteError::Invalid(_)))), "{checked:?}");
        // Beside one that is right.
        note.cosign(&witness(1), 10);
    }
}

#[test]
fn one_public_key_cannot_count_twice() {
    let under_another_name =
        SigningKey::from_seed("example.com/alias", Algorithm::Cosignature, &[101; 32]).expect("a name");
    assert!(malformed(&format!("witness A {}\nquorum none\n", under_another_name.verifier_key())));
    let log_as_witness = SigningKey::from_seed("example.com/w", Algorithm::Cosignature, &[1; 32]).expect("a name");
    assert!(malformed(&format!("witness A {}\nquorum none\n", log_as_witness.verifier_key())));
    let log_again = SigningKey::from_seed("example.com/again", Algorithm::Ed25519, &[1; 32]).expect("a name");
    assert!(malformed(&format!("log {}\nquorum none\n", log_again.verifier_key())));
    assert!(malformed("group G 2 W1 W1\nquorum G\n"));
    assert!(malformed("group G any W1\ngroup H 2 G W1\nquorum H\n"));
    assert!(malformed("group G any W1\ngroup H all W2 G\ngroup I all W3 G\nquorum I\n"));
}

fn malformed(lines: &str) -> bool {
    matches!(parse(lines), Err(Error::Malformed { .. }))
}

#[test]
fn policy_against_the_format_is_refused() {
    for lines in [
        "",
        "quorum\n",
        "quorum W1",
        "quorum W1 W2\n",
        "quorum nobody\n",
        "quorum none\nquorum none\n",
        "quorum G\ngroup G any W1\n",
        "quorum none\nunknown line\n",
        "quorum none\nQuorum none\n",
        "quorum none # no comment here\n",
        "group G 0 W1\nquorum G\n",
        "group G 2 W1\nquorum G\n",
        "group G 01 W1\nquorum G\n",
        "group G +1 W1\nquorum G\n",
        "group G most W1\nquorum G\n",
        "group G all\nquorum none\n",
        "group G\nquorum none\n",
        "group G any none\nquorum G\n",
        "group G any G\nquorum G\n",
        "group G any W9\nquorum G\n",
        "group W1 any W2\nquorum W1\n",
        "group none any W1\nquorum none\n",
        "group G any W1\ngroup G any W2\nquorum G\n",
        "log\nquorum none\n",
        "log not-a-key\nquorum none\n",
        "witness W7\nquorum none\n",
        "quorum none\r\n",
        "quorum\u{b}none\n",
        "quorum\u{a0}none\n",
        "\0quorum none\n",
        "# \u{7}\nquorum none\n",
        "# \u{7f}\nquorum none\n",
    ] {
        assert!(malformed(lines), "{lines:?}");
    }
}

#[test]
fn a_policy_has_64_kib_at_most() {
    let padded = |bytes: usize| format!("{}quorum none\n", "#\n".repeat(bytes / 2));
    let longest = POLICY_BYTES_MAX - policy("quorum none\n").encode().len();
    assert!(parse(&padded(longest)).is_ok());
    assert!(malformed(&padded(longest + 2)));
}

#[test]
fn keys_of_other_algorithms_are_unsupported() {
    let unsupported = |lines: String| matches!(parse(&lines), Err(Error::Unsupported { .. }));
    let ed25519 = SigningKey::from_seed("example.com/w", Algorithm::Ed25519, &[50; 32]).expect("a name");
    assert!(unsupported(format!("witness A {}\nquorum none\n", ed25519.verifier_key())));
    assert!(unsupported(format!("log {}\nquorum none\n", witness(50).verifier_key())));
    let ml_dsa = format!("w+00000000+Bg{}", "A".repeat(1750));
    assert!(unsupported(format!("witness A {ml_dsa}\nquorum none\n")));
}

#[test]
fn white_space_comments_and_addresses_are_read() {
    let plain = policy("group G any W1 W2\nquorum G\n");
    let spaced = policy("\n#comment\n  # comment\n\t\n \tgroup  G\tany W1   W2 \nquorum\tG\t\n# \u{e9}\n\n");
    assert_eq!(plain, spaced);
    let key = witness(7);
    let with_url = policy(&format!("witness A {} https://example.com/w\nquorum A\n", key.verifier_key()));
    assert_eq!(with_url.witnesses()[6].url.as_deref(), Some("https://example.com/w"));
    assert_eq!(with_url.witnesses()[6].name, "A");
    assert_eq!(with_url.logs()[0].url, None);
    let not_utf8 = [b"# \xff\n", plain.encode().as_bytes()].concat();
    assert!(matches!(Policy::parse(&not_utf8), Err(Error::Unsupported { .. })));
}

#[test]
fn a_policy_reads_back() {
    let url = format!("witness A {} https://example.com/w\n{NESTED}", witness(7).verifier_key());
    for lines in ["quorum none\n", "quorum W3\n", NESTED, &url] {
        let policy = policy(lines);
        assert_eq!(Policy::parse(policy.encode().as_bytes()).as_ref(), Ok(&policy));
        let encoded = policy.encode();
        assert_eq!(Policy::parse(encoded.as_bytes()).map(|policy| policy.encode()), Ok(encoded));
    }
}

#[test]
fn long_chain_of_groups_needs_no_recursion() {
    let mut lines = "group G0 any W1\n".to_owned();
    for i in 1..1_000 {
        lines.push_str(&format!("group G{i} any G{}\n", i - 1));
    }
    lines.push_str("quorum G999\n");
    assert!(satisfied(&lines, &[1]));
    assert!(!satisfied(&lines, &[2]));
}

#[test]
fn errors_name_the_line() {
    let error = parse("# a comment\nquorum W1\nquorum W1\n").expect_err("two quorums").to_string();
    // After a log and six witnesses.
    assert!(error.contains("line 10"), "{error}");
}
