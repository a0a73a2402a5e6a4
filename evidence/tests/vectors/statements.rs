//! Statements of each kind, and their entries.

use evidence::statement::{
    Action, Continues, Epoch, Gap, Genesis, Heads, KeyStatement, LastEvent, Reason, Role, Summary,
};
use evidence::{Entry, Error, Hash, SignedStatement, SigningKey, Statement, batch, sha256};
use serde::Serialize;

use crate::fixture::{KeyRing, genesis, ledger, signed_text, stream};
use crate::form::{Input, Refused, Text, refused_text};

#[derive(Serialize)]
pub(crate) struct Vectors {
    statements: Vec<Valid>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Valid {
    name: String,
    kind: &'static str,
    note: String,
    /// SHA-256 of the text: the statement's identity.
    hash: Text,
}

/// A good statement with the key that signs it. Others are made from it.
struct Sample {
    name: String,
    statement: Statement,
    keys: Vec<SigningKey>,
}

impl Sample {
    fn new(name: impl Into<String>, statement: Statement, keys: &[&SigningKey]) -> Self {
        Self { name: name.into(), statement, keys: keys.iter().map(|key| (*key).clone()).collect() }
    }

    fn keys(&self) -> Vec<&SigningKey> {
        self.keys.iter().collect()
    }

    fn valid(&self) -> Valid {
        let signed = SignedStatement::sign(self.statement.clone(), &self.keys());
        assert_eq!(SignedStatement::parse(&signed.to_bytes()).as_ref(), Ok(&signed));
        Valid {
            name: self.name.clone(),
            kind: self.statement.kind().name(),
            note: String::from_utf8(signed.to_bytes()).expect("a note is text"),
            hash: signed.hash().into(),
        }
    }

    /// The statement with a part of its text replaced, signed as it then is.
    fn changed(&self, name: &str, from: &str, to: &str, code: &'static str) -> Refused<Input> {
        let text = self.statement.encode();
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "{}: {name}", self.name);
        let name = format!("{}: {name}", self.statement.kind());
        refused_text(name, &signed_text(&changed, &self.keys()), code, SignedStatement::parse)
    }
}

pub(crate) fn vectors() -> Vectors {
    let ring = KeyRing::new();
    let samples = samples(&ring);
    let mut refused: Vec<_> = [0, 1, 4, 6, 8, 9].into_iter().flat_map(|i: usize| lines(&samples[i])).collect();
    refused.extend(values(&samples));
    refused.extend(signatures(&samples[4], &ring));
    Vectors { statements: samples.iter().map(Sample::valid).collect(), refused }
}

