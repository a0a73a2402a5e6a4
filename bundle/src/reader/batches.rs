use evidence::{LeafPreimage, TimestampType};

use crate::frame::{Event, FRAME_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, parse_frame_header};
use crate::parts::PartsReader;
use crate::{CONTENT_BYTES_MAX, Error};

/// Reads the batches of one stream. For each batch, call [`BatchReader::begin`], then read every leaf preimage and
/// every event. A caller may read leaf preimages and events in any interleaving.
pub struct BatchReader {
    leaves: PartsReader,
    events: PartsReader,
    leaves_left: u32,
    events_left: u32,
}

/// Where the frames of a batch begin in a stream's `.leaves` and `.events`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// In `.leaves`, in bytes.
    pub leaves: u64,
    /// In `.events`, in bytes.
    pub events: u64,
}

impl Position {
    /// Where the next batch begins if this one has `leaves` leaf preimages and `events` events. `content_bytes` is the
    /// sum of the content lengths.
    pub fn after(self, leaves: u64, events: u64, content_bytes: u64) -> Self {
        let frame = |position: u64, count: u64, item: usize, more: u64| {
            let items = count.saturating_mul(item as u64).saturating_add(more);
            position.saturating_add(FRAME_HEADER_BYTES as u64).saturating_add(items)
        };
        Self {
            leaves: frame(self.leaves, leaves, LeafPreimage::LEN, 0),
            events: frame(self.events, events, RECORD_HEADER_BYTES, content_bytes),
        }
    }
}

impl BatchReader {
    pub(super) fn new(leaves: PartsReader, events: PartsReader) -> Self {
        Self { leaves, events, leaves_left: 0, events_left: 0 }
    }

    /// Moves to the next batch, which must be that of entry `seq`. Returns the numbers of its leaf preimages and events
    /// in the bundle.
    ///
    /// # Errors
    /// When a part of the previous batch was not read, or the frames are of another entry.
    pub fn begin(&mut self, seq: u64) -> Result<(u32, u32), Error> {
        if self.leaves_left > 0 || self.events_left > 0 {
            return Err(self.events.malformed("the batch before was not read to its end"));
        }
        self.leaves_left = frame(&mut self.leaves, seq)?;
        self.events_left = frame(&mut self.events, seq)?;
        Ok((self.leaves_left, self.events_left))
    }

    /// The bytes of up to `count_max` next leaf preimages of the batch. Empty after the last.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read or is malformed.
    pub fn leaves(&mut self, count_max: usize) -> Result<&[[u8; LeafPreimage::LEN]], Error> {
        let count = count_max.min(usize::try_from(self.leaves_left).unwrap_or(usize::MAX));
        let bytes = self.leaves.take(count * LeafPreimage::LEN, "part of a leaf index")?;
        self.leaves_left -= count as u32;
        Ok(bytes.as_chunks().0)
    }

    /// The next event of the batch; `None` after the last.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read or is malformed.
    pub fn event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if self.events_left == 0 {
            return Ok(None);
        }
        let header = RecordHeader::parse(self.events.take_array::<RECORD_HEADER_BYTES>("record header")?);
        let RecordHeader { offset, timestamp, timestamp_type, content_len } = header;
        let timestamp_type = TimestampType::from_number(timestamp_type)
            .ok_or_else(|| self.events.malformed(format!("offset {offset}: timestamp type {timestamp_type}")))?;
        if content_len > CONTENT_BYTES_MAX {
            let problem = format!("offset {offset}: a content of {content_len} bytes, at most 2^30 are allowed");
            return Err(self.events.malformed(problem));
        }
        self.events_left -= 1;
        let content = self.events.take(content_len as usize, "record")?;
        Ok(Some(Event { offset, timestamp, timestamp_type, content }))
    }

    /// Where the next batch begins. The previous one must have been read.
    pub fn position(&self) -> Position {
        Position { leaves: self.leaves.position(), events: self.events.position() }
    }

    /// Requires that the last batch was read.
    ///
    /// # Errors
    /// [`Error::Malformed`] when more follows.
    pub fn end(&self) -> Result<(), Error> {
        for parts in [&self.leaves, &self.events] {
            if !parts.is_at_end() {
                return Err(parts.malformed("a frame for which there is no summary in the entries"));
            }
        }
        Ok(())
    }

    /// Frees the memory of unusually long events, so that many streams can be read in turns.
    pub fn shrink(&mut self) {
        self.leaves.shrink();
        self.events.shrink();
    }
}

fn frame(parts: &mut PartsReader, seq: u64) -> Result<u32, Error> {
    if parts.is_at_end() {
        return Err(parts.malformed(format!("ends before the frame of entry {seq}")));
    }
    let (found, count) = parse_frame_header(parts.take_array::<FRAME_HEADER_BYTES>("frame header")?);
    if found != seq {
        return Err(parts.malformed(format!("a frame of entry {found} where that of entry {seq} belongs")));
    }
    Ok(count)
}
