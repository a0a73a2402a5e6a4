//! The worked chain of SPEC.md, section 16: its text is generated here.

use std::fmt::Write as _;

use evidence::statement::{Action, HeadsLine, Reason, Role};
use evidence::tree::leaf_hash;
use evidence::{
    Checkpoint, Hash, LeafPreimage, SignedCheckpoint, SigningKey, Statement, TimestampType, batch, content_hash, sha256,
};

use super::{Batch, Chain, sign};
use crate::fixture::{ORIGIN, stream};

const TIME: i64 = 1_732_180_000_500;

/// The section, from its heading to its last line.
pub(crate) fn section() -> String {
    let mut chain = Chain::new();
    let orders = stream("orders", 0, 0);
    let mut out = String::from(BEGIN);
    let keys: [(&str, &SigningKey, u8); 3] =
        [("operator", &chain.ring.operator, 1), ("log", &chain.ring.log, 2), ("ingest", &chain.ring.ingest_a, 3)];
    for (role, key, seed) in keys {
        let _ = writeln!(out, "| {role} | `0x{seed:02x}` | `{}` |", key.verifier_key());
    }

    chain.append("genesis", crate::fixture::genesis(&chain.ring));
    out.push_str(GENESIS);
    entry(&mut out, &chain);
    recompute(&mut out, &chain, "the leaf hash itself");

    let grant = chain.key_statement(Action::Grant, Role::Ingest, chain.ring.ingest_a.verifier_key(), &["orders*"]);
    chain.append("key", sign(Statement::Key(grant), &[&chain.ring.operator]));
    out.push_str(KEY);
    entry(&mut out, &chain);
    recompute(&mut out, &chain, "H(leaf 0 \\|\\| leaf 1)");

    let Batch { leaf_index, summary } = chain.batch(&orders, &[0, 1], 3, TIME);
    out.push_str(EVENTS);
    let leaves = events(&mut out, &leaf_index);
    let root = batch::node_hash(&leaves[0], &leaves[1]);
    assert_eq!((root, summary.last.map(|last| last.leaf)), (summary.root, Some(leaves[1])));
    out.push_str(SUMMARY);
    chain.append("summary", sign(Statement::Summary(summary), &[&chain.ring.ingest_a]));
    entry(&mut out, &chain);
    recompute(&mut out, &chain, "H(root at size 2 \\|\\| leaf 2)");

    let gap = chain.gap(&orders, 20, Reason::Retention, 20, 25);
    chain.append("gap", sign(Statement::Gap(gap), &[&chain.ring.ingest_a]));
    out.push_str(GAP);
    entry(&mut out, &chain);
    recompute(&mut out, &chain, "H(root at size 2 \\|\\| H(leaf 2 \\|\\| leaf 3))");

    let state = chain.state.stream(&orders).expect("sealed");
    let line = HeadsLine { stream: orders, next: state.next, statement: state.statement }.to_string();
    let heads = chain.heads();
    assert_eq!(heads.root, leaf_hash(line.as_bytes()));
    chain.append("heads", sign(Statement::Heads(heads), &[&chain.ring.log]));
    out.push_str(HEADS);
    let _ = writeln!(out, "    {line}\n\n{HEADS_ROOT}");
    entry(&mut out, &chain);
    recompute(&mut out, &chain, "H(root at size 4 \\|\\| leaf 4)");

    check_roots(&chain);
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 5, root: chain.tree.root() };
    let signed = SignedCheckpoint::sign(checkpoint, &chain.ring.log);
    out.push_str(CHECKPOINT);
    block(&mut out, &String::from_utf8(signed.to_bytes()).expect("a note is text"));
    out.push_str(END);
    out
}

