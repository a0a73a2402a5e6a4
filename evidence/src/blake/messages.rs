//! Hashes many messages of different lengths at once.

use std::cmp::Reverse;

use blake3::{BLOCK_LEN, CHUNK_LEN};

use super::{CHUNK_END, CHUNK_START, Cv, Domain, LANES, PARENT, ROOT};

/// Blocks in a whole chunk.
const CHUNK_BLOCKS: usize = CHUNK_LEN / BLOCK_LEN;

/// Messages of whole blocks, hashed together.
///
/// Chunk `n` of every message that has one goes through the compression function beside chunk `n` of the others, and
/// so do the parents of one level. Only chunks with the same number of blocks can share a call, so the messages are
/// taken from the longest to the shortest: at every chunk number those with a whole chunk, then those that end in a
/// chunk of 15 blocks, of 14 and so on, are neighbours.
///
/// The memory is kept from one drain to the next.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    waiting: Vec<Message>,
    cvs: Vec<Cv>,
    pairs: Vec<Pair>,
}

/// A message waiting in [`Messages`].
struct Message {
    /// Its first byte in the bytes of all messages.
    start: usize,
    /// Its length in blocks, at least one.
    blocks: usize,
    /// Whose hash it is, in the caller's numbering.
    slot: usize,
    /// Its first chaining value in those of all messages.
    first_cv: usize,
}

impl Message {
    fn chunks(&self) -> usize {
        self.blocks.div_ceil(CHUNK_BLOCKS)
    }

    /// Blocks in its chunk of this number, which it must have.
    fn chunk_blocks(&self, chunk: usize) -> usize {
        (self.blocks - chunk * CHUNK_BLOCKS).min(CHUNK_BLOCKS)
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
    /// Bytes waiting to be hashed.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a message: what `write` appends, which is something, then zeros to a whole number of blocks. Its hash will
    /// be named by `slot`.
    pub(crate) fn push(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let blocks = (self.bytes.len() - start).div_ceil(BLOCK_LEN);
        self.bytes.resize(start + blocks * BLOCK_LEN, 0);
        self.waiting.push(Message { start, blocks, slot, first_cv: 0 });
    }

    /// Hands over the slot and hash of every waiting message, in no particular order, and forgets the messages.
    pub(crate) fn drain(&mut self, domain: &Domain, mut each: impl FnMut(usize, Cv)) {
        self.waiting.sort_unstable_by_key(|message| Reverse(message.blocks));
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
        self.waiting.clear();
    }

    /// Computes the chaining value of every chunk.
    fn compress_chunks(&mut self, domain: &Domain) {
        let chunks_max = self.waiting.first().map_or(0, Message::chunks);
        for chunk in 0..chunks_max {
            let having = self.waiting.partition_point(|message| message.chunks() > chunk);
            let alike = |message: &Message| (message.chunk_blocks(chunk), message.chunks() == 1);
            for run in self.waiting[..having].chunk_by(|a, b| alike(a) == alike(b)) {
                let (blocks, is_whole_message) = alike(&run[0]);
                let run = Run {
                    domain,
                    bytes: &self.bytes,
                    messages: run,
                    chunk,
                    last_block: if is_whole_message { CHUNK_END | ROOT } else { CHUNK_END },
                };
                run.compress(blocks, &mut self.cvs);
            }
        }
    }

    /// Folds the chaining values of each message, pair by pair and level by level, into its hash in the first place.
    ///
    /// An odd last node moves up unchanged, which is BLAKE3's tree: the left subtree is the largest complete one.
    fn fold_chunks(&mut self, domain: &Domain) {
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

/// Chunks of the same number and length, one of each message.
struct Run<'a> {
    domain: &'a Domain,
    bytes: &'a [u8],
    messages: &'a [Message],
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
            let hashes = self.domain.compress(inputs, self.chunk as u64, CHUNK_START, self.last_block);
            for (message, cv) in group.iter().zip(hashes) {
                cvs[message.first_cv + self.chunk] = cv;
            }
        }
    }
}

/// Replaces each pair by its parent. A parent may overwrite a pair read before it, never one still to be read.
fn compress_parents(domain: &Domain, pairs: &[Pair], flags: u8, cvs: &mut [Cv]) {
    for group in pairs.chunks(LANES) {
        let inputs = group.iter().map(|pair| {
            let block = cvs[pair.left..pair.left + 2].as_flattened();
            block.first_chunk::<BLOCK_LEN>().expect("two chaining values are a block")
        });
        let parents = domain.compress(inputs, 0, flags, 0);
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

    /// A message whose every byte depends on its place, so that swapped blocks show.
    fn bytes(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| ((i + seed) % 251 + i / 251) as u8).collect()
    }

    /// Hashes messages of these lengths together, and each alone with the documented hasher.
    fn assert_agrees(messages: &mut Messages, lens: &[usize]) {
        for (slot, &len) in lens.iter().enumerate() {
            messages.push(slot, |out| out.extend_from_slice(&bytes(slot, len)));
        }
        let mut hashes = vec![None; lens.len()];
        messages.drain(&CONTENT, |slot, hash| assert_eq!(hashes[slot].replace(hash), None));
        for (slot, &len) in lens.iter().enumerate() {
            let mut padded = bytes(slot, len);
            padded.resize(len.next_multiple_of(BLOCK_LEN), 0);
            let mut hasher = blake3::Hasher::new_derive_key("streamseal 2026-11-21 content v1");
            let expected = *hasher.update(&padded).finalize().as_bytes();
            assert_eq!(hashes[slot], Some(expected), "length {len} among {lens:?}");
        }
        assert_eq!(messages.byte_len(), 0);
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

    proptest! {
        #[test]
        fn any_mixture_agrees(mixtures in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![1..200usize, 900..1300usize, 1..20_000usize], 0..60), 1..3)
        ) {
            let mut messages = Messages::default();
            for lens in mixtures {
                assert_agrees(&mut messages, &lens);
            }
        }
    }
}
