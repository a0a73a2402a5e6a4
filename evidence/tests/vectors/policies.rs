//! Policies, their verdicts on signatures, and trust files.

use evidence::policy::{Policy, PolicyError};
use evidence::{Algorithm, Checkpoint, NoteError, SignedCheckpoint, SigningKey, TrustFile};
use serde::Serialize;

use crate::fixture::{KeyRing, ORIGIN, checkpoint, genesis, head, key, signed_text};
use crate::form::{Input, Refused, Text, as_text, refused_text};

#[derive(Serialize)]
pub(crate) struct Vectors {
    policies: Vec<ValidPolicy>,
    refused: Vec<Refused<Input>>,
    checks: Vec<Check>,
    refused_checks: Vec<RefusedCheck>,
    trust_files: Vec<ValidTrust>,
    refused_trust_files: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct ValidPolicy {
    name: &'static str,
    policy: String,
    /// The same policy without comments and spaces, groups with numbers.
    plain: String,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    policy: String,
    checkpoint: String,
    log: Text,
    witnesses: Vec<Cosigner>,
    satisfied: bool,
    existed_by_s: Option<Text>,
    newest_at_s: Option<Text>,
}

#[derive(Serialize)]
struct Cosigner {
    vkey: Text,
    time: Text,
}

#[derive(Serialize)]
struct RefusedCheck {
    name: &'static str,
    policy: String,
    checkpoint: String,
    code: &'static str,
}

#[derive(Serialize)]
struct ValidTrust {
    name: &'static str,
    trust_file: String,
    origin: String,
    genesis: Text,
    max_anchor_age_s: Option<Text>,
    plain: String,
}

/// The lines of a policy over the keys of the vectors.
pub(crate) struct Lines {
    log: String,
    witnesses: String,
}

impl Lines {
    pub(crate) fn new(ring: &KeyRing) -> Self {
        let witness = |name: &str, key: &SigningKey| format!("witness {name} {}\n", key.verifier_key());
        Self {
            log: format!("log {}\n", ring.log.verifier_key()),
            witnesses: [("w1", &ring.witness_1), ("w2", &ring.witness_2), ("w3", &ring.witness_3)]
                .map(|(name, key)| witness(name, key))
                .concat(),
        }
    }

