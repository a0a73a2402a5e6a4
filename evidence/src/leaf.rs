//! Leaves: the hash of an event, and its 64-byte preimage (SPEC.md, "Events").

use crate::blake::{CONTENT, LEAF, Messages};
use crate::{Error, EventRef, Hash, TimestampType, decode_content};

/// The hash of an event's content, from the unpadded content preimage. It is BLAKE3 in the content domain over the
/// preimage and zeros to a multiple of 64 bytes.
pub fn content_hash(unpadded: &[u8]) -> Hash {
    let mut hasher = CONTENT.hasher();
    let padding = &[0; 64][..unpadded.len().next_multiple_of(64) - unpadded.len()];
    hasher.update(unpadded).update(padding);
    Hash(hasher.finalize().into())
}

/// The preimage of a leaf: all of an event, with its content as a hash.
///
/// A **leaf index** is the concatenation of a batch's leaf preimages in offset order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafPreimage {
    /// The event's offset.
    pub offset: i64,
    /// Milliseconds since 1970, as the record carries them.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// The [`content_hash`] of the event.
    pub content: Hash,
}

impl LeafPreimage {
    /// Length of a leaf preimage in bytes.
    pub const LEN: usize = 64;

    /// The 64 bytes: offset, timestamp (big-endian), timestamp type, content hash, 15 zeros.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[16] = self.timestamp_type as u8;
        bytes[17..49].copy_from_slice(&self.content.0);
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes, and nothing else.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the byte that is wrong.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, Error> {
        let malformed = |problem: String| Error::malformed("leaf preimage", problem);
        let field = |at: usize| bytes[at..at + 8].try_into().expect("eight bytes");
        let timestamp_type = TimestampType::from_number(bytes[16])
            .ok_or_else(|| malformed(format!("byte 16: timestamp type {}, expected 0, 1 or 2", bytes[16])))?;
        if let Some(at) = (49..Self::LEN).find(|&at| bytes[at] != 0) {
            return Err(malformed(format!("byte {at}: expected zero")));
        }
        Ok(Self {
            offset: i64::from_be_bytes(field(0)),
            timestamp: i64::from_be_bytes(field(8)),
            timestamp_type,
            content: Hash(bytes[17..49].try_into().expect("32 bytes")),
        })
    }

    /// The leaf: BLAKE3 in the leaf domain over the 64 bytes.
    pub fn leaf(&self) -> Hash {
        LEAF.hash_block(&self.to_bytes())
    }
}

/// Hashes many events at once.
///
/// [`Self::push`] copies events in, and [`Self::drain`] returns their leaves in the same order. Buffers are kept, so no
/// event allocates once they have grown to the size of a batch. They take 160 bytes for each event of a batch, and at
/// most about 4 MiB for contents. A longer content takes a 16th of its length while it waits.
#[derive(Default)]
pub struct LeafHasher {
    contents: Messages,
    content_bytes: u64,
    index: Vec<[u8; LeafPreimage::LEN]>,
    drained_index: Vec<[u8; LeafPreimage::LEN]>,
    drained_leaves: Vec<Hash>,
}

/// The result of [`LeafHasher::drain`]: one element for each event, in the order of the pushes.
#[derive(Debug, Clone, Copy)]
pub struct Leaves<'a> {
    /// The leaf preimages. Their concatenation is the leaf index.
    pub index: &'a [[u8; LeafPreimage::LEN]],
    /// The leaves.
    pub leaves: &'a [Hash],
    /// The sum of the lengths of the unpadded content preimages, in bytes.
    pub content_bytes: u64,
}

impl LeafHasher {
    /// An empty hasher.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of events pushed since the last drain.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing was pushed since the last drain.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The sum of the lengths of the unpadded content preimages pushed since the last drain, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Adds an event.
    pub fn push(&mut self, event: &EventRef<'_>) {
        if self.collect(event) {
            self.hash_contents();
        }
    }

    /// Adds an event, and leaves its hashing to [`Self::drain`], which may run on another thread. Only a content longer
    /// than 16 KiB (or less, with fewer SIMD lanes) is hashed at once, which avoids a copy. Returns whether it is time
    /// to drain: half a megabyte waits.
    pub fn collect(&mut self, event: &EventRef<'_>) -> bool {
        let len = event.content_len();
        if len <= Messages::STRIDE_BYTES {
            self.contents.push(self.index.len(), |out| event.encode_content(out));
        } else {
            self.contents.push_parts(&CONTENT, self.index.len(), |each| event.each_content_part(each));
        }
        let preimage = preimage_without_content(event.offset, event.timestamp, event.timestamp_type);
        self.push_preimage(&preimage, len);
        self.contents.are_enough()
    }

