//! Hashes many messages of different lengths at once.

use std::cmp::Reverse;

use blake3::{BLOCK_LEN, CHUNK_LEN, IncrementCounter};

use super::{CHUNK_END, CHUNK_START, Cv, Domain, LANES, PARENT, ROOT};

/// Blocks in a whole chunk.
const CHUNK_BLOCKS: usize = CHUNK_LEN / BLOCK_LEN;

/// The bytes that wait before they are hashed: enough to fill the lanes, few enough to stay in a core's cache.
const WAITING_BYTES: usize = 512 * 1024;

/// The number of chaining values for which memory is kept: one for each waiting message of one block.
const KEPT_CVS_MAX: usize = 2 * WAITING_BYTES / BLOCK_LEN;

/// Messages of whole blocks, hashed together.
///
/// A *stride* has as many chunks as there are lanes. A longer message fills the lanes by itself, so its strides are
/// hashed in place when it is pushed. The part of a message that waits is its *rest*: a stride at most, or less than a
/// chunk of a longer message.
///
/// Take the rests that begin with the same chunk number of their messages. Chunk `n` of each goes through the
/// compression function together with chunk `n` of the others. So do the parents of one level. Only chunks with the
/// same number of blocks can share a call, so the rests are sorted from the longest to the shortest. At every chunk
/// number, whole chunks are then neighbours, and after them the chunks of 15 blocks, of 14 and so on.
///
/// The memory is kept from one drain to the next.
#[derive(Default)]
pub(crate) struct Messages {
    /// The rests of all messages.
    bytes: Vec<u8>,
    /// The chaining values of the chunks that were hashed when their messages were pushed.
    hashed: Vec<Cv>,
    waiting: Vec<Message>,
    cvs: Vec<Cv>,
    pairs: Vec<Pair>,
}

/// A message waiting in [`Messages`].
struct Message {
    /// The first byte of its rest in the bytes of all messages.
    start: usize,
    /// Its length in blocks, at least one.
    blocks: usize,
    /// The first chunk of its rest: those before it are hashed.
    first_chunk: usize,
    /// Where the chaining values of these begin among those of all messages.
    first_hashed: usize,
    /// The caller's number for the message.
    slot: usize,
    /// Its first chaining value in those of all messages.
    first_cv: usize,
}

impl Message {
    fn chunks(&self) -> usize {
        self.blocks.div_ceil(CHUNK_BLOCKS)
    }

    /// Length of its rest in blocks.
    fn rest_blocks(&self) -> usize {
        self.blocks - self.first_chunk * CHUNK_BLOCKS
    }

    /// Chunks of its rest.
    fn rest_chunks(&self) -> usize {
        self.chunks() - self.first_chunk
    }

    /// Blocks in the chunk of its rest with this number. There must be one.
    fn chunk_blocks(&self, chunk: usize) -> usize {
        (self.rest_blocks() - chunk * CHUNK_BLOCKS).min(CHUNK_BLOCKS)
    }

    /// Nodes left at this level of its tree: its chunks at level 0.
    fn width(&self, level: u32) -> usize {
        self.chunks().div_ceil(1 << level)
    }
}

/// Two neighbours among the chaining values, and where their parent goes.
struct Pair {
    left: usize,
    parent: usize,
}

impl Messages {
    /// Length of a stride in bytes.
    pub(crate) const STRIDE_BYTES: usize = LANES * CHUNK_LEN;

    /// Whether it is time to hash the waiting messages: there are enough bytes and, if all messages have one length, no
    /// lane stays empty.
    pub(crate) fn are_enough(&self) -> bool {
        let waiting = self.bytes.len() + self.hashed.as_flattened().len();
        waiting >= WAITING_BYTES && (self.waiting.len().is_multiple_of(LANES) || waiting >= 2 * WAITING_BYTES)
    }

    /// Adds a message: the bytes that `write` appends, at least one, then zeros to a whole number of blocks. `slot`
    /// will name its hash. Use [`Self::push_parts`] for a message that may be longer than a stride.
    pub(crate) fn push(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let (start, first_hashed) = (self.bytes.len(), self.hashed.len());
        write(&mut self.bytes);
        self.push_rest(slot, start, first_hashed);
    }

