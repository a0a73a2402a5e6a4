//! Packs (Git's pack format, version 2) and their indexes (version 2).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use crate::bounds::{Budget, inflate, open_file, packed_bytes_max};
use crate::error::ReadError;
use crate::id::Id;
use crate::objects::Kind;

/// Header and fan-out table of an index.
const FANOUT_AT: u64 = 8;
const IDS_AT: u64 = FANOUT_AT + 256 * 4;

/// The longest chain of deltas; Git makes none above 4,095.
const DELTAS_MAX: usize = 4096;

/// The most bytes unpacked to make one object: enough for the longest object after 50 deltas, the chain that `git gc`
/// makes.
const WORK_BYTES_MAX: usize = 1 << 30;

/// The most bytes of objects made from deltas that are remembered: a few of the longest.
const MADE_BYTES_MAX: usize = 64 << 20;

/// The longest header of an object in a pack: type, length, and the base of a delta.
const HEADER_BYTES_MAX: usize = 64;

/// A pack with its index. Only the fan-out table is kept in memory.
pub(crate) struct Pack {
    index: File,
    pack: File,
    pack_len: u64,
    /// For each first byte, the number of ids that begin with it or a smaller one.
    fanout: Vec<u32>,
    /// The number of the pack in its store.
    number: usize,
    made: Rc<RefCell<Made>>,
    budget: Rc<Budget>,
}

type Object = (Kind, Rc<[u8]>);

/// Objects made from deltas, by pack and offset, at most [`MADE_BYTES_MAX`] bytes together. The next delta to one of them
/// starts from there: otherwise a small pack of long chains could take hours.
#[derive(Default)]
pub(crate) struct Made {
    objects: HashMap<(usize, u64), Object>,
    bytes: usize,
}

impl Made {
    fn keep(&mut self, at: (usize, u64), kind: Kind, bytes: &Rc<[u8]>) {
        if self.bytes + bytes.len() > MADE_BYTES_MAX {
            *self = Self::default();
        }
        if self.objects.insert(at, (kind, Rc::clone(bytes))).is_none() {
            // With the overhead of the map.
            self.bytes += bytes.len() + 128;
        }
    }
}

/// An object as it lies in the pack.
struct Packed {
    what: What,
    /// Length when unpacked.
    len: usize,
    /// The offset of its zlib stream.
    data: u64,
}

enum What {
    Whole(Kind),
    /// A delta to the object at this offset.
    DeltaAt(u64),
    /// A delta to the object with this name, in this pack too.
    DeltaTo(Id),
}

impl Pack {
    /// Opens an index and the pack beside it. `number` differs between packs that share `made`.
    pub(crate) fn open(
        index: &Path,
        number: usize,
        made: Rc<RefCell<Made>>,
        budget: Rc<Budget>,
    ) -> Result<Self, ReadError> {
        let name = index.display();
        let pack = open_file(&index.with_extension("pack"))?.ok_or_else(|| format!("{name} has no pack beside it"))?;
        let index = open_file(index)?.ok_or("disappeared")?;
        let mut head = [0; IDS_AT as usize];
        index.read_exact_at(&mut head, 0).map_err(|e| format!("{name}: {e}"))?;
        if head[..8] != *b"\xfftOc\0\0\0\x02" {
            return Err(format!("{name} is not a pack index of version 2; run `git index-pack` on its pack").into());
        }
        let fanout: Vec<u32> = head[8..].as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect();
        let mut start = [0; 8];
        pack.read_exact_at(&mut start, 0).map_err(|e| format!("pack of {name}: {e}"))?;
        if start != *b"PACK\0\0\0\x02" || !fanout.is_sorted() {
            return Err(format!("the pack of {name} is not of version 2, or its index is damaged").into());
        }
        let pack_len = pack.metadata()?.len();
        Ok(Self { index, pack, pack_len, fanout, number, made, budget })
    }