fn samples(ring: &KeyRing) -> Vec<Sample> {
    let ledger = ledger(genesis(ring).hash());
    let summary = summary(&ledger);
    let gap = gap(&ledger);
    let epoch = epoch(&ledger);
    let key = |action, role, key: &SigningKey, topics: &[&str], distrust_from| {
        Statement::Key(KeyStatement {
            ledger: ledger.clone(),
            action,
            role,
            key: key.verifier_key().clone(),
            topics: topics.iter().map(|topic| topic.parse().expect("a pattern")).collect(),
            distrust_from,
            prev: sha256(b"previous key statement"),
        })
    };
    let genesis = genesis(ring);
    let Statement::Genesis(first) = genesis.statement().clone() else { unreachable!("a genesis") };
    let continued = Genesis {
        continues: Some(Continues { origin: "example.com/old".into(), size: 7, root: sha256(b"old root") }),
        ..first.clone()
    };
    let empty = Summary {
        events: 0,
        bytes: 0,
        time: None,
        root: batch::empty_root(),
        last: None,
        first: 104_200,
        next: 104_201,
        ..summary.clone()
    };
    let extreme = Summary {
        topic_id: None,
        stream: stream(&"t".repeat(249), i32::MAX as u32, i64::MAX as u64),
        first: 0,
        next: i64::MAX as u64,
        events: i64::MAX as u64,
        bytes: i64::MAX as u64,
        time: Some((i64::MIN, i64::MAX)),
        last: Some(LastEvent { offset: i64::MAX as u64 - 1, leaf: sha256(b"last") }),
        prev: None,
        ..summary.clone()
    };
    let (operator, ingest) = (&ring.operator, &ring.ingest_a);
    let topics = ["orders*", "payments"];
    let mut samples = vec![
        Sample::new("genesis", Statement::Genesis(first), &[operator, &ring.log]),
        Sample::new("grant of an ingest key", key(Action::Grant, Role::Ingest, ingest, &topics, None), &[operator]),
        Sample::new(
            "grant of an operator key",
            key(Action::Grant, Role::Operator, &ring.operator_2, &[], None),
            &[operator, &ring.operator_2],
        ),
        Sample::new("revocation", key(Action::Revoke, Role::Ingest, ingest, &topics, Some(17)), &[operator]),
        Sample::new("summary", Statement::Summary(summary), &[ingest]),
        Sample::new("summary of no events", Statement::Summary(empty), &[ingest]),
        Sample::new("gap", Statement::Gap(gap.clone()), &[ingest]),
        Sample::new("summary of extremes", Statement::Summary(extreme), &[ingest]),
        Sample::new("epoch", Statement::Epoch(epoch.clone()), &[operator]),
        Sample::new(
            "heads",
            Statement::Heads(Heads { ledger: ledger.clone(), streams: 2, root: sha256(b"heads") }),
            &[&ring.log],
        ),
        Sample::new("genesis that continues a ledger", Statement::Genesis(continued), &[operator, &ring.log]),
        Sample::new("grant of a log key", key(Action::Grant, Role::Log, &ring.stranger, &[], None), &[operator]),
        Sample::new("grant of an anchor key", key(Action::Grant, Role::Anchor, &ring.anchor, &[], None), &[operator]),
        Sample::new(
            "revocation without distrust",
            key(Action::Revoke, Role::Anchor, &ring.anchor, &[], None),
            &[operator],
        ),
        Sample::new(
            "epoch without topic ids",
            Statement::Epoch(Epoch { topic_id: None, old_topic_id: None, ..epoch }),
            &[operator],
        ),
    ];
    for reason in Reason::ALL {
        let gap = Gap { reason, prev: None, topic_id: None, ..gap.clone() };
        samples.push(Sample::new(format!("gap of reason {reason}"), Statement::Gap(gap), &[operator]));
    }
    samples
}

fn summary(ledger: &evidence::statement::LedgerId) -> Summary {
    Summary {
        ledger: ledger.clone(),
        stream: stream("orders", 3, 0),
        topic_id: Some("Vv9zQ2DpTHmzrS6l7p3dVw".into()),
        first: 104_200,
        next: 108_296,
        events: 4095,
        bytes: 1_187_840,
        time: Some((-1, 1_732_180_000_977)),
        root: sha256(b"root"),
        last: Some(LastEvent { offset: 108_295, leaf: sha256(b"last") }),
        prev: Some(sha256(b"previous statement")),
    }
}

fn gap(ledger: &evidence::statement::LedgerId) -> Gap {
    let Summary { ledger, stream, topic_id, first, next, prev, .. } = summary(ledger);
    Gap { ledger, stream, topic_id, first, next, reason: Reason::Retention, low: 108_296, high: 200_000, prev }
}

fn epoch(ledger: &evidence::statement::LedgerId) -> Epoch {
    Epoch {
        ledger: ledger.clone(),
        stream: stream("orders", 3, 1),
        topic_id: Some("4nUo0oqXQ1SyhGzI2zbCyQ".into()),
        old_topic_id: Some("Vv9zQ2DpTHmzrS6l7p3dVw".into()),
        old_next: 108_296,
        start: 0,
        prev: sha256(b"previous statement"),
    }
}

/// Every line left out, and every line twice.
fn lines(sample: &Sample) -> Vec<Refused<Input>> {
    let text = sample.statement.encode();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let kind = sample.statement.kind();
    let refused = |name: String, lines: &[&str]| {
        refused_text(name, &signed_text(&lines.concat(), &sample.keys()), "malformed", SignedStatement::parse)
    };
    let mut all = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let field = line.split(' ').next().expect("a field").trim_end();
        all.push(refused(format!("{kind}: without the line {field}"), &[&lines[..i], &lines[i + 1..]].concat()));
        all.push(refused(format!("{kind}: the line {field} twice"), &[&lines[..=i], &lines[i..]].concat()));
    }
    let swapped: Vec<&str> = [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat();
    all.push(refused(format!("{kind}: the second and third line swapped"), &swapped));
    all
}

