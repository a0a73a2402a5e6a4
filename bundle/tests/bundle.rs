//! Bundles through their public interface: a written bundle reads back, and anything else is refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bundle::{Error, Event, Position, Reader, Run, Writer};
use evidence::statement::HeadsLine;
use evidence::tree::{CompactRange, Node, decompose, leaf_hash};
use evidence::{Hash, LeafPreimage, Partition, StreamId, TimestampType, sha256};

const SIZE: u64 = 13;
const CHECKPOINT: &[u8] = b"a checkpoint, of which this crate knows nothing";

fn stream(number: u32) -> StreamId {
    Partition { cluster: "-".into(), topic: "orders".into(), number }.stream(0)
}

fn entry(seq: u64) -> Vec<u8> {
    format!("entry {seq}").into_bytes()
}

fn hashes(range: std::ops::Range<u64>) -> Vec<Hash> {
    let hash = |node: Node| {
        let mut range = CompactRange::starting_at(node.range().start);
        node.range().for_each(|seq| range.push_leaf(leaf_hash(&entry(seq))));
        range.nodes()[0].1
    };
    decompose(range).into_iter().map(hash).collect()
}

fn run(range: std::ops::Range<u64>) -> Run {
    Run {
        first: range.start,
        left: hashes(0..range.start),
        right: hashes(range.end..SIZE),
        entries: range.map(entry).collect(),
    }
}

fn root(size: u64) -> Hash {
    let mut range = CompactRange::starting_at(0);
    (0..size).for_each(|seq| range.push_leaf(leaf_hash(&entry(seq))));
    range.root()
}

fn preimage(offset: i64) -> LeafPreimage {
    LeafPreimage {
        offset,
        timestamp: -offset,
        timestamp_type: TimestampType::Create,
        content: sha256(&offset.to_be_bytes()),
    }
}

fn event(offset: i64, content: &[u8]) -> Event<'_> {
    Event { offset, timestamp: -offset, timestamp_type: TimestampType::Create, content }
}

fn heads_lines() -> Vec<HeadsLine> {
    (0..3).map(|n| HeadsLine { stream: stream(n), next: 9, statement: sha256(b"statement") }).collect()
}

fn writer(target: &Path) -> Writer {
    let streams = vec![(stream(0), 0..9), (stream(1), 3..5), (stream(2), 0..0)];
    Writer::create(target, "example.com/audit", sha256(b"genesis"), CHECKPOINT, streams).expect("created")
}

/// Three runs, heads, two streams with batches, one without.
fn write(target: &Path) {
    let mut writer = writer(target);
    writer.heads(heads_lines()).expect("heads");
    for range in [0..3, 3..4, 7..13] {
        writer.run(&run(range)).expect("a run");
    }
    writer.batch(0, 2, &[preimage(0), preimage(1)], &[event(0, b"zero"), event(1, b"")]).expect("a batch");
    writer.batch(1, 3, &[], &[event(3, &[7; 300_000])]).expect("a batch");
    writer.batch(0, 8, &[preimage(8)], &[]).expect("a batch");
    writer.finish().expect("finished");
}