    /// Adds a message of any length, in parts. It copies only those chunks of the strides that span several parts.
    pub(crate) fn push_parts(&mut self, domain: &Domain, slot: usize, parts: impl FnOnce(&mut dyn FnMut(&[u8]))) {
        let (start, first_hashed) = (self.bytes.len(), self.hashed.len());
        parts(&mut |mut part| {
            // With one lane, a stride with nothing after it may be a whole message of one chunk.
            while self.bytes.len() - start + part.len() > Self::STRIDE_BYTES {
                part = self.hash_stride(domain, start, first_hashed, part);
            }
            self.bytes.extend_from_slice(part);
        });
        self.hash_rest(domain, start, first_hashed);
        self.push_rest(slot, start, first_hashed);
    }

    /// Hashes the waiting bytes of a message from `start` on, together with the bytes of `part` that complete a stride.
    /// Returns the remaining bytes.
    fn hash_stride<'a>(&mut self, domain: &Domain, start: usize, first_hashed: usize, part: &'a [u8]) -> &'a [u8] {
        let copied = self.bytes.len() - start;
        let (of_chunk, part) = part.split_at(copied.next_multiple_of(CHUNK_LEN) - copied);
        self.bytes.extend_from_slice(of_chunk);
        let (copied, _) = self.bytes[start..].as_chunks::<CHUNK_LEN>();
        let (in_place, part) = part.split_at(Self::STRIDE_BYTES - copied.as_flattened().len());
        let chunks = copied.iter().chain(in_place.as_chunks().0);
        let counter = (self.hashed.len() - first_hashed) as u64;
        let cvs = domain.compress(chunks, counter, IncrementCounter::Yes, CHUNK_START, CHUNK_END);
        self.hashed.extend(cvs);
        self.bytes.truncate(start);
        part
    }

    /// Adds a message that has its bytes from `start` on and its chaining values from `first_hashed` on.
    fn push_rest(&mut self, slot: usize, start: usize, first_hashed: usize) {
        let first_chunk = self.hashed.len() - first_hashed;
        let rest_blocks = (self.bytes.len() - start).div_ceil(BLOCK_LEN);
        self.bytes.resize(start + rest_blocks * BLOCK_LEN, 0);
        let blocks = first_chunk * CHUNK_BLOCKS + rest_blocks;
        self.waiting.push(Message { start, blocks, first_chunk, first_hashed, slot, first_cv: 0 });
    }

    /// Hashes the whole chunks of a long message's rest together. Another rest seldom begins with the same chunk
    /// number.
    fn hash_rest(&mut self, domain: &Domain, start: usize, first_hashed: usize) {
        let first_chunk = self.hashed.len() - first_hashed;
        let (chunks, _) = self.bytes[start..].as_chunks::<CHUNK_LEN>();
        if first_chunk == 0 || chunks.is_empty() {
            return;
        }
        let (count, len) = (chunks.len(), chunks.as_flattened().len());
        let cvs = domain.compress(chunks.iter(), first_chunk as u64, IncrementCounter::Yes, CHUNK_START, CHUNK_END);
        self.hashed.extend_from_slice(&cvs[..count]);
        self.bytes.drain(start..start + len);
    }

    /// Passes on the slot and hash of every waiting message, in no particular order, and forgets the messages.
    pub(crate) fn drain(&mut self, domain: &Domain, mut each: impl FnMut(usize, Cv)) {
        self.waiting.sort_unstable_by_key(|message| (message.first_chunk, Reverse(message.rest_blocks())));
        let mut cv_count = 0;
        for message in &mut self.waiting {
            message.first_cv = cv_count;
            cv_count += message.chunks();
        }
        self.cvs.resize(cv_count, [0; 32]);
        self.compress_chunks(domain);
        self.fold_chunks(domain);
        for message in &self.waiting {
            each(message.slot, self.cvs[message.first_cv]);
        }
        self.bytes.clear();
        self.hashed.clear();
        self.waiting.clear();
        // One long message must not keep its memory.
        self.bytes.shrink_to(2 * WAITING_BYTES);
        self.hashed.shrink_to(KEPT_CVS_MAX);
        self.cvs.shrink_to(KEPT_CVS_MAX);
        self.pairs.shrink_to(KEPT_CVS_MAX);
    }

    /// Computes the missing chaining values of chunks.
    fn compress_chunks(&mut self, domain: &Domain) {
        for message in self.waiting.iter().filter(|message| message.first_chunk > 0) {
            let Message { first_chunk, first_hashed, first_cv, .. } = *message;
            let hashed = &self.hashed[first_hashed..first_hashed + first_chunk];
            self.cvs[first_cv..first_cv + first_chunk].copy_from_slice(hashed);
        }
        for rests in self.waiting.chunk_by(|a, b| a.first_chunk == b.first_chunk) {
            let Message { first_chunk, .. } = rests[0];
            for chunk in 0..rests[0].rest_chunks() {
                let having = rests.partition_point(|message| message.rest_chunks() > chunk);
                let alike = |message: &Message| (message.chunk_blocks(chunk), message.chunks() == 1);
                for run in rests[..having].chunk_by(|a, b| alike(a) == alike(b)) {
                    let (blocks, is_whole_message) = alike(&run[0]);
                    let run = Run {
                        domain,
                        bytes: &self.bytes,
                        messages: run,
                        first_chunk,
                        chunk,
                        last_block: if is_whole_message { CHUNK_END | ROOT } else { CHUNK_END },
                    };
                    run.compress(blocks, &mut self.cvs);
                }
            }
        }
    }

    /// Folds the chaining values of each message, pair by pair and level by level, into its hash in the first place.
    ///
    /// An odd last node moves up unchanged, which is BLAKE3's tree: the left subtree is the largest complete one.
    fn fold_chunks(&mut self, domain: &Domain) {
        self.waiting.sort_unstable_by_key(|message| Reverse(message.blocks));
        for level in 0.. {
            let open = self.waiting.partition_point(|message| message.width(level) >= 2);
            if open == 0 {
                return;
            }
            let inner = self.waiting.partition_point(|message| message.width(level) > 2);
            let (inner, last) = self.waiting[..open].split_at(inner);

            self.pairs.clear();
            self.pairs.extend(inner.iter().flat_map(|message| {
                let first = message.first_cv;
                (0..message.width(level) / 2).map(move |i| Pair { left: first + 2 * i, parent: first + i })
            }));
            compress_parents(domain, &self.pairs, PARENT, &mut self.cvs);
            for message in inner.iter().filter(|message| message.width(level) % 2 == 1) {
                let (first, width) = (message.first_cv, message.width(level));
                self.cvs[first + width / 2] = self.cvs[first + width - 1];
            }

            self.pairs.clear();
            self.pairs.extend(last.iter().map(|message| Pair { left: message.first_cv, parent: message.first_cv }));
            compress_parents(domain, &self.pairs, PARENT | ROOT, &mut self.cvs);
        }
    }
}

