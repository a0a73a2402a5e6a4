//! The table of contents of a bundle.

use std::fmt::Write as _;
use std::ops::Range;

use evidence::text::{is_name, parse_u63};
use evidence::{Hash, Partition, StreamId};

use crate::{Error, STREAMS_MAX};

/// The file's name.
pub(crate) const MANIFEST: &str = "manifest";

/// Room for 65,536 stream lines of the longest kind.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 48 << 20;

const FIRST_LINE: &str = "streamseal/bundle@v1";

/// The bundle's table of contents. A verdict never relies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The ledger's origin.
    pub origin: String,
    /// SHA-256 of the ledger's genesis text.
    pub genesis: Hash,
    /// Length of the entries in bytes.
    pub entries_bytes: u64,
    /// Length of the heads lines in bytes. `None` when the bundle has no such file.
    pub heads_bytes: Option<u64>,
    /// The streams, strictly ascending.
    pub streams: Vec<StreamRange>,
}

/// The events of one stream that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRange {
    /// The stream.
    pub stream: StreamId,
    /// The offsets. Their events are there as far as they still exist.
    pub offsets: Range<u64>,
    /// Length of the leaf index frames in bytes.
    pub leaves_bytes: u64,
    /// Length of the event frames in bytes.
    pub events_bytes: u64,
}

impl Manifest {
    /// The index of a stream among the streams.
    pub fn place_of(&self, stream: &StreamId) -> Option<usize> {
        self.streams.binary_search_by(|range| range.stream.cmp(stream)).ok()
    }

    pub(crate) fn encode(&self) -> String {
        let heads = self.heads_bytes.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let mut out = format!(
            "{FIRST_LINE}\norigin {}\ngenesis {}\nentries {}\nheads {heads}\nstreams {}\n",
            self.origin,
            self.genesis,
            self.entries_bytes,
            self.streams.len()
        );
        for StreamRange { stream, offsets, leaves_bytes, events_bytes } in &self.streams {
            let StreamId { partition: Partition { cluster, topic, number }, epoch } = stream;
            let Range { start, end } = offsets;
            let _ =
                writeln!(out, "stream {cluster} {topic} {number} {epoch} {start} {end} {leaves_bytes} {events_bytes}");
        }
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(MANIFEST, "not UTF-8"))?;
        let mut lines = Lines { rest: text, number: 0 };
        match lines.next()? {
            FIRST_LINE => {}
            other if other.starts_with("streamseal/bundle@v") => {
                let problem = format!("version {other:?}");
                return Err(Error::Unsupported { file: MANIFEST.into(), problem });
            }
            _ => return Err(lines.error(&format!("expected {FIRST_LINE:?}"))),
        }
        let [origin] = lines.fields("origin")?;
        let origin = lines.name(origin)?;
        let [genesis] = lines.fields("genesis")?;
        let genesis = genesis.parse().map_err(|_| lines.error("expected the padded base64 of 32 bytes"))?;
        let [entries] = lines.fields("entries")?;
        let entries_bytes = lines.number(entries)?;
        let [heads] = lines.fields("heads")?;
        let heads_bytes = if heads == "-" { None } else { Some(lines.number(heads)?) };
        let [count] = lines.fields("streams")?;
        let count = lines.number(count)?;
        if count > STREAMS_MAX as u64 {
            return Err(lines.error(&format!("more than {STREAMS_MAX} streams")));
        }
        let mut streams: Vec<StreamRange> = Vec::new();
        for _ in 0..count {
            let stream = lines.stream()?;
            if streams.last().is_some_and(|last| last.stream >= stream.stream) {
                return Err(lines.error("the streams are not in strictly ascending order"));
            }
            streams.push(stream);
        }
        if !lines.rest.is_empty() {
            return Err(lines.error("text follows the last line"));
        }
        Ok(Self { origin, genesis, entries_bytes, heads_bytes, streams })
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, Error> {
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').ok_or_else(|| self.error("the text ends early"))?;
        self.rest = rest;
        Ok(line)
    }

    /// The `N` fields after `name` in the next line.
    fn fields<const N: usize>(&mut self, name: &str) -> Result<[&'a str; N], Error> {
        let wrong = |lines: &Self| lines.error(&format!("expected `{name}` and {N} fields"));
        let mut fields = self.next()?.splitn(N + 1, ' ');
        if fields.next() != Some(name) {
            return Err(wrong(self));
        }
        let fields: Vec<&str> = fields.collect();
        fields.try_into().map_err(|_| wrong(self))
    }

