//! Small evidence that is large to read. The verifier runs with little memory and processor time, and must not
//! run out of either.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use evidence::chain::Role;
use evidence::{Algorithm, SigningKey};
use git2::{ObjectType, Oid};

use super::Forger;
use super::objects::{BLOB, COMMIT, DELTA_AT, DELTA_TO, Pack, backwards, delta, loose, number, oid, put_loose, zlib};
use crate::common::bundles::Desk;
use crate::common::clones::{BRANCH, folder};
use crate::common::{Ledger, ORIGIN, T0, stream};
use crate::event_proofs::{outsider, put};

/// Address space in KiB, stacks included, and processor seconds. A verifier that exceeds either fails the
/// test.
const MEMORY_KIB: u32 = 700_000;
const CPU_S: u32 = 60;

/// So many that reading all again for each would exceed the time limit.
const KEY_ENTRIES: u32 = 4000;

/// Runs the stand-alone verifier within these limits, and returns its exit code and output.
fn limited(desk: &Desk) -> (Option<i32>, String) {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {MEMORY_KIB} && ulimit -t {CPU_S} && exec \"$@\"")).arg("sh");
    command.arg(env!("CARGO_BIN_EXE_streamseal-verify")).arg(&desk.inputs.bundle);
    command.arg("--trust").arg(&desk.inputs.trust).args(["--accept-gap", "start"]);
    for clone in &desk.inputs.clones {
        command.arg("--clone").arg(clone);
    }
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[track_caller]
fn ends(desk: &Desk, exit_code: i32, what: &str) -> String {
    let (code, said) = limited(desk);
    assert_eq!(code, Some(exit_code), "{what}: {said}");
    said
}

/// A desk whose trust file sets no age, because the command uses the real clock.
fn desk() -> Desk {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let trust = fs::read_to_string(&desk.inputs.trust).expect("read");
    fs::write(&desk.inputs.trust, trust.replace("max-anchor-age 86400", "max-anchor-age -")).expect("written");
    ends(&desk, 0, "honest");
    desk
}

/// The tip of the clone's branch, and the checkpoint file of its newest anchor.
fn tip(desk: &Desk) -> (Oid, Oid) {
    let git = git2::Repository::open_bare(&desk.inputs.clones[0]).expect("opened");
    let tip = git.refname_to_id(BRANCH).expect("a branch");
    let tree = git.find_commit(tip).and_then(|commit| commit.tree()).expect("a tree");
    let file = tree.get_path(Path::new(&format!("logs/{}/checkpoint", folder(ORIGIN)))).expect("there").id();
    (tip, file)
}

#[test]
fn zlib_bombs_are_refused() {
    let desk = desk();
    let clone = &desk.inputs.clones[0];
    let (tip, file) = tip(&desk);
    let honest = fs::read(loose(clone, file)).expect("read");
    let zeros = vec![0; 64 << 20];
    let cases = [
        ("a blob of 64 MiB", [&b"blob 67108864\0"[..], &zeros].concat()),
        ("a small blob with 64 MiB after it", [&b"blob 10\0"[..], &zeros].concat()),
        ("64 MiB without a header", zeros.clone()),
        ("a blob that claims to be endless", b"blob 18446744073709551615\0x".to_vec()),
        ("a blob with a negative length", b"blob -1\0x".to_vec()),
    ];
    for (what, bytes) in cases {
        put_loose(clone, file, &zlib(&bytes));
        let said = ends(&desk, 5, what);
        assert!(said.contains(&format!("object {file}")), "{what}: {said}");
    }
    put_loose(clone, file, &honest);
    // The newest commit, where the reading begins.
    let honest = fs::read(loose(clone, tip)).expect("read");
    put_loose(clone, tip, &zlib(&[&b"commit 67108864\0"[..], &zeros].concat()));
    ends(&desk, 5, "a commit of 64 MiB");
    put_loose(clone, tip, &honest);
    // A sparse file of enormous length.
    fs::remove_file(loose(clone, file)).expect("removed");
    File::create(loose(clone, file)).and_then(|file| file.set_len(1 << 40)).expect("made");
    ends(&desk, 5, "a loose object of a terabyte");
}

