//! BLAKE3 in its derive_key mode, one message or many at a time (SPEC.md, "Events").
//!
//! A single short message uses one lane of a SIMD unit that has up to sixteen. The functions here put one block of each
//! of many messages in those lanes instead. They use `blake3::platform`, which is public but undocumented. So the exact
//! version of blake3 is pinned, and the tests compare every result with the documented [`blake3::Hasher`].

mod messages;

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use blake3::platform::{MAX_SIMD_DEGREE, Platform, le_bytes_from_words_32, words_from_le_bytes_32};
use blake3::{BLOCK_LEN, IncrementCounter};

pub(crate) use self::messages::Messages;
use crate::Hash;

/// Hashes the content preimage of an event.
pub(crate) static CONTENT: LazyLock<Domain> = LazyLock::new(|| Domain::new("streamseal 2026-11-21 content v1"));
/// Hashes the leaf preimage of an event.
pub(crate) static LEAF: LazyLock<Domain> = LazyLock::new(|| Domain::new("streamseal 2026-11-21 leaf v1"));
/// Hashes two children in a batch's tree.
pub(crate) static NODE: LazyLock<Domain> = LazyLock::new(|| Domain::new("streamseal 2026-11-21 node v1"));

/// The number of messages that one call takes.
const LANES: usize = MAX_SIMD_DEGREE;

// Flags of the compression function (BLAKE3 paper, section 2.1, table 3).
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const DERIVE_KEY_MATERIAL: u8 = 1 << 6;

/// A chaining value: the hash of a chunk or of a subtree of chunks, and of the whole at the root.
type Cv = [u8; 32];

/// One derive_key context. It separates the hashes of contents, leaves and nodes.
pub(crate) struct Domain {
    context_key: ContextKey,
    key: [u32; 8],
    platform: Platform,
}

impl Domain {
    fn new(context: &str) -> Self {
        let context_key = hash_derive_key_context(context);
        Self { context_key, key: words_from_le_bytes_32(&context_key), platform: Platform::detect() }
    }

    /// The ordinary hasher of this domain.
    pub(crate) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_from_context_key(&self.context_key)
    }

    /// The hash of one message.
    pub(crate) fn hash(&self, message: &[u8]) -> Hash {
        Hash(self.hasher().update(message).finalize().into())
    }

    /// The hash of a message of one block. It avoids the ordinary hasher's state of two kilobytes.
    pub(crate) fn hash_block(&self, block: &[u8; BLOCK_LEN]) -> Hash {
        let mut cv = self.key;
        let flags = DERIVE_KEY_MATERIAL | CHUNK_START | CHUNK_END | ROOT;
        self.platform.compress_in_place(&mut cv, block, BLOCK_LEN as u8, 0, flags);
        Hash(le_bytes_from_words_32(&cv))
    }

    /// Hands over the hash of each message of one block, in order.
    pub(crate) fn hash_blocks(&self, blocks: &[[u8; BLOCK_LEN]], mut each: impl FnMut(Cv)) {
        for group in blocks.chunks(LANES) {
            let hashes = self.compress(group.iter(), 0, IncrementCounter::No, CHUNK_START, CHUNK_END | ROOT);
            hashes.iter().take(group.len()).for_each(|hash| each(*hash));
        }
    }

    /// Replaces `nodes` by the hashes of its pairs; a last node without a partner stays as it is.
    pub(crate) fn fold_pairs(&self, nodes: &mut Vec<Cv>) {
        let pairs = nodes.len() / 2;
        for start in (0..pairs).step_by(LANES) {
            let end = (start + LANES).min(pairs);
            let (blocks, _) = nodes[2 * start..2 * end].as_flattened().as_chunks::<BLOCK_LEN>();
            let hashes = self.compress(blocks.iter(), 0, IncrementCounter::No, CHUNK_START, CHUNK_END | ROOT);
            // This overwrites only nodes that were just read: `end <= 2 * start` or `start == 0`.
            nodes[start..end].copy_from_slice(&hashes[..end - start]);
        }
        if nodes.len() % 2 == 1 {
            nodes[pairs] = nodes[2 * pairs];
        }
        nodes.truncate(nodes.len().div_ceil(2));
    }

    /// Compresses up to [`LANES`] inputs of whole blocks, each at most a chunk. All have the same flags. They have the
    /// same counter, or consecutive ones.
    fn compress<'a, const N: usize>(
        &self,
        inputs: impl Iterator<Item = &'a [u8; N]>,
        counter: u64,
        increment: IncrementCounter,
        first_block: u8,
        last_block: u8,
    ) -> [Cv; LANES] {
        let mut lanes = [&[0; N]; LANES];
        let mut count = 0;
        for (lane, input) in lanes.iter_mut().zip(inputs) {
            *lane = input;
            count += 1;
        }
        let mut hashes = [[0; 32]; LANES];
        self.platform.hash_many(
            &lanes[..count],
            &self.key,
            counter,
            increment,
            DERIVE_KEY_MATERIAL,
            first_block,
            last_block,
            hashes.as_flattened_mut(),
        );
        hashes
    }
}