    pub(crate) fn policy(&self, end: &str) -> String {
        format!("{}{}{end}", self.log, self.witnesses)
    }
}

const NESTED: &str = "group net any w1 w2\ngroup both all net w3\nquorum both\n";

pub(crate) fn vectors() -> Vectors {
    let ring = KeyRing::new();
    let lines = Lines::new(&ring);
    let (checks, refused_checks) = checks(&ring, &lines);
    Vectors {
        policies: policies(&lines),
        refused: refused_policies(&ring, &lines),
        checks,
        refused_checks,
        trust_files: trust_files(&ring, &lines),
        refused_trust_files: refused_trust_files(&ring, &lines),
    }
}

fn policies(lines: &Lines) -> Vec<ValidPolicy> {
    let spaced = format!(
        "# our log\n\n  {}\t{}\ngroup g 2 w1\tw2  w3 \n\n# done\nquorum g\n",
        lines.log.replace(' ', " \t "),
        lines.witnesses
    );
    [
        ("no witness", format!("{}quorum none\n", lines.log)),
        ("one witness", lines.policy("quorum w1\n")),
        ("two of three", lines.policy("group g 2 w1 w2 w3\nquorum g\n")),
        ("groups of groups", lines.policy(NESTED)),
        ("a quorum before another group", lines.policy("group g any w1 w2\nquorum g\ngroup h all w3\n")),
        ("addresses", lines.policy("quorum none\n").replace("\nwitness w2", " https://log.example/\nwitness w2")),
        ("comments, empty lines, tabs and spaces", spaced),
        ("no log", format!("{}quorum w1\n", lines.witnesses)),
    ]
    .map(|(name, policy)| {
        let parsed = Policy::parse(policy.as_bytes()).expect(name);
        let plain = parsed.encode();
        assert_eq!(Policy::parse(plain.as_bytes()).expect(name).encode(), plain);
        ValidPolicy { name, policy, plain }
    })
    .into()
}

fn refused_policies(ring: &KeyRing, lines: &Lines) -> Vec<Refused<Input>> {
    let refused = |name: &str, text: &str, code| refused_text(name, text.as_bytes(), code, Policy::parse);
    let ends = |name: &str, end: &str| refused(name, &lines.policy(end), "malformed");
    let plain_witness = key("example.net/w4", Algorithm::Ed25519, 11);
    let log_as_witness = key("example.net/w4", Algorithm::Cosignature, 2);
    let line = |key: &SigningKey| format!("witness w4 {}\nquorum w4\n", key.verifier_key());
    vec![
        refused("empty", "", "malformed"),
        ends("no quorum", ""),
        ends("two quorums", "quorum w1\nquorum w1\n"),
        ends("no newline at the end", "quorum w1"),
        ends("a quorum of an unknown name", "quorum w9\n"),
        ends("a quorum of two names", "quorum w1 w2\n"),
        ends("an unknown line", "timeout 5\nquorum w1\n"),
        ends("a member that comes later", "group g any h\ngroup h any w1\nquorum g\n"),
        ends("a group in itself", "group g any g w1\nquorum g\n"),
        ends("a threshold of 0", "group g 0 w1\nquorum g\n"),
        ends("a threshold above the members", "group g 3 w1 w2\nquorum g\n"),
        ends("a threshold with a leading zero", "group g 01 w1\nquorum g\n"),
        ends("a group without members", "group g any\nquorum g\n"),
        ends("a member twice", "group g 2 w1 w1\nquorum g\n"),
        ends("a member of two groups", "group g any w1\ngroup h any w1\nquorum g\n"),
        ends("a name twice", "group w1 any w2\nquorum w1\n"),
        ends("a group named none", "group none any w1\nquorum none\n"),
        ends("one public key under two names", &line(&key("example.net/w4", Algorithm::Cosignature, 7))),
        ends("a log that is its own witness", &line(&log_as_witness)),
        ends("a carriage return", "quorum w1\r\n"),
        refused_text("not UTF-8", &not_utf8(&lines.policy("quorum w1\n")), "unsupported", Policy::parse),
        refused("a witness that does not cosign", &lines.policy(&line(&plain_witness)), "unsupported"),
        refused("a log that cosigns", &format!("log {}\nquorum none\n", ring.witness_1.verifier_key()), "unsupported"),
        refused("a key with another id", &lines.policy("quorum none\n").replacen("audit+", "audit+0", 1), "malformed"),
    ]
}

fn checks(ring: &KeyRing, lines: &Lines) -> (Vec<Check>, Vec<RefusedCheck>) {
    let (w1, w2, w3) = (&ring.witness_1, &ring.witness_2, &ring.witness_3);
    let good = |name, end: &str, checkpoint: &SignedCheckpoint| {
        let policy = lines.policy(end);
        let verdict = Policy::parse(policy.as_bytes()).expect(name).check(checkpoint).expect(name);
        let witnesses = verdict.witnesses.iter();
        Check {
            name,
            policy,
            checkpoint: as_text(checkpoint.to_bytes()),
            log: verdict.log.into(),
            witnesses: witnesses.map(|(key, time)| Cosigner { vkey: key.into(), time: time.into() }).collect(),
            satisfied: verdict.satisfied,
            existed_by_s: verdict.existed_by_s.map(Text::from),
            newest_at_s: verdict.newest_at_s.map(Text::from),
        }
    };
    let all = checkpoint(7, ring, &[(w3, 300), (w1, 100), (w2, 200), (&ring.anchor, 50)]);
    let one = checkpoint(7, ring, &[(w1, 100)]);
    let line =
        |checkpoint: &SignedCheckpoint, at: usize| checkpoint.note().signatures().nth(at).expect("a line").to_line();
    let with_lines = |checkpoint: &SignedCheckpoint, lines: &[String]| {
        let text = as_text(checkpoint.to_bytes());
        SignedCheckpoint::parse(format!("{text}{}\n", lines.join("\n")).as_bytes()).expect("a checkpoint")
    };
    let again = |witness, time| line(&checkpoint(7, ring, &[(witness, time)]), 1);
    let two_of_three = "group g 2 w1 w2 w3\nquorum g\n";
    let checks = vec![
        good("the log's signature twice", "quorum w1\n", &with_lines(&one, &[line(&one, 0)])),
        good("one cosignature twice", "quorum w1\n", &with_lines(&one, &[line(&one, 1)])),
        good("a second cosignature by one witness, later", "quorum w1\n", &with_lines(&one, &[again(w1, 101)])),
        good("a second cosignature by one witness, earlier", "quorum w1\n", &with_lines(&one, &[again(w1, 99)])),
        good(
            "two cosignatures by one witness where two are asked for",
            two_of_three,
            &with_lines(&one, &[again(w1, 101)]),
        ),
        good(
            "two of three, of whom two cosigned twice",
            two_of_three,
            &with_lines(&all, &[again(w1, 1000), again(w2, 250)]),
        ),
        good("no witness is asked for", "quorum none\n", &checkpoint(7, ring, &[])),
        good("no witness is asked for, one cosigned", "quorum none\n", &one),
        good("the one that is asked for", "quorum w1\n", &one),
        good("another than the one that is asked for", "quorum w2\n", &one),
        good("two of three, all cosigned", two_of_three, &all),
        good("two of three, one cosigned", two_of_three, &one),
        good("groups of groups, all cosigned", NESTED, &all),
        good("groups of groups, one is missing", NESTED, &checkpoint(7, ring, &[(w1, 100), (w2, 200)])),
        good("the largest time", "quorum w1\n", &checkpoint(7, ring, &[(w1, i64::MAX as u64)])),
    ];
    let other_log = key(ORIGIN, Algorithm::Ed25519, 22);
    let elsewhere = key("example.com/other", Algorithm::Ed25519, 23);
    // A policy that knows another log as well.
    let both_logs = format!("log {}\n{}", elsewhere.verifier_key(), lines.policy("quorum w1\n"));
    let bad = |name, checkpoint: &SignedCheckpoint, code| {
        let policy = both_logs.clone();
        let error = Policy::parse(policy.as_bytes()).expect(name).check(checkpoint).expect_err(name);
        assert_eq!(policy_code(&error), code, "{name}");
        RefusedCheck { name, policy, checkpoint: as_text(checkpoint.to_bytes()), code }
    };
    let only = |lines: &[String]| {
        let text = format!("{}\n{}\n", head(7).encode(), lines.join("\n"));
        SignedCheckpoint::parse(text.as_bytes()).expect("a checkpoint")
    };
    let other = SignedCheckpoint::sign(head(7), &other_log);
    let of_other = Checkpoint { origin: "example.com/other".into(), ..head(7) };
    let log_of_seven = line(&one, 0);
    let unknown = key("example.com/other", Algorithm::Ed25519, 24);
    let mut foreign = SignedCheckpoint::sign(of_other, &unknown);
    foreign.cosign(w1, 1);
    let by_elsewhere = signed_text(&head(7).encode(), &[&elsewhere]);
    let by_elsewhere = SignedCheckpoint::parse(&by_elsewhere).expect("a checkpoint");
    let refused = vec![
        bad("another log key of the origin", &other, "not-by-log"),
        bad("a log that the policy does not know", &foreign, "not-by-log"),
        bad("a log that the policy knows under another origin", &by_elsewhere, "not-by-log"),
        bad("only a witness", &only(&[line(&one, 1)]), "not-by-log"),
        bad("the log's signature of another size", &only(&[line(&checkpoint(6, ring, &[]), 0)]), "invalid"),
        bad(
            "the log's signature, and its signature of another size",
            &only(&[log_of_seven.clone(), line(&checkpoint(6, ring, &[]), 0)]),
            "invalid",
        ),
        bad(
            "a cosignature, and one of another size by the same witness",
            &with_lines(&one, &[line(&checkpoint(6, ring, &[(w1, 101)]), 1)]),
            "invalid",
        ),
        bad(
            "a cosignature of another size, and a valid one by the same witness",
            &only(&[
                log_of_seven.clone(),
                line(&checkpoint(6, ring, &[(w1, 101)]), 1),
                line(&checkpoint(7, ring, &[(w1, 101)]), 1),
            ]),
            "invalid",
        ),
        bad(
            "a cosignature, and one of the time 2^63 by the same witness",
            &with_lines(&one, &[line(&checkpoint(7, ring, &[(w1, 1 << 63)]), 1)]),
            "invalid",
        ),
        bad(
            "a cosignature of another size",
            &only(&[log_of_seven, line(&checkpoint(6, ring, &[(w2, 1)]), 1)]),
            "invalid",
        ),
        bad("a time of 2^63", &checkpoint(7, ring, &[(w1, 1 << 63)]), "invalid"),
    ];
    (checks, refused)
}

pub(crate) fn policy_code(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::NotByLog { .. } => "not-by-log",
        PolicyError::Signature(NoteError::Absent(_)) => unreachable!("an absent key is no error"),
        PolicyError::Signature(NoteError::Repeated(_)) => unreachable!("a key may have several lines on a checkpoint"),
        PolicyError::Signature(NoteError::Invalid(_)) => "invalid",
    }
}

