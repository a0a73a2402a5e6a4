//! Tries every input of the corpus on its target, with the stable compiler. So each run of the tests compiles
//! the targets, and every input that fuzzing once found stays in the corpus.
//!
//! The inputs named `vector-*` come from the vectors;
//! `UPDATE_VECTORS=1 cargo test -p fuzz corpus_matches_vectors` writes them again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::Golden;
use serde_json::Value;

/// The most inputs of one target from one list of vectors.
const INPUTS_MAX: usize = 8;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn corpus_passes() {
    for (name, target) in fuzz::TARGETS {
        let mut inputs: Vec<PathBuf> = fs::read_dir(folder(name))
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .map(|f| f.expect("listed").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let data = fs::read(&input).expect("read");
            // Cut and continued too: inputs that all decode would try little here.
            eprintln!("{}", input.display());
            target(&data);
            target(&data[..data.len() / 2]);
            target(&[&data[..], b"\n"].concat());
        }
        target(b"");
    }
}

#[test]
fn corpus_folders_match_targets() {
    let mut folders: Vec<String> = fs::read_dir(folder(""))
        .expect("listed")
        .map(|folder| folder.expect("listed").file_name().into_string().expect("a name"))
        .collect();
    folders.sort();
    assert_eq!(folders, fuzz::names());
}

/// A file of the vectors.
fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evidence/vectors").join(name);
    serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
}

/// One field of items of a list, evenly spread.
fn take(vectors: &Value, list: &str, field: &str) -> Vec<String> {
    let all: Vec<&str> =
        vectors[list].as_array().expect("a list").iter().filter_map(|item| item[field].as_str()).collect();
    let step = all.len().div_ceil(INPUTS_MAX).max(1);
    all.into_iter().step_by(step).map(str::to_owned).collect()
}

fn texts(lists: &[(&str, &str, &str)]) -> Vec<Vec<u8>> {
    lists.iter().flat_map(|(file, list, field)| take(&vectors(file), list, field)).map(String::into_bytes).collect()
}

fn bytes(lists: &[(&str, &str, &str)]) -> Vec<Vec<u8>> {
    let from_hex = |hex: Vec<u8>| {
        let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
        hex.as_chunks::<2>().0.iter().map(pair).collect()
    };
    texts(lists).into_iter().map(from_hex).collect()
}

/// Two parts in the form that targets of two parts take.
fn halves(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&(first.len() as u16).to_be_bytes()[..], first, second].concat()
}

