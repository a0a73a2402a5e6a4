//! Bundles, pins, expectations.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bundle::Reader;
use evidence::statement::Reason;
use verifier::{Expectation, Inputs, fuzzing, verify};

use crate::{halves, scratch, text};

/// The time at which the golden evidence is verified, in seconds since 1970.
const NOW_S: u64 = 1_800_003_600;

/// The golden bundle and trust file of the verifier's vectors.
pub struct Golden {
    /// The files of the bundle, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The trust file.
    pub trust: PathBuf,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(Golden::read);

impl Golden {
    /// The files of the golden bundle. An input names them by their index.
    pub const FILES: [&str; 8] = [
        "manifest",
        "checkpoint",
        "heads",
        "entries/000000",
        "streams/000000/000000.leaves",
        "streams/000000/000000.events",
        "streams/000001/000000.leaves",
        "streams/000001/000000.events",
    ];

    fn read() -> Self {
        let vectors = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../verifier/vectors"));
        let read = |name: &&str| ((*name).to_owned(), fs::read(vectors.join("bundle").join(name)).expect("a vector"));
        Self { files: Self::FILES.iter().map(read).collect(), trust: vectors.join("trust") }
    }
}

pub(crate) fn manifest(data: &[u8]) {
    if let Some(encoded) = bundle::fuzzing::manifest(data) {
        assert_eq!(encoded.as_bytes(), data);
    }
}

pub(crate) fn expectation(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(expectation) = text.parse::<Expectation>() {
        assert_eq!(expectation.to_string(), text);
        assert_eq!(expectation.to_string().parse().as_ref(), Ok(&expectation));
    }
}

pub(crate) fn pin(data: &[u8]) {
    if let Some(encoded) = fuzzing::pin(data) {
        assert_eq!(encoded.as_bytes(), data);
    }
}

/// Replaces files of the golden bundle: for each an index, a length of two bytes, and its bytes. The lengths in the manifest
/// are corrected, unless the manifest is among the files. Only files equal to the golden ones may be proven.
pub(crate) fn folder(data: &[u8]) {
    let golden = &*GOLDEN;
    let mut files = golden.files.clone();
    let mut rest = data;
    while let Some(([number, len @ ..], after)) = rest.split_first_chunk::<3>() {
        let Some((bytes, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        let Some(name) = Golden::FILES.get(usize::from(*number)) else { break };
        files.insert((*name).to_owned(), bytes.to_vec());
        rest = after;
    }
    if files["manifest"] == golden.files["manifest"] {
        fix_lengths(&mut files, golden);
    }
    with_bundle(&files, |path| {
        read_all(path, &files);
        let report = verify(&Inputs {
            bundle: path.to_owned(),
            trust: golden.trust.clone(),
            clones: Vec::new(),
            branch: "anchors".into(),
            expectations: vec!["orders/0".parse().expect("an expectation")],
            accepted_gaps: [Reason::Start].into(),
            pin: None,
            now_s: NOW_S,
        });
        let _ = (report.to_string(), report.to_json());
        if report.verdict.exit_code() == 0 {
            for (name, bytes) in files.iter().filter(|(name, _)| !is_free(name)) {
                assert_eq!(*bytes, golden.files[name], "{name} differs and is proven");
            }
        }
    });
}

/// The leaf index and the events of a stream.
pub(crate) fn frames(data: &[u8]) {
    let Some((leaves, events)) = halves(data) else { return };
    read_with(&[(Golden::FILES[4], leaves), (Golden::FILES[5], events)]);
}

/// The runs of entries.
pub(crate) fn runs(data: &[u8]) {
    read_with(&[(Golden::FILES[3], data)]);
}

fn read_with(changed: &[(&str, &[u8])]) {
    let golden = &*GOLDEN;
    let mut files = golden.files.clone();
    files.extend(changed.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    fix_lengths(&mut files, golden);
    with_bundle(&files, |path| read_all(path, &files));
}

/// Calls with the folder of a bundle. Writes only files that differ from the golden ones, and restores them.
fn with_bundle(files: &BTreeMap<String, Vec<u8>>, call: impl FnOnce(&Path)) {
    scratch::with(|folder| {
        let path = folder.join("bundle");
        if !path.exists() {
            GOLDEN.files.iter().for_each(|(name, bytes)| put(&path.join(name), bytes));
        }
        let changed = || files.iter().filter(|(name, bytes)| GOLDEN.files[*name] != **bytes);
        changed().for_each(|(name, bytes)| put(&path.join(name), bytes));
        call(&path);
        changed().for_each(|(name, _)| put(&path.join(name), &GOLDEN.files[name]));
    });
}

/// Writes a file of a bundle. An empty sequence has no file, and a folder without files does not exist.
fn put(path: &Path, bytes: &[u8]) {
    let is_part = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"000000"));
    if !bytes.is_empty() || !is_part {
        return scratch::write(path, bytes);
    }
    let _ = fs::remove_file(path);
    // `remove_dir` removes only empty folders.
    let mut parent = path.parent();
    while let Some(folder) = parent.filter(|folder| fs::remove_dir(folder).is_ok()) {
        parent = folder.parent();
    }
}

/// Whether a file may differ and still be proven. The manifest may claim a wider range, the checkpoint may have lines of
/// unknown keys, and a leaf index may be left out.
fn is_free(name: &str) -> bool {
    name == "manifest" || name == "checkpoint" || name.ends_with(".leaves")
}

fn fix_lengths(files: &mut BTreeMap<String, Vec<u8>>, golden: &Golden) {
    let mut manifest = String::from_utf8(golden.files["manifest"].clone()).expect("text");
    let len = |files: &BTreeMap<String, Vec<u8>>, name: &str| files[name].len();
    for (name, field) in [("entries/000000", "entries"), ("heads", "heads")] {
        let (before, after) = (len(&golden.files, name), len(files, name));
        manifest = manifest.replace(&format!("\n{field} {before}\n"), &format!("\n{field} {after}\n"));
    }
    for (number, line) in [" orders 0 0 ", " orders 0 1 "].iter().enumerate() {
        let at = manifest.find(line).expect("a stream line");
        let end = at + manifest[at..].find('\n').expect("a line");
        let mut words: Vec<String> = manifest[at..end].split(' ').map(str::to_owned).collect();
        let count = words.len();
        words[count - 2] = len(files, &format!("streams/{number:06}/000000.leaves")).to_string();
        words[count - 1] = len(files, &format!("streams/{number:06}/000000.events")).to_string();
        manifest.replace_range(at..end, &words.join(" "));
    }
    files.insert("manifest".into(), manifest.into_bytes());
}

/// Reads the bundle as far as possible. A file that is read to its end encodes to the same bytes.
fn read_all(path: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let Ok(reader) = Reader::open(path) else { return };
    let mut entries = Vec::new();
    let mut runs = reader.runs().expect("opened before");
    let whole = loop {
        match runs.next_run() {
            Ok(Some(run)) => entries.extend(bundle::fuzzing::run(&run).expect("was read")),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!whole || entries == files["entries/000000"]);
    if let Some(mut lines) = reader.heads().expect("opened before") {
        let mut encoded = String::new();
        while let Ok(Some(line)) = lines.next_line() {
            encoded += &format!("{line}\n");
        }
        assert!(files["heads"].starts_with(encoded.as_bytes()));
    }
    for stream in 0..reader.manifest().streams.len() {
        read_frames(&reader, stream, files);
    }
}

fn read_frames(reader: &Reader, stream: usize, files: &BTreeMap<String, Vec<u8>>) {
    let [leaves_file, events_file] = ["leaves", "events"].map(|kind| format!("streams/{stream:06}/000000.{kind}"));
    let (Some(leaves_file), Some(events_file)) = (files.get(&leaves_file), files.get(&events_file)) else { return };
    let Ok(mut batches) = reader.batches(stream) else { return };
    let (mut leaves, mut events) = (Vec::new(), Vec::new());
    // Each frame names its entry.
    while let Some(seq) = leaves_file.get(leaves.len()..leaves.len() + 8) {
        let number = u64::from_be_bytes(seq.try_into().expect("eight bytes"));
        let Ok((leaf_count, event_count)) = batches.begin(number) else { return };
        for (out, count) in [(&mut leaves, leaf_count), (&mut events, event_count)] {
            out.extend_from_slice(seq);
            out.extend_from_slice(&count.to_be_bytes());
        }
        loop {
            match batches.leaves(100) {
                Ok([]) => break,
                Ok(rows) => leaves.extend(rows.iter().flatten()),
                Err(_) => return,
            }
        }
        loop {
            match batches.event() {
                Ok(Some(event)) => {
                    events.extend_from_slice(&event.offset.to_be_bytes());
                    events.extend_from_slice(&event.timestamp.to_be_bytes());
                    events.push(event.timestamp_type as u8);
                    events.extend_from_slice(&(event.content.len() as u32).to_be_bytes());
                    events.extend_from_slice(event.content);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    if batches.end().is_ok() {
        assert!(leaves == *leaves_file && events == *events_file);
    }
}