    /// Adds an event whose content preimage is already encoded, unpadded.
    ///
    /// Other bytes are refused: zeros after a preimage would hash like its padding.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a content preimage. Then it adds nothing.
    pub fn push_content(
        &mut self,
        offset: i64,
        timestamp: i64,
        timestamp_type: TimestampType,
        content: &[u8],
    ) -> Result<(), Error> {
        decode_content(content)?;
        let preimage = preimage_without_content(offset, timestamp, timestamp_type);
        if content.len() <= Messages::STRIDE_BYTES {
            self.contents.push(self.index.len(), |out| out.extend_from_slice(content));
        } else {
            self.contents.push_parts(&CONTENT, self.index.len(), |each| each(content));
        }
        self.push_preimage(&preimage, content.len());
        if self.contents.are_enough() {
            self.hash_contents();
        }
        Ok(())
    }

    /// Returns the leaves of all events pushed since the last drain, with their preimages, and forgets the events.
    pub fn drain(&mut self) -> Leaves<'_> {
        self.hash_contents();
        std::mem::swap(&mut self.index, &mut self.drained_index);
        self.index.clear();
        self.drained_leaves.clear();
        LEAF.hash_blocks(&self.drained_index, |leaf| self.drained_leaves.push(Hash(leaf)));
        Leaves {
            index: &self.drained_index,
            leaves: &self.drained_leaves,
            content_bytes: std::mem::take(&mut self.content_bytes),
        }
    }

    /// Adds the preimage of a leaf with a waiting content.
    fn push_preimage(&mut self, preimage: &LeafPreimage, len: usize) {
        self.index.push(preimage.to_bytes());
        self.content_bytes += len as u64;
    }

    /// Hashes the waiting contents into their places in the leaf preimages.
    fn hash_contents(&mut self) {
        let index = &mut self.index;
        self.contents.drain(&CONTENT, |slot, content| index[slot][17..49].copy_from_slice(&content));
    }
}