/// Values out of their range or in another spelling.
fn values(samples: &[Sample]) -> Vec<Refused<Input>> {
    let mut all = Vec::new();
    let mut refuse = |sample: &Sample, code, cases: &[(&str, &str, &str)]| {
        all.extend(cases.iter().map(|(name, from, to)| sample.changed(name, from, to, code)));
    };
    let [genesis, grant, operator, _, summary, empty, gap, extreme, epoch, heads, ..] = samples else {
        unreachable!("as many samples")
    };
    refuse(
        summary,
        "unsupported",
        &[
            ("another version", "summary@v1", "summary@v2"),
            ("another kind", "streamseal/summary@v1", "streamseal/digest@v1"),
            ("a reserved leaf format", "leaf plain@v1", "leaf blind@v1"),
        ],
    );
    refuse(
        summary,
        "malformed",
        &[
            ("another first line", "streamseal/summary@v1", "summary"),
            ("a space before the first line", "streamseal", " streamseal"),
            ("capitals in a field name", "range ", "Range "),
            ("two spaces", "range 104200 ", "range 104200  "),
            ("a space at the end of a line", "epoch 0", "epoch 0 "),
            ("a field too many", "epoch 0", "epoch 0 0"),
            ("a field too few", "range 104200 108296", "range 104200"),
            ("a leading zero", "events 4095", "events 04095"),
            ("a sign", "events 4095", "events +4095"),
            ("a negative number", "bytes 1187840", "bytes -1"),
            ("2^63", "bytes 1187840", "bytes 9223372036854775808"),
            ("2^64", "bytes 1187840", "bytes 18446744073709551616"),
            ("a fraction", "bytes 1187840", "bytes 1187840.0"),
            ("an empty range", "range 104200 108296", "range 108296 108296"),
            ("a range that ends before it begins", "range 104200 108296", "range 104200 104199"),
            ("more events than offsets", "events 4095", "events 4097"),
            ("no events and a last one", "events 4095", "events 0"),
            ("time -0", "time -1 ", "time -0 "),
            ("time that ends before it begins", "time -1 1732180000977", "time 0 -1"),
            ("time below -2^63", "time -1 ", "time -9223372036854775809 "),
            ("half a time", "time -1 ", "time - "),
            ("no time with events", "time -1 1732180000977", "time - -"),
            ("no last with events", &format!("last 108295 {}", sha256(b"last")), "last -"),
            ("the last event before the range", "last 108295", "last 104199"),
            ("the last event after the range", "last 108295", "last 108296"),
            ("partition 2^31", "partition 3", "partition 2147483648"),
            ("a plus in the topic", "topic orders ", "topic ord+ers "),
            ("a topic beyond ASCII", "topic orders ", "topic örders "),
            ("a topic of 256 bytes", "topic orders ", &format!("topic {} ", "t".repeat(256))),
            ("a root without padding", &sha256(b"root").to_string(), sha256(b"root").to_string().trim_end_matches('=')),
            ("a root of 31 bytes", &sha256(b"root").to_string(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
            (
                "a root with bits after its end",
                &sha256(b"root").to_string(),
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
            ),
            (
                "a root in the URL alphabet",
                &sha256(b"root").to_string(),
                "-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
        ],
    );
    refuse(
        empty,
        "malformed",
        &[
            ("no events and some bytes", "bytes 0", "bytes 1"),
            ("no events and another root", &batch::empty_root().to_string(), &sha256(b"root").to_string()),
            ("no events and a time", "time - -", "time 0 0"),
            ("no events and a last one of dashes", "last -", "last - -"),
        ],
    );
    refuse(extreme, "malformed", &[("a cursor of 2^63", "9223372036854775807", "9223372036854775808")]);
    refuse(
        gap,
        "malformed",
        &[
            ("another reason", "retention", "expired"),
            ("watermarks crossed", "watermarks 108296 200000", "watermarks 200001 200000"),
            ("an empty range", "range 104200 108296", "range 104200 104200"),
            ("prev of nothing", &format!("prev {}", sha256(b"previous statement")), "prev"),
        ],
    );
    refuse(
        epoch,
        "malformed",
        &[("epoch 0", "epoch 1", "epoch 0"), ("no prev", &format!("prev {}", sha256(b"previous statement")), "prev -")],
    );
    let genesis_hash = format!(" {}", heads.statement.ledger().expect("every kind but the genesis has one").genesis);
    refuse(
        heads,
        "malformed",
        &[
            ("a count that is none", "streams 2", "streams two"),
            ("a ledger without its genesis", &genesis_hash, ""),
            ("a root that is none", &format!(" {}", sha256(b"heads")), " "),
        ],
    );
    let log = genesis_key(genesis, "log ");
    let operator_key = genesis_key(genesis, "operator ");
    refuse(
        genesis,
        "malformed",
        &[
            ("a log key that is not named like the origin", "origin example.com/audit", "origin example.com/other"),
            ("one key as operator and log", &operator_key, &log),
            ("a nonce of 31 bytes", &sha256(b"nonce").to_string(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
            ("half a predecessor", "continues -", "continues example.com/old 7"),
        ],
    );
    let ring = KeyRing::new();
    refuse(
        genesis,
        "malformed",
        &[
            ("an operator key that cosigns", &operator_key, &ring.anchor.verifier_key().to_string()),
            ("a key with another id", "operator+", "operator+0"),
        ],
    );
    refuse(
        grant,
        "malformed",
        &[
            ("another action", "action grant", "action renew"),
            ("another role", "role ingest", "role auditor"),
            ("an ingest key without topics", "topics orders* payments", "topics -"),
            ("a pattern with a star inside", "topics orders*", "topics or*ders"),
            ("a pattern with two stars", "topics orders*", "topics orders**"),
            ("65 patterns", "topics orders* payments", &format!("topics{}", " t".repeat(65))),
            ("distrust in a grant", "distrust-from -", "distrust-from 3"),
            ("an anchor key that does not cosign", "role ingest", "role anchor"),
            ("no prev", &format!("prev {}", sha256(b"previous key statement")), "prev -"),
        ],
    );
    refuse(operator, "malformed", &[("an operator key with topics", "topics -", "topics orders")]);
    let mldsa = "w+00000000+BgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let key_of_grant = ring.ingest_a.verifier_key().to_string();
    refuse(grant, "unsupported", &[("a key of an unknown algorithm", &key_of_grant, mldsa)]);
    all
}

fn genesis_key(genesis: &Sample, field: &str) -> String {
    let text = genesis.statement.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("a field of the genesis");
    line.to_owned()
}

/// Signature lines that are refused before they are verified.
fn signatures(summary: &Sample, ring: &KeyRing) -> Vec<Refused<Input>> {
    let text = summary.statement.encode();
    let all_keys: Vec<&SigningKey> =
        [&ring.operator, &ring.log, &ring.ingest_a, &ring.ingest_b, &ring.operator_2].into();
    let refused = |name: &str, bytes: &[u8]| refused_text(name, bytes, "malformed", SignedStatement::parse);
    let two = String::from_utf8(signed_text(&text, &[&ring.ingest_a, &ring.ingest_b])).expect("text");
    let lines: Vec<&str> = two[text.len() + 1..].split_inclusive('\n').collect();
    let one = &two[..two.len() - lines[1].len()];
    vec![
        refused("no signatures", text.as_bytes()),
        refused("five signatures", &signed_text(&text, &all_keys)),
        refused("signatures not in order", format!("{text}\n{}{}", lines[1], lines[0]).as_bytes()),
        refused("one signature twice", format!("{text}\n{}{}", lines[0], lines[0]).as_bytes()),
        refused("text after the signatures", format!("{one}epoch 0\n").as_bytes()),
        refused("an empty line in the text", one.replacen("\nepoch", "\n\nepoch", 1).as_bytes()),
        refused("longer than 16 KiB", &signed_text(&format!("{text}{}\n", "x".repeat(16_384)), &[&ring.ingest_a])),
    ]
}

#[derive(Serialize)]
pub(crate) struct EntryVectors {
    entries: Vec<ValidEntry>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct ValidEntry {
    name: &'static str,
    seq: Text,
    prev: Option<Text>,
    keys_seq: Option<Text>,
    keys_leaf_hash: Option<Text>,
    time: Text,
    entry: String,
    leaf_hash: Text,
}

pub(crate) fn entry_vectors() -> EntryVectors {
    let ring = KeyRing::new();
    let samples = samples(&ring);
    let signed = |i: usize| SignedStatement::sign(samples[i].statement.clone(), &samples[i].keys());
    let hash = |of: &str| sha256(of.as_bytes());
    let first = Entry { seq: 0, prev: None, keys: None, time: 1_732_180_000_000, statement: signed(0) };
    let later = |time| Entry {
        seq: 42,
        prev: Some(hash("entry 41")),
        keys: Some((7, hash("entry 7"))),
        time,
        statement: signed(4),
    };
    let entries = vec![
        valid_entry("the genesis", &first),
        valid_entry("a summary", &later(1_732_180_001_002)),
        valid_entry("a negative time", &later(-1)),
        valid_entry("the earliest time", &later(i64::MIN)),
        valid_entry(
            "the largest numbers",
            &Entry { seq: i64::MAX as u64, keys: Some((i64::MAX as u64 - 1, hash("keys"))), ..later(i64::MAX) },
        ),
    ];
    EntryVectors { entries, refused: refused_entries(&later(1_732_180_001_002)) }
}

fn valid_entry(name: &'static str, entry: &Entry) -> ValidEntry {
    let bytes = entry.to_bytes();
    assert_eq!(Entry::parse(&bytes).as_ref(), Ok(entry), "{name}");
    ValidEntry {
        name,
        seq: entry.seq.into(),
        prev: entry.prev.map(Text::from),
        keys_seq: entry.keys.map(|(seq, _)| seq.into()),
        keys_leaf_hash: entry.keys.map(|(_, leaf)| leaf.into()),
        time: entry.time.into(),
        entry: String::from_utf8(bytes).expect("an entry is text"),
        leaf_hash: entry.leaf_hash().into(),
    }
}

fn refused_entries(good: &Entry) -> Vec<Refused<Input>> {
    let text = String::from_utf8(good.to_bytes()).expect("an entry is text");
    let refused = |name: &str, text: &str, code| refused_text(name, text.as_bytes(), code, parse_entry);
    let changed = |name: &str, from: &str, to: &str, code| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        refused(name, &changed, code)
    };
    let keys: Hash = good.keys.expect("has keys").1;
    let mut all = vec![
        changed("another version", "entry@v1", "entry@v2", "unsupported"),
        changed("another first line", "streamseal/entry@v1", "entry", "malformed"),
        changed("a statement of another version", "summary@v1", "summary@v2", "unsupported"),
        changed("a statement of another kind", "summary@v1", "note@v1", "unsupported"),
        changed("no empty line before the statement", "\n\nstreamseal/summary", "\nstreamseal/summary", "malformed"),
        changed(
            "two empty lines before the statement",
            "\n\nstreamseal/summary",
            "\n\n\nstreamseal/summary",
            "malformed",
        ),
        changed("a leading zero", "seq 42", "seq 042", "malformed"),
        changed("2^63 as seq", "seq 42", "seq 9223372036854775808", "malformed"),
        changed("time -0", "time 1732180001002", "time -0", "malformed"),
        changed("time beyond 2^63", "time 1732180001002", "time 9223372036854775808", "malformed"),
        changed("keys without a hash", &format!("keys 7 {keys}"), "keys 7", "malformed"),
        changed("keys with a dash and a hash", "keys 7 ", "keys - ", "malformed"),
        changed("a line too many", "time 17", "note x\ntime 17", "malformed"),
        refused("only the head", &text[..text.find("\n\n").expect("an empty line") + 1], "malformed"),
        refused("empty", "", "malformed"),
        refused("a statement alone", &text[text.find("\n\n").expect("an empty line") + 2..], "malformed"),
        refused("a newline at the end", &format!("{text}\n"), "malformed"),
        refused("no newline at the end", text.trim_end(), "malformed"),
    ];
    for field in ["seq", "prev", "keys", "time"] {
        let line = text.split_inclusive('\n').find(|line| line.starts_with(field)).expect("a line of the head");
        all.push(changed(&format!("without the line {field}"), line, "", "malformed"));
    }
    all
}

fn parse_entry(bytes: &[u8]) -> Result<Entry, Error> {
    Entry::parse(bytes)
}