    /// The offset of an object in the pack; `None` if the pack does not hold it.
    pub(crate) fn find(&self, id: Id) -> Result<Option<u64>, ReadError> {
        let first = usize::from(id.0[0]);
        let mut low = if first == 0 { 0 } else { self.fanout[first - 1] };
        let mut high = self.fanout[first];
        while low < high {
            let middle = low + (high - low) / 2;
            let mut found = Id([0; Id::LEN]);
            self.index.read_exact_at(&mut found.0, IDS_AT + u64::from(middle) * Id::LEN as u64)?;
            match found.cmp(&id) {
                std::cmp::Ordering::Equal => return self.offset(middle).map(Some),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The offset of the object with this number in the index.
    fn offset(&self, number: u32) -> Result<u64, ReadError> {
        let count = u64::from(self.fanout[255]);
        // The ids are followed by a checksum for each, the offsets, and the offsets with more than 31 bits.
        let offsets_at = IDS_AT + count * (Id::LEN as u64 + 4);
        let mut offset = [0; 4];
        self.index.read_exact_at(&mut offset, offsets_at + u64::from(number) * 4)?;
        let offset = u32::from_be_bytes(offset);
        if offset & 1 << 31 == 0 {
            return Ok(offset.into());
        }
        let mut large = [0; 8];
        self.index.read_exact_at(&mut large, offsets_at + count * 4 + u64::from(offset & !(1 << 31)) * 8)?;
        Ok(u64::from_be_bytes(large))
    }

    /// Reads the object at an offset. Neither the object nor a base of it may be longer than `bytes_max`.
    pub(crate) fn read(&self, offset: u64, bytes_max: usize) -> Result<(Kind, Vec<u8>), ReadError> {
        let mut deltas = Vec::new();
        let mut at = offset;
        let (kind, mut bytes) = loop {
            if let Some((kind, bytes)) = self.made.borrow().objects.get(&(self.number, at)) {
                break (*kind, Rc::clone(bytes));
            }
            let packed = self.header(at)?;
            let base = match packed.what {
                What::Whole(kind) => break (kind, self.unpack(&packed, bytes_max)?.into()),
                What::DeltaAt(base) => base,
                What::DeltaTo(base) => {
                    self.find(base)?.ok_or_else(|| format!("a delta to {base}, which is not in its pack"))?
                }
            };
            deltas.push((at, packed));
            at = base;
            if deltas.len() > DELTAS_MAX {
                return Err(format!("more than {DELTAS_MAX} deltas").into());
            }
        };
        self.budget.spend(bytes.len())?;
        let mut unpacked = bytes.len();
        for (at, delta) in deltas.into_iter().rev() {
            let delta = self.unpack(&delta, packed_bytes_max(bytes_max))?;
            bytes = apply(&bytes, &delta, bytes_max)?.into();
            self.made.borrow_mut().keep((self.number, at), kind, &bytes);
            self.budget.spend(delta.len() + bytes.len())?;
            unpacked += delta.len() + bytes.len();
            if unpacked > WORK_BYTES_MAX {
                return Err(format!("deltas over more than {WORK_BYTES_MAX} bytes").into());
            }
        }
        if bytes.len() > bytes_max {
            return Err(format!("{} bytes, at most {bytes_max} are read", bytes.len()).into());
        }
        Ok((kind, bytes.to_vec()))
    }

    fn header(&self, at: u64) -> Result<Packed, ReadError> {
        let mut header = [0; HEADER_BYTES_MAX];
        let len = usize::try_from(self.pack_len.saturating_sub(at)).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX);
        self.pack.read_exact_at(&mut header[..len], at)?;
        let mut bytes = Bytes(&header[..len]);
        let first = bytes.next()?;
        let mut size = u64::from(first & 0x0f);
        if first & 0x80 != 0 {
            size |= bytes.number()?.checked_mul(16).ok_or("an impossible length")?;
        }
        let what = match first >> 4 & 7 {
            1 => What::Whole(Kind::Commit),
            2 => What::Whole(Kind::Tree),
            3 => What::Whole(Kind::Blob),
            4 => What::Whole(Kind::Tag),
            6 => What::DeltaAt(at.checked_sub(bytes.distance()?).ok_or("a delta to an offset before the pack")?),
            7 => What::DeltaTo(Id(bytes.take(Id::LEN)?.try_into().expect("take returns that many"))),
            other => return Err(format!("an object of type {other}").into()),
        };
        let data = at + (len - bytes.0.len()) as u64;
        Ok(Packed { what, len: usize::try_from(size).map_err(|_| "an impossible length")?, data })
    }

    fn unpack(&self, object: &Packed, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        if object.len > bytes_max {
            return Err(format!("{} bytes, at most {bytes_max} are read", object.len).into());
        }
        let room = self.pack_len.saturating_sub(object.data).min(packed_bytes_max(object.len) as u64);
        let mut packed = vec![0; room as usize];
        self.pack.read_exact_at(&mut packed, object.data)?;
        let bytes = inflate(&packed, object.len)?;
        if bytes.len() == object.len { Ok(bytes) } else { Err("of another length than its header says".into()) }
    }
}

/// Makes an object from its base and a delta: lengths of both, then instructions to copy from the base or to insert.
pub(crate) fn apply(base: &[u8], delta: &[u8], bytes_max: usize) -> Result<Vec<u8>, ReadError> {
    let mut delta = Bytes(delta);
    if delta.number()? != base.len() as u64 {
        return Err("a delta to an object of another length".into());
    }
    let len = delta.number()?;
    let len = usize::try_from(len).ok().filter(|len| *len <= bytes_max);
    let len = len.ok_or_else(|| format!("a delta to more than {bytes_max} bytes"))?;
    let mut out = Vec::new();
    while !delta.0.is_empty() {
        let instruction = delta.next()?;
        let piece = if instruction & 0x80 == 0 {
            // Inserting nothing is reserved.
            if instruction == 0 {
                return Err("an unknown instruction in a delta".into());
            }
            delta.take(instruction.into())?
        } else {
            let mut number = |bits: std::ops::Range<u32>| {
                let mut value = 0;
                for (place, bit) in bits.enumerate() {
                    if instruction & 1 << bit != 0 {
                        value |= usize::from(delta.next()?) << (8 * place);
                    }
                }
                Ok::<usize, ReadError>(value)
            };
            let (from, count) = (number(0..4)?, number(4..7)?);
            let count = if count == 0 { 0x10000 } else { count };
            base.get(from..from + count).ok_or("a delta that copies from beyond its base")?
        };
        if out.len() + piece.len() > len {
            return Err("a delta that makes more than it announces".into());
        }
        out.extend_from_slice(piece);
    }
    if out.len() == len { Ok(out) } else { Err("a delta that makes less than it announces".into()) }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Result<u8, ReadError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Seven bits in each byte, the lowest first.
    fn number(&mut self) -> Result<u64, ReadError> {
        let mut value = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an impossible length".into())
    }

    /// Seven bits in each byte, the highest first. Each further byte adds one to the value before it.
    fn distance(&mut self) -> Result<u64, ReadError> {
        let mut byte = self.next()?;
        let mut value = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.next()?;
            value = value.checked_add(1).and_then(|v| v.checked_mul(128)).ok_or("an impossible distance")?;
            value |= u64::from(byte & 0x7f);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_copy_and_insert() {
        let base = b"hello, world";
        // Lengths 12 and 13; copy 7 from 0, insert "there", copy 1 from 11.
        let delta = [&[12, 13, 0x90, 7, 5][..], b"there", &[0x91, 11, 1]].concat();
        assert_eq!(apply(base, &delta, 100).expect("a delta"), b"hello, thered");
        for end in 0..delta.len() {
            assert!(apply(base, &delta[..end], 100).is_err(), "cut at {end}");
        }
        assert!(apply(base, &delta, 12).is_err(), "too long");
        assert!(apply(b"hello", &delta, 100).is_err(), "another base");
        assert!(apply(base, &[12, 1, 0], 100).is_err(), "a reserved instruction");
        assert!(apply(base, &[12, 1, 0x91, 12, 1], 100).is_err(), "beyond the base");
    }

    #[test]
    fn deltas_copy_from_far_and_much() {
        let base: Vec<u8> = (0..0x2_0000_u32).flat_map(u32::to_be_bytes).collect();
        let (from, count) = (0x04_0302, 0x02_0105);
        let lengths = [0x80, 0x80, 0x20, 0x85, 0x82, 0x0c];
        // 0x080000 bytes become 0x030105: 0x010000 from the start (a copy without a count), and then those.
        let delta = [&lengths[..], &[0x80, 0xf7, 2, 3, 4, 5, 1, 2]].concat();
        let made = apply(&base, &delta, 0x03_0105).expect("a delta");
        assert!(made == [&base[..0x1_0000], &base[from..from + count]].concat());
    }

    #[test]
    fn delta_of_wrong_length_is_refused() {
        let apply = |delta: &[u8]| apply(b"hello, world", delta, 100).map_err(|ReadError(problem)| problem);
        assert_eq!(apply(&[12, 7, 0x90, 7]).as_deref(), Ok(&b"hello, "[..]));
        assert_eq!(apply(&[12, 6, 0x90, 7]), Err("a delta that makes more than it announces".into()));
        assert_eq!(apply(&[12, 8, 0x90, 7]), Err("a delta that makes less than it announces".into()));
        assert_eq!(apply(&[12, 101, 0x90, 7]), Err("a delta to more than 100 bytes".into()));
    }

    /// A pack of an object, a delta to it, a delta to that and so on; each begins at the offset returned.
    fn pack_of(folder: &Path, objects: &[&[u8]]) -> Vec<u64> {
        let mut pack = [&b"PACK\0\0\0\x02"[..], &(objects.len() as u32).to_be_bytes()].concat();
        let mut offsets: Vec<u64> = Vec::new();
        for object in objects {
            let at = pack.len() as u64;
            let kind = if offsets.is_empty() { 3 } else { 6 };
            let mut len = object.len() >> 4;
            pack.push(kind << 4 | (object.len() & 15) as u8 | if len > 0 { 0x80 } else { 0 });
            while len > 0 {
                pack.push((len & 0x7f) as u8 | if len > 0x7f { 0x80 } else { 0 });
                len >>= 7;
            }
            if let Some(before) = offsets.last() {
                let mut distance = at - before;
                let mut back = vec![(distance & 0x7f) as u8];
                while distance > 0x7f {
                    distance = (distance >> 7) - 1;
                    back.insert(0, 0x80 | (distance & 0x7f) as u8);
                }
                pack.extend(back);
            }
            pack.extend(miniz_oxide::deflate::compress_to_vec_zlib(object, 1));
            offsets.push(at);
        }
        std::fs::write(folder.join("x.pack"), pack).expect("written");
        let index = [&b"\xfftOc\0\0\0\x02"[..], &[0; 1024]].concat();
        std::fs::write(folder.join("x.idx"), index).expect("written");
        offsets
    }

    fn open(folder: &Path) -> Result<Pack, String> {
        Pack::open(&folder.join("x.idx"), 0, Rc::default(), Rc::new(Budget::new(u64::MAX)))
            .map_err(|ReadError(problem)| problem)
    }

    /// A pack of `hello`, a delta to it, and a delta to that.
    fn chain(folder: &Path) -> [u64; 3] {
        let objects = [&b"hello"[..], &[5, 6, 0x90, 5, 1, b'!'], &[6, 7, 0x90, 6, 1, b'?']];
        pack_of(folder, &objects).try_into().expect("three")
    }

    #[test]
    fn objects_made_from_deltas_are_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let [base, middle, last] = chain(folder.path());
        let open = || open(folder.path()).expect("opened");
        let pack = open();
        assert_eq!(pack.read(middle, 100).map_err(|d| d.0), Ok((Kind::Blob, b"hello!".to_vec())));
        // The base on the disk is gone, so only the remembered object can help.
        let file = File::options().write(true).open(folder.path().join("x.pack")).expect("opened");
        file.write_all_at(&vec![0; (middle - base) as usize], base).expect("written");
        assert_eq!(pack.read(last, 100).map_err(|d| d.0), Ok((Kind::Blob, b"hello!?".to_vec())));
        assert!(pack.read(last, 6).is_err(), "longer than is read");
        assert!(pack.read(last, 7).is_ok());
        assert!(open().read(last, 100).is_err());
    }

    #[test]
    fn long_chains_of_deltas_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = [&[&b"x"[..]], &[&[1, 1, 0x90, 1][..]; DELTAS_MAX + 1][..]].concat();
        let offsets = pack_of(folder.path(), &objects);
        let pack = || open(folder.path()).expect("opened");
        assert_eq!(pack().read(offsets[DELTAS_MAX], 100).map_err(|d| d.0), Ok((Kind::Blob, b"x".to_vec())));
        let error = pack().read(offsets[DELTAS_MAX + 1], 100).map_err(|d| d.0);
        assert_eq!(error, Err("more than 4096 deltas".into()));
    }

    #[test]
    fn deltas_over_too_many_bytes_are_refused() {
        // One object and 63 made from it, each by a delta of twelve bytes.
        const DELTAS: usize = 63;
        let len = (WORK_BYTES_MAX - DELTAS * 12) / (DELTAS + 1);
        for (len, is_read) in [(len, true), (len + 1, false)] {
            let folder = tempfile::tempdir().expect("a folder");
            let number =
                [len, len >> 7, len >> 14].map(|bits| bits as u8 | 0x80).into_iter().chain([(len >> 21) as u8]);
            let number: Vec<u8> = number.collect();
            // A copy has at most 0xffffff bytes.
            let delta = [&number[..], &number, &[0xf0], &len.to_le_bytes()[..3]].concat();
            assert_eq!((delta.len(), len < 1 << 24), (12, true));
            let zeros = vec![0; len];
            let objects = [&[&zeros[..]], &[&delta[..]; DELTAS][..]].concat();
            let offsets = pack_of(folder.path(), &objects);
            let read = open(folder.path()).expect("opened").read(offsets[DELTAS], len).map_err(|d| d.0);
            assert_eq!(read.is_ok(), is_read);
            assert_eq!(read.err().as_deref(), (!is_read).then_some("deltas over more than 1073741824 bytes"));
        }
    }

    #[test]
    fn index_finds_objects_at_large_offsets() {
        let folder = tempfile::tempdir().expect("a folder");
        pack_of(folder.path(), &[b"hello"]);
        // An offset of four bytes with its highest bit set is the number of an offset of eight bytes.
        let ids = [[0; 20], [7; 20], [7, 8].repeat(10).try_into().expect("twenty"), [255; 20]].map(Id);
        let offsets = [12, 1 << 31, 5 << 32, 1];
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        let counts = (0..=255).map(|first| ids.iter().filter(|id| id.0[0] <= first).count() as u32);
        index.extend(counts.flat_map(u32::to_be_bytes));
        index.extend(ids.iter().flat_map(|id| id.0));
        index.extend([0; 4 * 4]);
        index.extend([12_u32, 1 << 31, 1 << 31 | 1, 1 << 31 | 2].into_iter().flat_map(u32::to_be_bytes));
        index.extend(offsets[1..].iter().flat_map(|offset: &u64| offset.to_be_bytes()));
        let write = |index: &[u8]| std::fs::write(folder.path().join("x.idx"), index).expect("written");
        write(&index);
        let pack = open(folder.path()).expect("opened");
        for (id, offset) in ids.into_iter().zip(offsets) {
            assert_eq!(pack.find(id).map_err(|d| d.0), Ok(Some(offset)), "{id}");
        }
        for absent in [[1; 20], [8; 20], [254; 20]].map(Id) {
            assert_eq!(pack.find(absent).map_err(|d| d.0), Ok(None), "{absent}");
        }
        // Counts that decrease, and a pack of another version.
        let mut decreasing = index.clone();
        decreasing[8 + 4 * 100 + 3] = 9;
        write(&decreasing);
        assert!(open(folder.path()).is_err());
        write(&index);
        std::fs::write(folder.path().join("x.pack"), b"PACK\0\0\0\x03\0\0\0\0").expect("written");
        assert!(open(folder.path()).is_err());
    }

    #[test]
    fn remembered_objects_are_bounded() {
        let mut made = Made::default();
        let object: Object = (Kind::Blob, vec![0; 1 << 20].into());
        for at in 0..100 {
            made.keep((0, at), object.0, &object.1);
            made.keep((0, at), object.0, &object.1);
            assert!(made.bytes <= MADE_BYTES_MAX + made.objects.len() * 128 && !made.objects.is_empty());
            assert!(made.objects.len() << 20 <= MADE_BYTES_MAX);
        }
        // Up to the last byte, with the overhead of the first.
        for (more, kept) in [(0, 2), (1, 1)] {
            let mut made = Made::default();
            made.keep((0, 0), object.0, &object.1);
            made.keep((0, 1), object.0, &vec![0; MADE_BYTES_MAX - (1 << 20) - 128 + more].into());
            assert_eq!(made.objects.len(), kept);
        }
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(Bytes(&[0x80 | 1, 2]).number().expect("a number"), 257);
        assert!(Bytes(&[0xff; 20]).number().is_err());
        assert_eq!(Bytes(&[0x80, 0]).distance().expect("a distance"), 128);
        assert!(Bytes(&[0xff; 20]).distance().is_err());
    }
}