    fn stream(&mut self) -> Result<StreamRange, Error> {
        let [cluster, topic, number, epoch, from, to, leaves, events] = self.fields("stream")?;
        let partition = parse_u63(number).and_then(|n| i32::try_from(n).ok()).and_then(|n| u32::try_from(n).ok());
        let number = partition.ok_or_else(|| self.error(&format!("{number:?} is not a partition number")))?;
        let partition = Partition { cluster: self.name(cluster)?, topic: self.name(topic)?, number };
        let offsets = self.number(from)?..self.number(to)?;
        if offsets.start > offsets.end {
            return Err(self.error("the range ends before it begins"));
        }
        Ok(StreamRange {
            stream: partition.stream(self.number(epoch)?),
            offsets,
            leaves_bytes: self.number(leaves)?,
            events_bytes: self.number(events)?,
        })
    }

    fn name(&self, field: &str) -> Result<String, Error> {
        if is_name(field) { Ok(field.to_owned()) } else { Err(self.error(&format!("{field:?} is not a name"))) }
    }

    fn number(&self, field: &str) -> Result<u64, Error> {
        parse_u63(field).ok_or_else(|| self.error(&format!("{field:?} is not a decimal from 0 to 2^63-1")))
    }

    fn error(&self, problem: &str) -> Error {
        Error::malformed(MANIFEST, format!("line {}: {problem}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let stream = |topic: &str, number, epoch| StreamRange {
            stream: Partition { cluster: "-".into(), topic: topic.into(), number }.stream(epoch),
            offsets: 5..120,
            leaves_bytes: 7372,
            events_bytes: 99,
        };
        Manifest {
            origin: "example.com/audit".into(),
            genesis: evidence::sha256(b"genesis"),
            entries_bytes: 4096,
            heads_bytes: Some(90),
            streams: vec![stream("orders", 2, 0), stream("orders", 10, 0), stream("orders", 10, 1)],
        }
    }

    #[test]
    fn its_text_is_as_documented() {
        let text = manifest().encode();
        assert_eq!(
            text,
            "streamseal/bundle@v1\norigin example.com/audit\n\
             genesis ruutSnlvzC4V3ExgYbRe2bNz8mrfx5jKfS2MxYGCcY4=\nentries 4096\nheads 90\nstreams 3\n\
             stream - orders 2 0 5 120 7372 99\nstream - orders 10 0 5 120 7372 99\n\
             stream - orders 10 1 5 120 7372 99\n"
        );
        assert_eq!(Manifest::parse(text.as_bytes()).expect("own text"), manifest());
        let empty = Manifest { heads_bytes: None, streams: Vec::new(), ..manifest() };
        assert_eq!(Manifest::parse(empty.encode().as_bytes()).expect("own text"), empty);
    }

    #[test]
    fn every_cut_and_every_other_spelling_is_refused() {
        let text = manifest().encode();
        for end in 0..text.len() {
            assert!(Manifest::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let bad = [
            ("bundle@v1", "bundle@v2"),
            ("entries 4096", "entries 04096"),
            ("entries 4096", "entries  4096"),
            ("entries 4096", "entries 4096 "),
            ("heads 90", "heads -1"),
            ("streams 3", "streams 2"),
            ("streams 3", "streams 4"),
            ("streams 3", "streams 65537"),
            ("streams 3", "streams 9223372036854775807"),
            ("orders 2 0", "orders 10 0"),
            ("orders 2 0", "orders 2147483648 0"),
            ("2 0 5 120", "2 0 121 120"),
            ("stream - orders 2", "stream  orders 2"),
            ("genesis ru", "genesis r"),
            ("origin example.com", "origin exam+le.com"),
            ("7372 99\n", "7372 99\r\n"),
        ];
        for (from, to) in bad {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(Manifest::parse(changed.as_bytes()).is_err(), "{from:?} -> {to:?}");
        }
        assert!(Manifest::parse(format!("{text}\n").as_bytes()).is_err());
        let next = text.replace("bundle@v1", "bundle@v2");
        assert!(matches!(Manifest::parse(next.as_bytes()), Err(Error::Unsupported { .. })));
    }
}