#[test]
fn pack_bombs_are_refused() {
    let desk = desk();
    let clone = &desk.inputs.clones[0];
    let (_, file) = tip(&desk);
    fs::remove_file(loose(clone, file)).expect("removed");
    let name = file.as_bytes().to_vec();
    let other = Oid::from_bytes(&[7; 20]).expect("an id");
    let large = zlib(&vec![0; 64 << 20]);
    let copies = |count: usize| {
        // The delta copies the whole base many times.
        let copy = [0xf0, 0xff, 0xff, 0x0f];
        [number(0x0f_ffff), number(0x0f_ffff * count as u64), copy.repeat(count)].concat()
    };
    let cases: [(&str, &dyn Fn(&mut Pack)); 12] = [
        ("64 MiB", &|pack| {
            pack.add(file, BLOB, 64 << 20, b"", &large);
        }),
        ("64 MiB that claim to be few", &|pack| {
            pack.add(file, BLOB, 10, b"", &large);
        }),
        ("a length above all", &|pack| {
            pack.add(file, BLOB, u64::MAX >> 4, b"", &large);
        }),
        ("a delta of 64 MiB", &|pack| {
            let base = pack.add(other, BLOB, 1, b"", &zlib(b"x"));
            let distance = backwards(pack.bytes.len() as u64 - base);
            pack.add(file, DELTA_AT, 64 << 20, &distance, &large);
        }),
        ("a delta that copies a thousand times", &|pack| {
            let base = pack.add(other, BLOB, 0x0f_ffff, b"", &zlib(&vec![0; 0x0f_ffff]));
            pack.add_delta(file, base, &copies(1000));
        }),
        ("a delta that claims to make an endless object", &|pack| {
            let base = pack.add(other, BLOB, 1, b"", &zlib(b"x"));
            pack.add_delta(file, base, &[number(1), number(1 << 50), vec![0x91, 0, 1]].concat());
        }),
        ("a delta to itself by its place", &|pack| {
            pack.add(file, DELTA_AT, 3, &[0], &zlib(b"\x01\x01\x00"));
        }),
        ("a delta to itself by its name", &|pack| {
            pack.add(file, DELTA_TO, 3, &name, &zlib(b"\x01\x01\x00"));
        }),
        ("two deltas to each other", &|pack| {
            pack.add(file, DELTA_TO, 3, &[7; 20], &zlib(b"\x01\x01\x00"));
            pack.add(other, DELTA_TO, 3, &name, &zlib(b"\x01\x01\x00"));
        }),
        ("a delta to what is before the pack", &|pack| {
            pack.add(file, DELTA_AT, 3, &backwards(1 << 40), &zlib(b"\x01\x01\x00"));
        }),
        ("a distance without end", &|pack| {
            pack.add(file, DELTA_AT, 3, &[0xff; 40], b"");
        }),
        ("an object where there is none", &|pack| pack.index.push((file, u32::MAX.into()))),
    ];
    for (what, make) in cases {
        let mut pack = Pack::new();
        make(&mut pack);
        pack.write(clone, "bomb");
        ends(&desk, 5, what);
    }
    // A longer chain of deltas than Git makes.
    let mut pack = Pack::new();
    let mut base = pack.add(other, BLOB, 2, b"", &zlib(b"xx"));
    for i in 0..6000_u32 {
        let id = if i == 5999 { file } else { oid(ObjectType::Blob, &i.to_be_bytes()) };
        base = pack.add_delta(id, base, &delta(2, b"x"));
    }
    pack.write(clone, "bomb");
    assert!(ends(&desk, 5, "a chain of 6000 deltas").contains("deltas"));
    // An index that claims more objects than any disk holds.
    let index = clone.join("objects/pack/pack-bomb.idx");
    let mut bytes = fs::read(&index).expect("read");
    bytes[8..8 + 1024].copy_from_slice(&u32::MAX.to_be_bytes().repeat(256));
    fs::write(&index, &bytes).expect("written");
    // Looking for an object leads beyond its end, or to another one first, by the object's name.
    let (code, said) = limited(&desk);
    assert!([Some(3), Some(5)].contains(&code), "an index that is cut short: {said}");
    File::options().write(true).open(&index).and_then(|file| file.set_len(1 << 40)).expect("made");
    // Nothing is found in it.
    ends(&desk, 3, "an index of a terabyte");
}