#[test]
fn corpus_matches_vectors() {
    let mut corpus: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::from([
        (
            "checkpoint",
            texts(&[("checkpoints.json", "checkpoints", "checkpoint"), ("checkpoints.json", "refused", "text")]),
        ),
        ("content", bytes(&[("events.json", "events", "content"), ("events.json", "refused_contents", "content")])),
        ("entry", texts(&[("chain.json", "entries", "entry"), ("entries.json", "refused", "text")])),
        (
            "event-proof",
            texts(&[
                ("event_proofs.json", "proofs", "proof"),
                ("event_proofs.json", "not_proven", "proof"),
                ("event_proofs.json", "refused", "text"),
            ]),
        ),
        ("incident", texts(&[("incidents.json", "incidents", "incident"), ("incidents.json", "refused", "text")])),
        ("key-file", texts(&[("keys.json", "keys", "private_key")])),
        (
            "leaf-preimage",
            bytes(&[
                ("events.json", "events", "leaf_preimage"),
                ("events.json", "refused_leaf_preimages", "leaf_preimage"),
            ]),
        ),
        (
            "note",
            texts(&[
                ("notes.json", "verified", "note"),
                ("notes.json", "not_verified", "note"),
                ("notes.json", "refused", "text"),
            ]),
        ),
        ("policy", texts(&[("policies.json", "policies", "policy"), ("policies.json", "refused", "text")])),
        ("private-key", texts(&[("keys.json", "keys", "private_key"), ("keys.json", "refused_private_keys", "text")])),
        ("statement", texts(&[("statements.json", "statements", "note"), ("statements.json", "refused", "text")])),
        (
            "tile-path",
            texts(&[
                ("tiles.json", "paths", "path"),
                ("tiles.json", "paths", "entries_path"),
                ("tiles.json", "refused_paths", "path"),
            ]),
        ),
        ("tlog-proof", texts(&[("proofs.json", "proofs", "proof"), ("proofs.json", "refused", "text")])),
        ("trust-file", texts(&[("policies.json", "trust_files", "trust_file")])),
        ("vkey", texts(&[("keys.json", "keys", "vkey"), ("keys.json", "refused_vkeys", "text")])),
        ("witness-request", texts(&[("witness.json", "steps", "request"), ("witness.json", "refused", "text")])),
    ]);
    let golden = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/vectors").join(name);
        fs::read(path).expect("read")
    };
    let width = |entries: u8, bytes: Vec<u8>| [&[entries - 1][..], &bytes].concat();
    corpus.insert(
        "entry-bundle",
        bytes(&[("tiles.json", "entry_bundles", "bytes")]).into_iter().map(|b| width(1, b)).collect(),
    );
    corpus.insert("tile", vec![[&[2][..], &[7; 64]].concat(), vec![1], [&[255][..], &[9; 32]].concat()]);
    corpus.insert("bundle-manifest", vec![golden("bundle/manifest")]);
    corpus.insert("pin", vec![golden("pin")]);
    let heads = String::from_utf8(golden("bundle/heads")).expect("text");
    corpus.insert("heads-line", heads.lines().map(|line| line.as_bytes().to_vec()).collect());
    let lines = String::from_utf8(golden("bundle/checkpoint")).expect("text");
    let signatures: String = lines.lines().skip(4).map(|line| format!("{line}\n")).collect();
    corpus.insert("cosignatures", vec![signatures.into_bytes(), b"42\n".to_vec()]);
    let expectations = ["*/*", "orders/3", "lkc-7:orders*/3#1@0..100", "a/*@5..", "x/0@..7"];
    corpus.insert("expectation", expectations.iter().map(|text| text.as_bytes().to_vec()).collect());
    let high_water = "origin example.com/audit\nsize 42\nroot 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\nrecord";
    corpus.insert("high-water", vec![high_water.into()]);
    corpus.insert("committer-answer", answers());
    let id = "0123456789abcdef0123456789abcdef01234567";
    let pack = format!("pack {id} {}\n", "ab".repeat(20));
    let packs = |merged: &str| format!("streamseal/anchor-packs@v1\nmerged {merged}\n{pack}{pack}").into_bytes();
    corpus.insert("anchor-packs", vec![packs(id), packs("-")]);
    let record = |base: &str| format!("base {base}\nold 0\n\nexample.com/audit\n").into_bytes();
    corpus.insert("anchor-record", vec![record(id), record("-")]);
    let seen = format!("url https://example.com/anchors.git\nbranch refs/heads/anchors\ncommit {id}\n");
    corpus.insert("anchor-remote", vec![format!("streamseal/anchor-remote@v1\n{seen}").into_bytes()]);
    corpus.insert("bundle-folder", folders(&golden));
    let stream = |kind: &str| golden(&format!("bundle/streams/000000/000000.{kind}"));
    corpus.insert("bundle-frames", vec![halves(&stream("leaves"), &stream("events")), halves(b"", b"")]);
    corpus.insert("bundle-runs", vec![golden("bundle/entries/000000")]);
    corpus.extend(git_inputs());
    let mut names: Vec<_> = corpus.keys().copied().collect();
    names.sort_unstable();
    assert_eq!(names, fuzz::names());
    for (target, inputs) in corpus {
        for (number, input) in inputs.into_iter().enumerate() {
            check(&folder(target).join(format!("vector-{number:02}")), &input);
        }
    }
}