/// Shows the two events of the batch, as [`Chain::batch`] makes them. Returns their leaves.
fn events(out: &mut String, leaf_index: &[u8]) -> [Hash; 2] {
    let all: [(i64, Option<&str>); 2] = [(TIME + 2, Some("key")), (TIME, None)];
    let mut offset = 0;
    all.map(|(timestamp, key)| {
        let value = format!("event {offset}");
        let mut content = key.map_or(u32::MAX, |key| key.len() as u32).to_be_bytes().to_vec();
        content.extend((value.len() as u32).to_be_bytes());
        content.extend(0_u32.to_be_bytes());
        content.extend(key.unwrap_or_default().bytes());
        content.extend(value.bytes());
        let timestamp_type = TimestampType::Create;
        let preimage = LeafPreimage { offset, timestamp, timestamp_type, content: content_hash(&content) };
        let (first, second) = leaf_index.split_at(LeafPreimage::LEN);
        assert_eq!(preimage.to_bytes(), [first, second][offset as usize]);
        let shown = hex(&preimage.to_bytes());
        let (first, second) = shown.split_at(LeafPreimage::LEN);
        let key = key.map_or("null".to_owned(), |key| format!("`{key}`"));
        let _ = write!(
            out,
            "Offset {offset}: key {key}, value `{value}`, no headers, timestamp {timestamp} set by the producer.\n\n    \
             content preimage {}\n    content hash     {}\n    leaf preimage    {first}\n                     {second}\n    \
             leaf             {}\n\n",
            hex(&content),
            preimage.content,
            preimage.leaf(),
        );
        offset += 1;
        preimage.leaf()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn block(out: &mut String, text: &str) {
    for line in text.lines() {
        out.push_str(if line.is_empty() { "" } else { "    " });
        out.push_str(line);
        out.push('\n');
    }
}

/// The bytes of the newest entry.
fn entry(out: &mut String, chain: &Chain) {
    let newest = chain.entries.last().expect("appended");
    block(out, &super::text(newest));
}

/// The values computed from the newest entry.
fn recompute(out: &mut String, chain: &Chain, root: &str) {
    let newest = chain.entries.last().expect("appended");
    let statement = newest.statement.note().text();
    assert_eq!(sha256(statement.as_bytes()), newest.statement.hash());
    let _ = write!(
        out,
        "\n| what | value | from |\n|---|---|---|\n| statement hash | `{}` | SHA-256 of its {} bytes of text |\n\
         | leaf {} | `{}` | SHA-256(0x00 \\|\\| the {} bytes above) |\n| root at size {} | `{}` | {root} |\n",
        newest.statement.hash(),
        statement.len(),
        newest.seq,
        newest.leaf_hash(),
        newest.to_bytes().len(),
        newest.seq + 1,
        chain.tree.root(),
    );
}

/// The roots by the formulas that the section states.
fn check_roots(chain: &Chain) {
    let node =
        |left: Hash, right: Hash| sha256(&[&[1][..], left.as_bytes().as_slice(), right.as_bytes().as_slice()].concat());
    let leaf = |seq: usize| chain.entries[seq].leaf_hash();
    let of_two = node(leaf(0), leaf(1));
    let of_four = node(of_two, node(leaf(2), leaf(3)));
    let roots = [leaf(0), of_two, node(of_two, leaf(2)), of_four, node(of_four, leaf(4))];
    for (applied, root) in chain.applied.iter().zip(roots) {
        let shown = super::Text::from(root);
        assert_eq!(serde_json::to_value(&applied.tree_root).ok(), serde_json::to_value(&shown).ok());
    }
}

const BEGIN: &str = "## 16 A worked chain

This chain has five entries. A test generates this section, so each byte and each hash below is what the code computes.
Indented blocks are bytes: remove the four spaces of indentation, and end each line with one newline.

Below, `H(x)` is SHA-256(0x01 || x). Each private key is an Ed25519 seed of 32 equal bytes. Use these keys nowhere else.

| role | seed byte | vkey (section 5.1) |
|---|---|---|
";

const GENESIS: &str = "
### 16.1 Entry 0: genesis

The operator and the log key sign the genesis. The entry has no predecessor, so `prev` and `keys` are `-`.

";

const KEY: &str = "
A verifier of this ledger trusts the origin and this statement hash. They form the `ledger` line of every other
statement. To verify a signature line, take its base64: 4 bytes of key id, then 64 bytes of Ed25519 signature over the
text.

### 16.2 Entry 1: key

The operator grants a key to the ingest consumer. The entry's `prev` is leaf 0. Its `keys` names entry 0, the newest key
entry so far. The statement's `prev` is the statement hash of the genesis.

";

const EVENTS: &str = "
### 16.3 Entry 2: summary

The consumer reads two events of partition 0 of `orders`. Section 2 hashes each of them.

";

const SUMMARY: &str =
    "The batch root is `D(node, leaf of offset 0 || leaf of offset 1)` (section 3). The range is 0 to 3: offset 2 is a
transaction marker, so it is covered but holds no event. `bytes` is the length of both content preimages. The stream has
no earlier statement, so the statement's `prev` is `-`. The entry's `keys` names entry 1.

";

const GAP: &str = "
### 16.4 Entry 3: gap

Kafka deleted offsets 3 to 19 before they were sealed. The cursor is 3, so the range begins there. The statement's
`prev` is the statement hash of the summary. An ingest key may sign this gap, because the range ends at or below the low
watermark.

";

const HEADS: &str = "
### 16.5 Entry 4: heads

The log key commits to the state of every stream. There is one stream, so there is one heads line:

";

const HEADS_ROOT: &str =
    "Its hash is the statement hash of the gap. The heads root is SHA-256(0x00 || the line without its newline).
";

const CHECKPOINT: &str = "
### 16.6 Checkpoint

The log key signs the head of these five entries: the origin, the size and the root at size 5.

";

const END: &str = "
An auditor who holds this checkpoint, the origin and the genesis hash can recompute everything above. Change one byte of
an entry, and its leaf hash, the roots that follow and the checkpoint's signature no longer fit.
";