/// Chunks of the same number and length, one of each rest; the rests begin with the same chunk.
struct Run<'a> {
    domain: &'a Domain,
    bytes: &'a [u8],
    messages: &'a [Message],
    first_chunk: usize,
    chunk: usize,
    last_block: u8,
}

impl Run<'_> {
    /// Compresses these chunks of `blocks` blocks. The compression function wants the length as a constant.
    fn compress(&self, blocks: usize, cvs: &mut [Cv]) {
        macro_rules! by_blocks {
            ($($blocks:literal)*) => {
                match blocks {
                    $($blocks => self.compress_sized::<{ $blocks * BLOCK_LEN }>(cvs),)*
                    _ => unreachable!("a chunk has 1 to 16 blocks"),
                }
            };
        }
        by_blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }

    fn compress_sized<const N: usize>(&self, cvs: &mut [Cv]) {
        for group in self.messages.chunks(LANES) {
            let inputs = group.iter().map(|message| {
                let rest = &self.bytes[message.start + self.chunk * CHUNK_LEN..];
                rest.first_chunk::<N>().expect("a message holds all its blocks")
            });
            let chunk = self.first_chunk + self.chunk;
            let hashes = self.domain.compress(inputs, chunk as u64, IncrementCounter::No, CHUNK_START, self.last_block);
            for (message, cv) in group.iter().zip(hashes) {
                cvs[message.first_cv + chunk] = cv;
            }
        }
    }
}