/// A leaf preimage without its content hash.
fn preimage_without_content(offset: i64, timestamp: i64, timestamp_type: TimestampType) -> LeafPreimage {
    LeafPreimage { offset, timestamp, timestamp_type, content: Hash([0; 32]) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::HeaderRef;

    fn derive_key(context: &str, preimage: &[u8]) -> Hash {
        Hash(*blake3::Hasher::new_derive_key(context).update(preimage).finalize().as_bytes())
    }

    fn expected_leaf(event: &EventRef<'_>) -> (Hash, Hash) {
        let mut content = Vec::new();
        event.encode_content(&mut content);
        content.resize(content.len().next_multiple_of(64), 0);
        let content = derive_key("streamseal 2026-11-21 content v1", &content);
        let EventRef { offset, timestamp, timestamp_type, .. } = *event;
        let preimage = LeafPreimage { offset, timestamp, timestamp_type, content }.to_bytes();
        (content, derive_key("streamseal 2026-11-21 leaf v1", &preimage))
    }

    fn event(offset: i64, value: &[u8]) -> EventRef<'_> {
        EventRef {
            offset,
            timestamp: -offset,
            timestamp_type: TimestampType::LogAppend,
            key: None,
            value: Some(value),
            headers: &[],
        }
    }

    /// Hashes events with values of these lengths, as events and as contents, and each alone.
    fn assert_agrees(hasher: &mut LeafHasher, lens: &[usize]) {
        let values: Vec<_> = lens.iter().map(|&len| vec![len as u8; len]).collect();
        let events: Vec<_> = values.iter().zip(7..).map(|(value, offset)| event(offset, value)).collect();
        events.iter().for_each(|event| hasher.push(event));
        let bytes = events.iter().map(|event| event.content_len() as u64).sum::<u64>();
        assert_eq!((hasher.len(), hasher.is_empty()), (events.len(), events.is_empty()));
        assert_eq!(hasher.content_bytes(), bytes);
        let drained = hasher.drain();
        assert_eq!(drained.content_bytes, bytes);
        assert_eq!((drained.index.len(), drained.leaves.len()), (events.len(), events.len()));
        for ((event, bytes), leaf) in events.iter().zip(drained.index).zip(drained.leaves) {
            let preimage = LeafPreimage::from_bytes(bytes).expect("made here");
            assert_eq!((preimage.offset, preimage.timestamp), (event.offset, event.timestamp));
            assert_eq!((preimage.content, *leaf), expected_leaf(event));
            assert_eq!(preimage.leaf(), *leaf);
        }
        let (index, leaves) = (drained.index.to_vec(), drained.leaves.to_vec());
        assert!(hasher.is_empty());

        for event in &events {
            let mut content = Vec::new();
            event.encode_content(&mut content);
            hasher
                .push_content(event.offset, event.timestamp, event.timestamp_type, &content)
                .expect("an encoded content");
        }
        let drained = hasher.drain();
        assert_eq!((drained.index, drained.leaves), (&index[..], &leaves[..]));
    }

    #[test]
    fn leaves_agree_around_every_boundary() {
        let mut hasher = LeafHasher::new();
        let boundaries = [64, 128, 1024, 2048, 3072, 8 * 1024, 15 * 1024, 16 * 1024, 17 * 1024, 100 * 1024];
        // A value is 12 bytes shorter than its content.
        let lens: Vec<_> = boundaries.iter().flat_map(|&content| content - 14..=content - 10).collect();
        lens.iter().for_each(|&len| assert_agrees(&mut hasher, &[len]));
        assert_agrees(&mut hasher, &lens);
        assert_agrees(&mut hasher, &[]);
    }

    #[test]
    fn long_contents_agree_wherever_their_parts_end() {
        const STRIDE: usize = Messages::STRIDE_BYTES;
        let bytes: Vec<u8> = (0..70_000_usize).map(|i| (i % 251) as u8).collect();
        let lens = [0, 1, STRIDE - 12, STRIDE - 11, STRIDE, 2 * STRIDE - 12, 40_000, 70_000];
        let mut hasher = LeafHasher::new();
        for (key, value) in lens.iter().flat_map(|&key| lens.map(|value| (key, value))) {
            for (count, header) in [(0, 0), (1, 3), (2, STRIDE + 7)] {
                let headers = [HeaderRef { name: b"name", value: Some(&bytes[..header]) }; 2];
                let (key, value) = (Some(&bytes[..key]), Some(&bytes[..value]));
                let event = EventRef { key, value, headers: &headers[..count], ..event(1, b"") };
                hasher.push(&event);
                assert_eq!(hasher.drain().leaves, [expected_leaf(&event).1], "{}", event.content_len());
            }
        }
    }

    #[test]
    fn contents_beyond_the_buffer_agree() {
        let lens: Vec<_> = (0..2000).map(|i| i * 37 % 1500).collect();
        assert_agrees(&mut LeafHasher::new(), &lens);
    }

    #[test]
    fn content_with_a_tail_is_refused_and_discarded() {
        let mut hasher = LeafHasher::new();
        let mut content = Vec::new();
        event(0, b"value").encode_content(&mut content);
        content.push(0);
        assert!(hasher.push_content(0, 0, TimestampType::Create, &content).is_err());
        assert!(hasher.is_empty());
        assert_eq!((hasher.content_bytes(), hasher.drain().leaves.len()), (0, 0));
    }

    #[test]
    fn leaf_preimages_have_one_spelling() {
        let preimage = LeafPreimage {
            offset: i64::MAX,
            timestamp: -1,
            timestamp_type: TimestampType::NotAvailable,
            content: Hash([0xab; 32]),
        };
        let bytes = preimage.to_bytes();
        assert_eq!(LeafPreimage::from_bytes(&bytes), Ok(preimage));
        for at in (16..17).chain(49..64) {
            let mut bad = bytes;
            bad[at] = 3;
            let error = LeafPreimage::from_bytes(&bad).expect_err("a byte that must not be there");
            assert!(error.to_string().contains(&format!("byte {at}")), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_mixture_agrees(
            lens in proptest::collection::vec(prop_oneof![0..200usize, 1000..1100usize, 0..40_000usize], 0..80)
        ) {
            assert_agrees(&mut LeafHasher::new(), &lens);
        }

        #[test]
        fn leaf_preimages_round_trip(offset: i64, timestamp: i64, number in 0..3u8, content: [u8; 32]) {
            let timestamp_type = TimestampType::from_number(number).expect("0 to 2");
            let preimage = LeafPreimage { offset, timestamp, timestamp_type, content: Hash(content) };
            prop_assert_eq!(LeafPreimage::from_bytes(&preimage.to_bytes()), Ok(preimage));
        }
    }
}