/// Reads the whole bundle.
fn read(path: &Path) -> Result<(), Error> {
    let reader = Reader::open(path)?;
    reader.checkpoint()?;
    if let Some(mut heads) = reader.heads()? {
        while heads.next_line()?.is_some() {}
    }
    let mut runs = reader.runs()?;
    while runs.next_run()?.is_some() {}
    for (stream, seqs) in [(0, &[2, 8][..]), (1, &[3])] {
        let mut batches = reader.batches(stream)?;
        for seq in seqs {
            batches.begin(*seq)?;
            while !batches.leaves(100)?.is_empty() {}
            while batches.event()?.is_some() {}
        }
        batches.end()?;
    }
    Ok(())
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    write(&path);
    (dir, path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn refused(path: &Path) -> String {
    match read(path) {
        Ok(()) => panic!("was read"),
        Err(Error::Io { file, source }) => format!("{file}: {source}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn written_bundle_reads_back() {
    let (_dir, path) = written();
    let reader = Reader::open(&path).expect("a bundle");
    assert_eq!(reader.checkpoint().expect("there"), CHECKPOINT);
    let manifest = reader.manifest();
    assert_eq!((manifest.origin.as_str(), manifest.genesis), ("example.com/audit", sha256(b"genesis")));
    let offsets: Vec<_> = manifest.streams.iter().map(|s| (s.stream.clone(), s.offsets.clone())).collect();
    assert_eq!(offsets, [(stream(0), 0..9), (stream(1), 3..5), (stream(2), 0..0)]);

    let mut heads = reader.heads().expect("readable").expect("there");
    let lines: Vec<_> = std::iter::from_fn(|| heads.next_line().expect("a line")).collect();
    assert_eq!(lines, heads_lines());

    let mut runs = reader.runs().expect("readable");
    for range in [0..3, 3..4, 7..13] {
        let found = runs.next_run().expect("readable").expect("a run");
        assert_eq!(found, run(range));
        assert_eq!(found.root(SIZE), Ok(root(SIZE)));
    }
    assert_eq!(runs.next_run().expect("readable"), None);

    let mut batches = reader.batches(0).expect("readable");
    assert_eq!(batches.begin(2).expect("a frame"), (2, 2));
    assert_eq!(batches.leaves(1).expect("there"), [preimage(0).to_bytes()]);
    assert_eq!(batches.event().expect("there"), Some(event(0, b"zero")));
    assert_eq!(batches.event().expect("there"), Some(event(1, b"")));
    assert_eq!(batches.event().expect("the end"), None);
    assert!(batches.begin(8).is_err(), "one leaf preimage was not read");
    assert_eq!(batches.leaves(9).expect("there"), [preimage(1).to_bytes()]);
    assert!(batches.end().is_err(), "there is another batch");
    let second = batches.position();
    assert_eq!(
        second,
        Position::default().after(2, 2, (event(0, b"zero").content.len() + event(1, b"").content.len()) as u64)
    );
    assert_eq!(batches.begin(8).expect("a frame"), (1, 0));
    assert_eq!(batches.leaves(9).expect("there"), [preimage(8).to_bytes()]);
    batches.end().expect("all was read");
    let mut batches = reader.batches_from(0, second, None);
    assert_eq!(batches.begin(8).expect("a frame"), (1, 0));
    let mut first = reader.batches_from(0, Position::default(), Some(second));
    assert_eq!(first.begin(2).expect("a frame"), (2, 2));
    while first.event().expect("there").is_some() {}
    assert_eq!(first.leaves(9).expect("there").len(), 2);
    first.end().expect("nothing from there on");
    let beyond = Position { leaves: u64::MAX, events: u64::MAX };
    assert!(reader.batches_from(0, beyond, None).begin(8).is_err(), "after the end");
    assert!(reader.batches_from(0, Position { leaves: 1, ..second }, None).begin(8).is_err(), "within a frame");

    let mut batches = reader.batches(1).expect("readable");
    assert_eq!(batches.begin(3).expect("a frame"), (0, 1));
    assert_eq!(batches.event().expect("there"), Some(event(3, &[7; 300_000])));
}

#[test]
fn runs_know_the_roots_inside_them() {
    for range in [0..3, 3..4, 7..13] {
        let run = run(range.clone());
        for size in 0..=SIZE + 1 {
            let inside = (range.start..=range.end).contains(&size);
            assert_eq!(run.root_at(size), inside.then(|| root(size)), "{range:?} at {size}");
        }
        for size in [0, range.end - 1] {
            assert!(run.root(size).is_err());
        }
        let more = Run { right: [run.right.clone(), vec![root(1)]].concat(), ..run.clone() };
        assert!(more.root(SIZE).is_err());
        let more = Run { left: [run.left.clone(), vec![root(1)]].concat(), ..run };
        assert!(more.root(SIZE).is_err());
    }
}

#[test]
fn cut_or_continued_file_is_refused_by_name() {
    let (_dir, path) = written();
    let all = files(&path);
    assert_eq!(all.len(), 8);
    for file in all {
        let name = file.strip_prefix(&path).expect("inside").display().to_string();
        let bytes = fs::read(&file).expect("read");
        // Every byte of the short files. Of the long one, the bytes around its frames and many in between.
        for end in (0..bytes.len()).filter(|end| bytes.len() < 5000 || *end < 200 || end % 4999 == 0) {
            fs::write(&file, &bytes[..end]).expect("written");
            if name == "checkpoint" {
                continue;
            }
            let error = refused(&path);
            assert!(error.starts_with(&name), "{name} cut at {end}: {error}");
        }
        fs::write(&file, [&bytes[..], b"\n"].concat()).expect("written");
        if name != "checkpoint" {
            let error = refused(&path);
            assert!(error.starts_with(&name), "{name} continued: {error}");
        }
        fs::write(&file, &bytes).expect("written");
        read(&path).expect("restored");
    }
}

#[test]
fn changed_byte_never_panics_the_reader() {
    let (_dir, path) = written();
    for file in files(&path) {
        let bytes = fs::read(&file).expect("read");
        for at in (0..bytes.len()).filter(|at| bytes.len() < 5000 || *at < 40) {
            for to in [0x00, 0xff, bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = to;
                fs::write(&file, &changed).expect("written");
                let _ = read(&path);
            }
        }
        fs::write(&file, &bytes).expect("written");
    }
}

#[test]
fn missing_files_and_strangers_are_named() {
    let (_dir, path) = written();
    for file in files(&path) {
        let name = file.strip_prefix(&path).expect("inside").display().to_string();
        let bytes = fs::read(&file).expect("read");
        fs::remove_file(&file).expect("removed");
        assert_eq!(refused(&path), format!("{name}: is missing"));
        fs::write(&file, bytes).expect("written");
    }
    let strangers = [
        "README",
        "entries/000001",
        "entries/0",
        "streams/000000/000001.leaves",
        "streams/000000/notes",
        "streams/000002/000000.leaves",
        "streams/000003/000000.leaves",
        "streams/x/y",
    ];
    for name in strangers {
        let file = path.join(name);
        let folder = file.parent().expect("has one");
        let is_new = !folder.exists();
        fs::create_dir_all(folder).expect("made");
        fs::write(&file, "x").expect("written");
        let error = refused(&path);
        let named = if is_new { name.rsplit_once('/').expect("in a folder").0 } else { name };
        assert_eq!(error, format!("{named}: has no place in a bundle"));
        fs::remove_file(&file).expect("removed");
        if is_new {
            fs::remove_dir(folder).expect("removed");
        }
    }
    read(&path).expect("restored");
}

#[test]
fn links_pipes_and_folders_are_not_read() {
    let (dir, path) = written();
    for file in files(&path) {
        let name = file.strip_prefix(&path).expect("inside").display().to_string();
        let aside = dir.path().join("aside");
        fs::rename(&file, &aside).expect("moved");
        symlink(&aside, &file).expect("linked");
        assert_eq!(refused(&path), format!("{name}: is a link"));
        fs::remove_file(&file).expect("removed");

        fs::create_dir(&file).expect("made");
        assert_eq!(refused(&path), format!("{name}: not a regular file"));
        fs::remove_dir(&file).expect("removed");

        let status = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo runs");
        assert!(status.success());
        assert_eq!(refused(&path), format!("{name}: not a regular file"));
        fs::remove_file(&file).expect("removed");
        fs::rename(&aside, &file).expect("moved back");
    }
    for name in ["entries", "streams", "streams/000001"] {
        let aside = dir.path().join("aside");
        fs::rename(path.join(name), &aside).expect("moved");
        symlink(&aside, path.join(name)).expect("linked");
        assert_eq!(refused(&path), format!("{name}: is a link or no folder"));
        fs::remove_file(path.join(name)).expect("removed");
        fs::rename(&aside, path.join(name)).expect("moved back");
    }
    symlink(&path, dir.path().join("by-another-name")).expect("linked");
    read(&dir.path().join("by-another-name")).expect("the user may name it through a link");
}

#[test]
fn missing_or_empty_folder_and_file_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(refused(&dir.path().join("nowhere")).contains("nowhere"));
    assert_eq!(refused(dir.path()), "manifest: is missing");
    fs::write(dir.path().join("file"), "x").expect("written");
    assert!(refused(&dir.path().join("file")).contains("file"));
}

#[test]
fn huge_lengths_are_refused_before_anything_is_reserved() {
    let (_dir, path) = written();
    let manifest = fs::read_to_string(path.join("manifest")).expect("read");
    let entries = manifest.lines().nth(3).expect("the entries line");
    let heads = manifest.lines().nth(4).expect("the heads line");
    for (from, to, named) in [
        (entries, "entries 9223372036854775807", "entries/000000: "),
        (heads, "heads 268435457", "manifest: "),
        (heads, "heads 9", "heads: "),
        ("streams 3", "streams 65536", "manifest: "),
        ("1 0 3 5 12 ", "1 0 3 5 9223372036854775807 ", "streams/000001/000000.leaves: "),
    ] {
        fs::write(path.join("manifest"), manifest.replace(from, to)).expect("written");
        let error = refused(&path);
        assert!(error.starts_with(named), "{to}: {error}");
    }
    fs::write(path.join("manifest"), &manifest).expect("written");
    // A record with a length beyond its file.
    let file = path.join("streams/000001/000000.events");
    let mut bytes = fs::read(&file).expect("read");
    bytes[12 + 17..12 + 21].copy_from_slice(&(1_u32 << 30).to_be_bytes());
    fs::write(&file, &bytes).expect("written");
    assert!(refused(&path).starts_with("streams/000001/000000.events: byte 33: a record of 1073741824 bytes"));
    bytes[12 + 17..12 + 21].copy_from_slice(&u32::MAX.to_be_bytes());
    fs::write(&file, &bytes).expect("written");
    assert!(refused(&path).contains("offset 3: a content of 4294967295 bytes"));
}

#[test]
fn runs_ascend() {
    let (_dir, path) = written();
    fs::remove_dir_all(&path).expect("removed");
    let mut writer = writer(&path);
    writer.run(&run(3..5)).expect("a run");
    writer.run(&run(4..6)).expect("a run");
    writer.finish().expect("finished");
    let error = refused(&path);
    assert!(error.starts_with("entries/000000: ") && error.contains("begins at 4"), "{error}");
}

#[test]
fn a_bundle_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    let mut unfinished = writer(&path);
    unfinished.run(&run(0..3)).expect("a run");
    drop(unfinished);
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);

    let first = writer(&path);
    fs::create_dir(&path).expect("somebody was faster");
    assert!(first.finish().is_err());
    assert_eq!(files(dir.path()).len(), 0, "what was written is gone, the other's folder is not touched");
    let taken = Writer::create(&path, "example.com/audit", sha256(b""), b"", Vec::new());
    assert!(taken.is_err_and(|e| e.to_string().contains("bundle")));
}

#[test]
fn a_writer_refuses_what_no_reader_would_take() {
    let dir = tempfile::tempdir().expect("a folder");
    let create = |streams| Writer::create(&dir.path().join("b"), "example.com/audit", sha256(b""), b"", streams);
    assert!(create(vec![(stream(1), 0..1), (stream(0), 0..1)]).is_err());
    assert!(create(vec![(stream(1), 0..1), (stream(1), 1..2)]).is_err());
    #[expect(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
    let reversed = vec![(stream(1), 2..1)];
    assert!(create(reversed).is_err());
    let mut writer = create(Vec::new()).expect("no stream is fine");
    assert!(writer.run(&Run { entries: Vec::new(), ..run(0..3) }).is_err());
    assert!(writer.run(&Run { entries: vec![Vec::new(); 1025], ..run(0..3) }).is_err());
    assert!(writer.run(&Run { entries: vec![vec![0; 65_536]], ..run(0..3) }).is_err());
}

#[test]
fn many_streams_take_turns_with_few_open_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bundle");
    let streams = (0..100).map(|n| (stream(n), 0..10)).collect();
    let mut writer = Writer::create(&path, "example.com/audit", sha256(b""), b"", streams).expect("created");
    for seq in 0..3 {
        for stream in 0..100 {
            writer.batch(stream, seq, &[preimage(seq as i64)], &[event(seq as i64, b"x")]).expect("a batch");
        }
    }
    writer.finish().expect("finished");
    let reader = Reader::open(&path).expect("a bundle");
    for stream in 0..100 {
        let mut batches = reader.batches(stream).expect("there");
        for seq in 0..3 {
            assert_eq!(batches.begin(seq).expect("a frame"), (1, 1));
            assert_eq!(batches.leaves(2).expect("there").len(), 1);
            assert_eq!(batches.event().expect("there").map(|e| e.offset), Some(seq as i64));
        }
        batches.end().expect("all was read");
    }
}
