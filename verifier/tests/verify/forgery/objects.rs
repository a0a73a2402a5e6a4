//! Git's objects as bytes, loose and packed, in ways that Git's tools never write.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};
use miniz_oxide::deflate::compress_to_vec_zlib;

use super::{Forger, refused, sampled};
use crate::common::clones::git;
use crate::hostile::files;

pub(super) const COMMIT: u8 = 1;
pub(super) const BLOB: u8 = 3;
pub(super) const DELTA_AT: u8 = 6;
pub(super) const DELTA_TO: u8 = 7;

pub(super) fn oid(kind: ObjectType, bytes: &[u8]) -> Oid {
    Oid::hash_object(kind, bytes).expect("hashed")
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec_zlib(bytes, 6)
}

/// The path of a loose object.
pub(crate) fn loose(clone: &Path, id: Oid) -> PathBuf {
    let id = id.to_string();
    clone.join("objects").join(&id[..2]).join(&id[2..])
}

/// Replaces the bytes of a loose object.
pub(crate) fn put_loose(clone: &Path, id: Oid, bytes: &[u8]) {
    let path = loose(clone, id);
    fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
    // Git makes its objects read-only.
    let _ = fs::remove_file(&path);
    fs::write(path, bytes).expect("written");
}

/// A pack and its index, honest or not.
#[derive(Default)]
pub(super) struct Pack {
    pub(super) bytes: Vec<u8>,
    /// Id and offset of each object.
    pub(super) index: Vec<(Oid, u64)>,
}

impl Pack {
    pub(super) fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), index: Vec::new() }
    }

    /// Appends an object: kind, claimed length, bytes before the data, data.
    pub(super) fn add(&mut self, id: Oid, kind: u8, len: u64, base: &[u8], data: &[u8]) -> u64 {
        let at = self.bytes.len() as u64;
        let mut rest = len >> 4;
        let mut byte = kind << 4 | (len & 15) as u8;
        while rest > 0 {
            self.bytes.push(byte | 0x80);
            byte = (rest & 0x7f) as u8;
            rest >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        self.bytes.extend_from_slice(data);
        self.index.push((id, at));
        at
    }

    /// An object that is a delta to the one at `base`.
    pub(super) fn add_delta(&mut self, id: Oid, base: u64, delta: &[u8]) -> u64 {
        let distance = self.bytes.len() as u64 - base;
        self.add(id, DELTA_AT, delta.len() as u64, &backwards(distance), &zlib(delta))
    }

    pub(super) fn write(mut self, clone: &Path, name: &str) {
        let folder = clone.join("objects/pack");
        fs::create_dir_all(&folder).expect("made");
        self.bytes.extend_from_slice(&[0; 20]);
        fs::write(folder.join(format!("pack-{name}.pack")), &self.bytes).expect("written");
        self.index.sort();
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        for first in 0..=255_u8 {
            let count = self.index.iter().filter(|(id, _)| id.as_bytes()[0] <= first).count() as u32;
            index.extend_from_slice(&count.to_be_bytes());
        }
        self.index.iter().for_each(|(id, _)| index.extend_from_slice(id.as_bytes()));
        index.extend(std::iter::repeat_n(0, 4 * self.index.len()));
        self.index.iter().for_each(|(_, at)| index.extend_from_slice(&(*at as u32).to_be_bytes()));
        index.extend_from_slice(&[0; 40]);
        fs::write(folder.join(format!("pack-{name}.idx")), index).expect("written");
    }
}

/// The distance to a delta's base, as packs encode it.
pub(super) fn backwards(mut distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    while distance > 0x7f {
        distance = (distance >> 7) - 1;
        bytes.insert(0, 0x80 | (distance & 0x7f) as u8);
    }
    bytes
}