/// Each commit is a delta to the one before: a chain as long as the history, which must be read only once.
#[test]
fn history_as_one_delta_chain_is_read() {
    const COMMITS: usize = 900;
    let desk = desk();
    let clone = &desk.inputs.clones[0];
    let (tip, _) = tip(&desk);
    let git = git2::Repository::open_bare(clone).expect("opened");
    let tree = git.find_commit(tip).expect("there").tree_id();
    let mut pack = Pack::new();
    let (mut parent, mut before, mut at) = (tip, Vec::new(), 0);
    for i in 0..COMMITS {
        let head = format!("tree {tree}\nparent {parent}\nauthor a <a> 1 +0000\n\n");
        let commit = [head.as_bytes(), &vec![b'x'; 60_000], format!("{i:04}").as_bytes()].concat();
        let id = oid(ObjectType::Commit, &commit);
        at = if before.is_empty() {
            pack.add(id, COMMIT, commit.len() as u64, b"", &zlib(&commit))
        } else {
            // New head, copied message, new end.
            let copy = [&[0xb7][..], &(head.len() as u32).to_le_bytes()[..3], &60_000_u16.to_le_bytes()].concat();
            let pieces = |bytes: &[u8]| -> Vec<u8> {
                bytes.chunks(127).flat_map(|piece| [&[piece.len() as u8], piece].concat()).collect()
            };
            let sizes = [number(before.len() as u64), number(commit.len() as u64)].concat();
            pack.add_delta(
                id,
                at,
                &[sizes, pieces(head.as_bytes()), copy, pieces(&commit[commit.len() - 4..])].concat(),
            )
        };
        (parent, before) = (id, commit);
    }
    pack.write(clone, "chain");
    fs::write(clone.join(BRANCH), format!("{parent}\n")).expect("written");
    ends(&desk, 0, "a chain of deltas");
}

#[test]
fn bombs_beside_objects_are_refused() {
    let desk = desk();
    let clone = &desk.inputs.clones[0];
    let sparse = |name: &str| File::create(clone.join(name)).and_then(|file| file.set_len(1 << 40)).expect("made");
    sparse("packed-refs");
    assert!(ends(&desk, 5, "packed-refs of a terabyte").contains("packed-refs: longer than"));
    fs::remove_file(clone.join("packed-refs")).expect("removed");
    sparse("objects/info/alternates");
    ends(&desk, 5, "alternates of a terabyte");
    fs::remove_file(clone.join("objects/info/alternates")).expect("removed");
    (0..256).for_each(|i| Pack::new().write(clone, &i.to_string()));
    ends(&desk, 0, "256 packs");
    Pack::new().write(clone, "one-more");
    assert!(ends(&desk, 5, "257 packs").contains("more than 256 packs"));
}

#[test]
fn bundle_bombs_are_refused() {
    let desk = desk();
    let bundle = desk.inputs.bundle.clone();
    let manifest = fs::read_to_string(bundle.join("manifest")).expect("read");
    let original = |name: &str| fs::read(bundle.join(name)).expect("read");
    let entries = original("entries/000000");
    let events = original("streams/000000/000000.events");
    let leaves = original("streams/000000/000000.leaves");
    let splice = |name: &str, bytes: &[u8], at: usize, with: &[u8]| {
        let mut changed = bytes.to_vec();
        changed[at..at + with.len()].copy_from_slice(with);
        fs::write(bundle.join(name), changed).expect("written");
    };
    for (what, name, bytes, at, with) in [
        ("a run of 2^32-1 entries", "entries/000000", &entries, 8, &[255; 4][..]),
        ("a run at the end of all", "entries/000000", &entries, 0, &[255; 8]),
        ("255 hashes before a run", "entries/000000", &entries, 12, &[255]),
        ("255 hashes after a run", "entries/000000", &entries, 13, &[255]),
        ("an entry of 65,535 bytes", "entries/000000", &entries, 14, &[255; 2]),
        ("2^32-1 records", "streams/000000/000000.events", &events, 8, &[255; 4]),
        ("2^32-1 leaves", "streams/000000/000000.leaves", &leaves, 8, &[255; 4]),
        ("a record of 2^30 bytes", "streams/000000/000000.events", &events, 29, &[0x40, 0, 0, 0]),
        ("a record of 2^32-1 bytes", "streams/000000/000000.events", &events, 29, &[255; 4]),
    ] {
        splice(name, bytes, at, with);
        ends(&desk, 5, what);
        fs::write(bundle.join(name), bytes).expect("written");
    }
    for (what, from, to) in [
        ("entries without end", format!("entries {}", entries.len()), "entries 9223372036854775807".to_owned()),
        ("streams without end", "streams 3".to_owned(), "streams 9223372036854775807".to_owned()),
        ("heads without end", format!("heads {}", original("heads").len()), "heads 9223372036854775807".to_owned()),
    ] {
        fs::write(bundle.join("manifest"), manifest.replace(&from, &to)).expect("written");
        ends(&desk, 5, what);
    }
    // Sparse files with the lengths in the manifest.
    let sparse =
        |name: &str, len: u64| File::create(bundle.join(name)).and_then(|file| file.set_len(len)).expect("made");
    for (what, name, from, len) in [
        ("entries of a gigabyte", "entries/000000", format!("entries {}\n", entries.len()), 1 << 30),
        ("heads of 200 MiB", "heads", format!("heads {}\n", original("heads").len()), 200 << 20),
    ] {
        let honest = original(name);
        sparse(name, len);
        let to = format!("{} {len}\n", from.split(' ').next().expect("a word"));
        fs::write(bundle.join("manifest"), manifest.replace(&from, &to)).expect("written");
        ends(&desk, 5, what);
        fs::write(bundle.join(name), honest).expect("written");
    }
    sparse("manifest", 1 << 40);
    ends(&desk, 5, "a manifest of a terabyte");
    fs::write(bundle.join("manifest"), manifest).expect("written");
    sparse("checkpoint", 1 << 40);
    ends(&desk, 5, "a checkpoint of a terabyte");
}