fn answers() -> Vec<Vec<u8>> {
    let entry = take(&vectors("chain.json"), "entries", "entry").remove(0);
    let quoted = serde_json::to_string(&entry).expect("a string");
    [
        format!(r#"{{"accepted":[{{"seq":"0","entry":{quoted}}}],"stopped":{{"index":1,"code":"wrong-prev","message":"m"}},"cursor":null}}"#),
        r#"{"epoch":"0","start":"0","next":"7","topic_id":"id","statement":null,"seq":"18446744073709551615","last_summary":null}"#.into(),
        format!(r#"{{"entries":[{quoted}]}}"#),
        format!(r#"{{"entries":[{{"seq":"0","entry":{quoted}}}]}}"#),
        r#"{"seq":"3","entry":"e","lines":["- orders 0 0 7 x"]}"#.into(),
        r#"{"origin":"o","genesis":"g","size":"9","checkpoint_size":"8","published_size":null,"clusters":["c"]}"#.into(),
        r#"{"code":"not-found","message":"m"}"#.into(),
        r#"{"statements":["a","b"]}"#.into(),
        // Duplicate keys: a reader must not choose one of them.
        r#"{"code":"a","code":"b","message":"m"}"#.into(),
        r#"{"seq":"3","seq":"4","entry":"e","lines":[]}"#.into(),
        r#"["code","message"]"#.into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// One reader takes the first of two values, another the last.
#[test]
fn duplicate_keys_are_refused() {
    let refused = |body: &str| {
        let error = serde_json::from_str::<committer_client::ErrorView>(body).expect_err("refused");
        assert!(error.to_string().contains("duplicate field"), "{error}");
    };
    refused(r#"{"code":"a","code":"b","message":"m"}"#);
    refused(r#"{"code":"a","message":"m","code":"a"}"#);
    let heads = serde_json::from_str::<committer_client::Heads>(r#"{"seq":"3","seq":"4","entry":"e","lines":[]}"#);
    assert!(heads.is_err());
    let status = |published: &str| {
        let text =
            format!(r#"{{"origin":"o","genesis":"g","size":"9","checkpoint_size":"8",{published},"clusters":["c"]}}"#);
        serde_json::from_str::<committer_client::Status>(&text)
    };
    assert!(status(r#""published_size":null"#).is_ok());
    assert!(status(r#""published_size":null,"published_size":"1""#).is_err());
}

/// Each file of the golden bundle in its own place, and no file.
fn folders(golden: &dyn Fn(&str) -> Vec<u8>) -> Vec<Vec<u8>> {
    let file = |(number, name): (usize, &&str)| {
        let bytes = golden(&format!("bundle/{name}"));
        [&[number as u8][..], &(bytes.len() as u16).to_be_bytes(), &bytes].concat()
    };
    Golden::FILES.iter().enumerate().map(file).chain([Vec::new()]).collect()
}

/// Made by libgit2, an independent writer of Git's formats, from the golden anchors.
fn git_inputs() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let dir = tempfile::tempdir().expect("a folder");
    let git = git2::Repository::init_bare(dir.path()).expect("made");
    let time =
        git2::Signature::new("anchor", "anchor@example.com", &git2::Time::new(1_800_000_000, 0)).expect("a name");
    let mut parents: Vec<git2::Oid> = Vec::new();
    for text in ["first\n", "second\n"] {
        let blob = git.blob(text.repeat(20).as_bytes()).expect("a blob");
        let mut builder = git.treebuilder(None).expect("a builder");
        builder.insert("checkpoint", blob, git2::FileMode::Blob.into()).expect("inserted");
        let tree = git.find_tree(builder.write().expect("a tree")).expect("there");
        let commits: Vec<_> = parents.last().map(|id| git.find_commit(*id).expect("there")).into_iter().collect();
        let commits: Vec<_> = commits.iter().collect();
        parents
            .push(git.commit(Some("refs/heads/anchors"), &time, &time, "anchor", &tree, &commits).expect("committed"));
    }
    let odb = git.odb().expect("a database");
    let commit = odb.read(parents[1]).expect("read").data().to_vec();
    let tree = git.find_commit(parents[1]).expect("there").tree_id();
    let tree = odb.read(tree).expect("read").data().to_vec();
    // Stored and not compressed, so that every byte matters: zlib's header, one block, a checksum.
    let zlib = |bytes: &[u8]| {
        let len = bytes.len() as u16;
        let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        [&[0x78, 0x01, 1][..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes, &(b << 16 | a).to_be_bytes()].concat()
    };
    let loose = zlib(b"blob 5\0hello");
    // A blob and a delta to it that keeps five bytes and adds one.
    let (base, delta) = (&b"hello"[..], &[5, 6, 0x90, 5, 1, b'!'][..]);
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    let base_at = pack.len() as u32;
    pack.push(0x35);
    pack.extend(zlib(base));
    let delta_at = pack.len() as u32;
    pack.extend([0x66, (delta_at - base_at) as u8]);
    pack.extend(zlib(delta));
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    index.extend([0; 7 * 4]);
    index.extend(2_u32.to_be_bytes().repeat(249));
    index.extend([[7; 20], [8; 20]].concat());
    index[8 + 7 * 4..8 + 8 * 4].copy_from_slice(&1_u32.to_be_bytes());
    index.extend([0; 8]);
    index.extend([base_at.to_be_bytes(), delta_at.to_be_bytes()].concat());
    let id = parents[1];
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{id} refs/heads/anchors\n^{id}\n{id} refs/remotes/o/anchors\n"
    );
    vec![
        ("git-commit", vec![commit]),
        ("git-tree", vec![tree]),
        ("git-loose-object", vec![loose]),
        ("git-delta", vec![halves(base, delta)]),
        ("git-pack", vec![halves(&index, &pack)]),
        ("git-references", vec![halves(format!("{id}\n").as_bytes(), packed.as_bytes())]),
    ]
}

fn check(path: &Path, generated: &[u8]) {
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        fs::write(path, generated).expect("written");
        return;
    }
    let committed = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(committed == generated, "{} differs from the vectors; UPDATE_VECTORS=1 writes it again", path.display());
}

/// Inputs are useful only if they get far: those of Git must decode.
#[test]
fn git_inputs_decode() {
    let input = |target: &str| fs::read(folder(target).join("vector-00")).expect("read");
    assert!(git_reader::fuzzing::commit(&input("git-commit")).is_some());
    assert!(git_reader::fuzzing::tree(&input("git-tree")).is_some());
    let delta = input("git-delta");
    assert_eq!(git_reader::fuzzing::delta(&delta[2..7], &delta[7..], 100).as_deref(), Some(&b"hello!"[..]));
    let dir = tempfile::tempdir().expect("a folder");
    let objects = dir.path().join("objects");
    let loose = objects.join("07").join("07".repeat(19));
    fs::create_dir_all(loose.parent().expect("in a folder")).expect("made");
    fs::write(loose, input("git-loose-object")).expect("written");
    assert_eq!(git_reader::fuzzing::object(&objects, [7; 20], 100), Some(("blob", b"hello".to_vec())));
    let pack = input("git-pack");
    let split = 2 + usize::from(u16::from_be_bytes([pack[0], pack[1]]));
    fs::create_dir_all(objects.join("pack")).expect("made");
    fs::write(objects.join("pack/pack-x.idx"), &pack[2..split]).expect("written");
    fs::write(objects.join("pack/pack-x.pack"), &pack[split..]).expect("written");
    assert_eq!(git_reader::fuzzing::object(&objects, [8; 20], 100), Some(("blob", b"hello!".to_vec())));
}