fn trust_text(ring: &KeyRing, age: &str, policy: &str) -> String {
    format!("streamseal/trust@v1\norigin {ORIGIN}\ngenesis {}\nmax-anchor-age {age}\n\n{policy}", genesis(ring).hash())
}

fn trust_files(ring: &KeyRing, lines: &Lines) -> Vec<ValidTrust> {
    let anchor = format!("{}witness anchor {}\nquorum anchor\n", lines.log, ring.anchor.verifier_key());
    [
        ("as it is made for a new ledger", trust_text(ring, "-", &anchor)),
        ("a largest age and three witnesses", trust_text(ring, "86400", &lines.policy(NESTED))),
        ("comments in the policy", trust_text(ring, "0", &format!("# ours\n\n{anchor}"))),
    ]
    .map(|(name, text)| {
        let TrustFile { origin, genesis, max_anchor_age_s, policy } = TrustFile::parse(text.as_bytes()).expect(name);
        let plain = TrustFile { origin: origin.clone(), genesis, max_anchor_age_s, policy }.encode();
        let max_anchor_age_s = max_anchor_age_s.map(Text::from);
        ValidTrust { name, trust_file: text, origin, genesis: genesis.into(), max_anchor_age_s, plain }
    })
    .into()
}

fn refused_trust_files(ring: &KeyRing, lines: &Lines) -> Vec<Refused<Input>> {
    let good = trust_text(ring, "86400", &lines.policy("quorum w1\n"));
    let refused = |name: &str, text: &str, code| refused_text(name, text.as_bytes(), code, TrustFile::parse);
    let changed = |name: &str, from: &str, to: &str, code| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        refused(name, &changed, code)
    };
    let other_log = key("example.com/other", Algorithm::Ed25519, 22);
    let added = format!("\n\nlog {}\n", other_log.verifier_key());
    vec![
        changed("another version", "trust@v1", "trust@v2", "unsupported"),
        changed("no version", "streamseal/trust@v1\n", "", "malformed"),
        changed("another origin than the log's", "origin example.com/audit", "origin example.com/other", "malformed"),
        changed("a log of another origin", "\n\n", &added, "malformed"),
        changed("no log", &lines.log, "", "malformed"),
        changed("no age", "max-anchor-age 86400\n", "", "malformed"),
        changed("an age with a leading zero", "86400", "086400", "malformed"),
        changed("a negative age", "86400", "-1", "malformed"),
        changed("no empty line before the policy", "86400\n\n", "86400\n", "malformed"),
        changed("a comment before the policy", "origin", "# ours\norigin", "malformed"),
        changed("no quorum", "quorum w1\n", "", "malformed"),
        refused_text("a policy that is not UTF-8", &not_utf8(&good), "malformed", TrustFile::parse),
    ]
}

/// The text with a comment after it that is not UTF-8.
fn not_utf8(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"# \xff\n"].concat()
}