/// Seven bits in each byte, the lowest first.
pub(super) fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A delta from `from` bytes that keeps all of them but the last, and then inserts `insert`.
pub(super) fn delta(from: usize, insert: &[u8]) -> Vec<u8> {
    let keep = from - 1;
    let mut delta = [number(from as u64), number((keep + insert.len()) as u64)].concat();
    let mut at = 0;
    while at < keep {
        let len = (keep - at).min(0xffff);
        let (at_bytes, len_bytes) = ((at as u32).to_le_bytes(), (len as u32).to_le_bytes());
        delta.push(0x80 | 0x0f | 0x30);
        delta.extend_from_slice(&at_bytes);
        delta.extend_from_slice(&len_bytes[..2]);
        at += len;
    }
    for piece in insert.chunks(127) {
        delta.push(piece.len() as u8);
        delta.extend_from_slice(piece);
    }
    delta
}

#[test]
fn generated_packs_are_read() {
    let forger = Forger::new();
    let desk = forger.desk(true);
    let clone = &desk.inputs.clones[0];
    let git = git2::Repository::open_bare(clone).expect("opened");
    let odb = git.odb().expect("a database");
    let mut pack = Pack::new();
    let mut blobs = Vec::new();
    let mut ids = Vec::new();
    odb.foreach(|id| {
        ids.push(*id);
        true
    })
    .expect("listed");
    for id in ids {
        let object = odb.read(id).expect("read");
        let kind = match object.kind() {
            ObjectType::Commit => COMMIT,
            ObjectType::Tree => 2,
            _ => BLOB,
        };
        if kind == BLOB {
            blobs.push((id, object.data().to_vec()));
            continue;
        }
        pack.add(id, kind, object.len() as u64, b"", &zlib(object.data()));
    }
    // The first blob whole, the others as deltas, by distance and by name.
    let base = blobs[0].clone();
    let base_at = pack.add(base.0, BLOB, base.1.len() as u64, b"", &zlib(&base.1));
    for (i, (id, bytes)) in blobs[1..].iter().enumerate() {
        let mut delta = [number(base.1.len() as u64), number(bytes.len() as u64)].concat();
        for piece in bytes.chunks(127) {
            delta.push(piece.len() as u8);
            delta.extend_from_slice(piece);
        }
        if i % 2 == 0 {
            pack.add_delta(*id, base_at, &delta);
        } else {
            pack.add(*id, DELTA_TO, delta.len() as u64, base.0.as_bytes(), &zlib(&delta));
        }
    }
    for (id, _) in &pack.index {
        fs::remove_file(loose(clone, *id)).expect("removed");
    }
    pack.write(clone, "own");
    desk.proven();
}

/// Changes each byte and cuts each length of loose objects and packs. Only an equal report may be proven.
#[test]
fn changed_object_bytes_are_never_proven() {
    let forger = Forger::new();
    for packed in [false, true] {
        let desk = forger.desk(true);
        let clone = &desk.inputs.clones[0];
        if packed {
            git(clone, &["gc", "-q"]);
        }
        let honest = desk.proven().to_string();
        let mut cases = Vec::new();
        for path in files(&clone.join("objects")) {
            let name = path.display().to_string();
            let is_read = !packed || name.ends_with(".pack") || name.ends_with(".idx");
            let len = if is_read { fs::metadata(&path).expect("there").len() as usize } else { 0 };
            cases.extend((0..len).flat_map(|at| [0, 1, 2].map(|how| (path.clone(), at, how))));
        }
        for (path, at, how) in sampled(cases) {
            let bytes = fs::read(&path).expect("read");
            let mut changed = bytes.clone();
            match how {
                0 => changed[at] ^= 0x01,
                1 => changed[at] ^= 0x80,
                _ => changed.truncate(at),
            }
            fs::remove_file(&path).expect("removed");
            fs::write(&path, changed).expect("written");
            let report = desk.verify();
            let what = format!("{} at {at}, {how}", path.display());
            if report.to_string() != honest {
                refused(&report, &[3, 5], &what);
                assert!(report.findings.iter().any(|f| f.place.file.is_some()), "{what}: {report}");
            }
            fs::write(&path, bytes).expect("written");
        }
        desk.proven();
    }
}