/// Many streams, each with 64 MiB that do not decode. Together they must fit the memory of one.
#[test]
fn long_events_in_many_streams_fit_memory() {
    const STREAMS: u32 = 24;
    const LEN: u32 = 64 << 20;
    let mut forger = Forger::new();
    for number in 0..STREAMS {
        forger.ledger.seal(&crate::common::stream("wide", number, 0), 1);
    }
    forger.ledger.heads();
    let trust = forger.trust().replace("max-anchor-age 86400", "max-anchor-age -");
    let mut desk = Desk::new(&trust);
    let mut bundle = forger.ledger.bundle();
    bundle.checkpoint = forger.cosigned(forger.ledger.size(), T0).to_bytes();
    desk.put(&bundle);
    ends(&desk, 0, "honest");
    let manifest = desk.inputs.bundle.join("manifest");
    let mut text = fs::read_to_string(&manifest).expect("read");
    for (i, stream) in bundle.streams.iter().enumerate().filter(|(_, stream)| stream.id.partition.topic == "wide") {
        let path = desk.inputs.bundle.join(format!("streams/{i:06}/000000.events"));
        let mut head = fs::read(&path).expect("read");
        let before = format!(" {}\n", head.len());
        head.truncate(12 + 21);
        head[12 + 17..].copy_from_slice(&LEN.to_be_bytes());
        fs::write(&path, &head).expect("written");
        let len = head.len() as u64 + u64::from(LEN);
        File::options().write(true).open(&path).and_then(|file| file.set_len(len)).expect("made");
        let line = format!("stream - wide {} 0", stream.id.partition.number);
        let at = text.find(&format!("{line} ")).expect("in the manifest");
        let end = at + text[at..].find('\n').expect("a line") + 1;
        let changed = text[at..end].replace(&before, &format!(" {len}\n"));
        text.replace_range(at..end, &changed);
    }
    fs::write(&manifest, text).expect("written");
    assert!(ends(&desk, 1, "long events").contains("altered-event"));
}

/// The key entry that each one names is looked up among all others.
#[test]
fn missing_key_entry_among_many_is_found() {
    let mut ledger = Ledger::example();
    for number in 0..KEY_ENTRIES / 2 {
        let seed = [number.to_be_bytes(); 8].concat().try_into().expect("32 bytes");
        let granted = SigningKey::from_seed(&format!("example.org/{number}"), Algorithm::Cosignature, &seed);
        let granted = granted.expect("a valid name").verifier_key().clone();
        ledger.grant(Role::Anchor, granted.clone());
        ledger.revoke(Role::Anchor, granted, None);
    }
    let mut proof = ledger.event_proof(&stream("orders", 0, 0), 13, ledger.size());
    proof.proof.checkpoint.cosign(&outsider(), T0 + 7);
    let mut desk = Desk::new(&ledger.trust_with(&outsider(), "-"));
    put(&mut desk, &proof);
    ends(&desk, 0, "with all of them");
    proof.keys.remove(proof.keys.len() - 2);
    put(&mut desk, &proof);
    let said = ends(&desk, 3, "without the last but one");
    assert!(said.contains("absent-entry"), "{said}");
}