/// Replaces each pair by its parent. A parent may overwrite only a pair that was already read.
fn compress_parents(domain: &Domain, pairs: &[Pair], flags: u8, cvs: &mut [Cv]) {
    for group in pairs.chunks(LANES) {
        let inputs = group.iter().map(|pair| {
            let block = cvs[pair.left..pair.left + 2].as_flattened();
            block.first_chunk::<BLOCK_LEN>().expect("two chaining values are a block")
        });
        let parents = domain.compress(inputs, 0, IncrementCounter::No, flags, 0);
        for (pair, parent) in group.iter().zip(parents) {
            cvs[pair.parent] = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blake::CONTENT;

    /// A message in which every byte depends on its place, so that swapped blocks are noticed.
    fn bytes(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| ((i + seed) % 251 + i / 251) as u8).collect()
    }

    /// Hashes messages of these lengths together, and each alone with the documented hasher.
    fn assert_agrees(messages: &mut Messages, lens: &[usize]) {
        for (slot, &len) in lens.iter().enumerate() {
            messages.push(slot, |out| out.extend_from_slice(&bytes(slot, len)));
        }
        assert_drained(messages, lens);
        for (slot, &len) in lens.iter().enumerate() {
            let bytes = bytes(slot, len);
            // Where parts end differs from message to message.
            let (first, second) = bytes.split_at((slot * 12).min(len));
            messages.push_parts(&CONTENT, slot, |each| {
                each(first);
                each(second);
            });
        }
        assert_drained(messages, lens);
    }

    fn assert_drained(messages: &mut Messages, lens: &[usize]) {
        let mut hashes = vec![None; lens.len()];
        messages.drain(&CONTENT, |slot, hash| assert_eq!(hashes[slot].replace(hash), None));
        for (slot, &len) in lens.iter().enumerate() {
            let mut padded = bytes(slot, len);
            padded.resize(len.next_multiple_of(BLOCK_LEN), 0);
            let mut hasher = blake3::Hasher::new_derive_key("streamseal 2026-11-21 content v1");
            let expected = *hasher.update(&padded).finalize().as_bytes();
            assert_eq!(hashes[slot], Some(expected), "length {len} among {lens:?}");
        }
        assert!(messages.bytes.is_empty() && messages.hashed.is_empty());
    }

    #[test]
    fn every_length_up_to_many_chunks_agrees() {
        let mut messages = Messages::default();
        for blocks in 1..=20 * CHUNK_BLOCKS {
            let len = blocks * BLOCK_LEN;
            assert_agrees(&mut messages, &[len]);
            assert_agrees(&mut messages, &[len - 1, len, len - BLOCK_LEN + 1]);
        }
    }

    #[test]
    fn every_number_of_lanes_agrees() {
        let mut messages = Messages::default();
        for count in 0..=2 * LANES + 1 {
            for len in [1, 64, 1024, 1025, 3 * 1024, 5000] {
                assert_agrees(&mut messages, &vec![len; count]);
            }
        }
    }

    #[test]
    fn all_lengths_at_once_agree() {
        let mut messages = Messages::default();
        let lens: Vec<_> = (1..=300).map(|i| i * BLOCK_LEN).collect();
        assert_agrees(&mut messages, &lens);
    }

    #[test]
    fn parts_that_end_anywhere_agree() {
        let mut messages = Messages::default();
        let around = |len: usize| [len - 1, len, len + 1];
        let cuts: Vec<_> =
            [64, 1024, 15 * 1024, 16 * 1024, 17 * 1024, 32 * 1024].into_iter().flat_map(around).collect();
        let lens: Vec<_> = cuts.iter().copied().chain([48 * 1024, 70_000]).collect();
        for cut in cuts {
            for (slot, &len) in lens.iter().enumerate() {
                let bytes = bytes(slot, len);
                messages.push_parts(&CONTENT, slot, |each| bytes.chunks(cut).for_each(each));
            }
            assert_drained(&mut messages, &lens);
        }
    }

    proptest! {
        #[test]
        fn any_mixture_agrees(mixtures in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![1..200usize, 900..1300usize, 1..20_000usize, 1..70_000usize], 0..60), 1..3)
        ) {
            let mut messages = Messages::default();
            for lens in mixtures {
                assert_agrees(&mut messages, &lens);
            }
        }
    }
}
