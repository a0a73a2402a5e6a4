//! The readers of Git objects, packs and references.

use std::fs;

use git_reader::fuzzing;

use crate::{halves, scratch};

/// The largest object that the targets ask for, in bytes.
const BYTES_MAX: usize = 64 * 1024;

pub(crate) fn commit(data: &[u8]) {
    if let Some(head) = fuzzing::commit(data) {
        assert!(data.starts_with(&head));
    }
}

pub(crate) fn tree(data: &[u8]) {
    if let Some(encoded) = fuzzing::tree(data) {
        assert_eq!(encoded, data);
    }
}

/// A base and a delta to it.
pub(crate) fn delta(data: &[u8]) {
    let Some((base, delta)) = halves(data) else { return };
    let Some(made) = fuzzing::delta(base, delta, BYTES_MAX) else { return };
    assert!(made.len() <= BYTES_MAX);
    assert_eq!(Some(made), by_the_book(base, delta));
}

/// Applies a valid delta as Git's documentation of the format says.
fn by_the_book(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut at = delta;
    let mut next = || {
        let (first, rest) = at.split_first()?;
        at = rest;
        Some(*first)
    };
    for _ in 0..2 {
        while next()? & 0x80 != 0 {}
    }
    let mut out = Vec::new();
    while let Some(instruction) = next() {
        if instruction & 0x80 == 0 {
            for _ in 0..instruction {
                out.push(next()?);
            }
            continue;
        }
        let mut numbers = [0_usize; 2];
        for bit in 0..7 {
            if instruction & 1 << bit != 0 {
                let (number, shift) = if bit < 4 { (0, bit * 8) } else { (1, (bit - 4) * 8) };
                numbers[number] |= usize::from(next()?) << shift;
            }
        }
        let [from, len] = numbers;
        let len = if len == 0 { 0x10000 } else { len };
        out.extend_from_slice(base.get(from..from + len)?);
    }
    Some(out)
}

/// A loose object.
pub(crate) fn loose_object(data: &[u8]) {
    scratch::with(|folder| {
        let objects = folder.join("loose");
        let name = "0707070707070707070707070707070707070707";
        scratch::write(&objects.join(&name[..2]).join(&name[2..]), data);
        if let Some((kind, bytes)) = fuzzing::object(&objects, [7; 20], BYTES_MAX) {
            assert!(bytes.len() <= BYTES_MAX && ["commit", "tree", "blob", "tag"].contains(&kind));
        }
    });
}

/// An index and its pack; every object that the index names is read.
pub(crate) fn pack(data: &[u8]) {
    const IDS_AT: usize = 8 + 1024;
    let Some((index, pack)) = halves(data) else { return };
    scratch::with(|folder| {
        let objects = folder.join("packed");
        scratch::write(&objects.join("pack/pack-x.idx"), index);
        scratch::write(&objects.join("pack/pack-x.pack"), pack);
        let ids = index.get(IDS_AT..).unwrap_or_default().as_chunks::<20>().0;
        for id in ids.iter().take(16).chain([&[7; 20]]) {
            if let Some((_, bytes)) = fuzzing::object(&objects, *id, BYTES_MAX) {
                assert!(bytes.len() <= BYTES_MAX);
            }
        }
    });
}

/// A loose reference and `packed-refs`.
pub(crate) fn references(data: &[u8]) {
    let Some((loose, packed)) = halves(data) else { return };
    scratch::with(|folder| {
        let repository = folder.join("references");
        fs::create_dir_all(repository.join("objects")).expect("made");
        scratch::write(&repository.join("HEAD"), b"ref: refs/heads/anchors\n");
        scratch::write(&repository.join("refs/remotes/origin/anchors"), loose);
        scratch::write(&repository.join("packed-refs"), packed);
        let Some(tips) = fuzzing::tips(&repository, "anchors") else { return };
        assert!(tips.len() <= 64);
        for (name, commit) in tips {
            assert!(name.ends_with("/anchors") && commit.len() == 40, "{name} {commit}");
            // The input holds it. A symbolic reference leads to another line.
            let is_own = name == "refs/remotes/origin/anchors";
            let is_loose = is_own && loose == format!("{commit}\n").as_bytes();
            let is_symbolic = is_own && loose.starts_with(b"ref: ");
            let line = format!("{commit} {}", if is_symbolic { "refs/" } else { name.as_str() });
            assert!(is_loose || packed.windows(line.len()).any(|window| window == line.as_bytes()), "{line}");
        }
    });
}
