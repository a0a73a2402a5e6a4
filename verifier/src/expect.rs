//! The streams and offsets that the auditor expects.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use evidence::StreamId;
use evidence::statement::TopicPattern;
use evidence::text::{parse_partition, parse_u63};

/// Streams and offsets that the evidence must cover: `[CLUSTER:]TOPIC/PARTITION[#EPOCH][@FROM..TO]`.
///
/// TOPIC is a name, or a prefix and `*`. PARTITION is a number or `*`. Without EPOCH all epochs are meant, and offsets after
/// the end of a closed epoch do not count. Without FROM the range begins where the stream begins. TO is the offset after the
/// last; without it, the range ends where the newest heads statement says that the stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    cluster: Option<String>,
    topic: TopicPattern,
    partition: Option<u32>,
    epoch: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    text: String,
}

/// Why a text is not an expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?}: {problem}; expected [CLUSTER:]TOPIC/PARTITION[#EPOCH][@FROM..TO], such as orders/* or orders/3@0..100"
)]
pub struct ParseExpectationError {
    text: String,
    problem: &'static str,
}

impl Expectation {
    /// Whether the expectation is about this stream.
    pub fn matches(&self, stream: &StreamId) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| *cluster == stream.partition.cluster)
            && self.topic.matches(&stream.partition.topic)
            && self.partition.is_none_or(|partition| partition == stream.partition.number)
            && self.epoch.is_none_or(|epoch| epoch == stream.epoch)
    }

    /// Whether only a heads statement shows which streams and offsets it is about.
    pub(crate) fn is_open(&self) -> bool {
        let one_stream = !self.topic.to_string().ends_with('*') && self.partition.is_some() && self.epoch.is_some();
        !one_stream || self.to.is_none()
    }

    /// Whether it names the epoch and the end of the offsets.
    pub(crate) fn names_offsets(&self) -> bool {
        self.epoch.is_some() && self.to.is_some()
    }

    /// The expected offsets of a matching stream. `next` is the stream's end by the heads statement; `closed` says that a
    /// later epoch of the partition has begun. `None` if neither the heads statement nor the expectation gives an end.
    pub fn offsets(&self, next: Option<u64>, closed: bool) -> Option<Range<u64>> {
        let from = self.from.unwrap_or(0);
        let to = match (self.to, next) {
            (Some(to), Some(next)) if closed && self.epoch.is_none() => to.min(next),
            (Some(to), _) => to,
            (None, next) => next?,
        };
        Some(from..to.max(from))
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Expectation {
    type Err = ParseExpectationError;

    /// Parses an expectation.
    ///
    /// # Errors
    /// If the text does not have the form above, or its range holds no offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |problem| ParseExpectationError { text: text.to_owned(), problem };
        let number = |s: &str| parse_u63(s).ok_or_else(|| bad("not a number from 0 to 2^63-1"));
        let (streams, offsets) = text.split_once('@').map_or((text, None), |(s, o)| (s, Some(o)));
        let (from, to) = match offsets {
            None => (None, None),
            Some(offsets) => {
                let (from, to) = offsets.split_once("..").ok_or_else(|| bad("no `..` between the offsets"))?;
                let bound = |s: &str| if s.is_empty() { Ok(None) } else { number(s).map(Some) };
                (bound(from)?, bound(to)?)
            }
        };
        if matches!((from, to), (Some(from), Some(to)) if from >= to) {
            return Err(bad("the range holds no offset"));
        }
        let (streams, epoch) = match streams.split_once('#') {
            None => (streams, None),
            Some((streams, epoch)) => (streams, Some(number(epoch)?)),
        };
        let (topics, partition) = streams.rsplit_once('/').ok_or_else(|| bad("no partition"))?;
        let partition = match partition {
            "*" => None,
            n => Some(parse_partition(n).ok_or_else(|| bad("not a partition number from 0 to 2^31-1"))?),
        };
        let (cluster, topic) = match topics.split_once(':') {
            None => (None, topics),
            Some(("", _)) => return Err(bad("an empty cluster")),
            Some((cluster, topic)) => (Some(cluster.to_owned()), topic),
        };
        let topic = topic.parse().map_err(|_| bad("not a topic, or a prefix and `*`"))?;
        Ok(Self { cluster, topic, partition, epoch, from, to, text: text.to_owned() })
    }
}

/// Ranges of offsets, ascending, without overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, and joins it with those that it touches.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut joined = range;
        self.0.retain(|other| {
            let apart = other.end < joined.start || joined.end < other.start;
            if !apart {
                joined = joined.start.min(other.start)..joined.end.max(other.end);
            }
            apart
        });
        let at = self.0.partition_point(|other| other.start < joined.start);
        self.0.insert(at, joined);
    }

    /// Whether an offset is in one of them.
    pub(crate) fn contains(&self, offset: u64) -> bool {
        let at = self.0.partition_point(|range| range.end <= offset);
        self.0.get(at).is_some_and(|range| range.start <= offset)
    }

    /// Removes all offsets before `start`.
    pub(crate) fn cut_before(&mut self, start: u64) {
        self.0.retain_mut(|range| {
            range.start = range.start.max(start);
            !range.is_empty()
        });
    }

    /// The parts that lie in `range`.
    pub(crate) fn within(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let (start, end) = (range.start, range.end);
        self.0.iter().map(move |r| r.start.max(start)..r.end.min(end)).filter(|r| !r.is_empty())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    pub(crate) fn into_vec(self) -> Vec<Range<u64>> {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The offset after the last.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;

    fn stream(cluster: &str, topic: &str, number: u32, epoch: u64) -> StreamId {
        Partition { cluster: cluster.into(), topic: topic.into(), number }.stream(epoch)
    }

    #[test]
    fn expectations_match_their_streams() {
        let matches = |text: &str, cluster, topic, number, epoch| {
            text.parse::<Expectation>().expect("valid").matches(&stream(cluster, topic, number, epoch))
        };
        assert!(matches("orders/*", "-", "orders", 7, 3));
        assert!(!matches("orders/*", "-", "orders-eu", 7, 3));
        assert!(matches("orders*/7", "c1", "orders-eu", 7, 0));
        assert!(matches("*/*", "-", "a", 0, 0));
        assert!(!matches("orders/7", "-", "orders", 8, 0));
        assert!(matches("orders/2147483647", "-", "orders", i32::MAX as u32, 0));
        assert!(matches("orders/7#2", "-", "orders", 7, 2));
        assert!(!matches("orders/7#2", "-", "orders", 7, 1));
        assert!(matches("c1:orders/7", "c1", "orders", 7, 1));
        assert!(!matches("c1:orders/7", "c2", "orders", 7, 1));
    }

    #[test]
    fn offsets_end_at_the_heads_line() {
        let offsets = |text: &str, next, closed| text.parse::<Expectation>().expect("valid").offsets(next, closed);
        assert_eq!(offsets("orders/3", Some(10), false), Some(0..10));
        assert_eq!(offsets("orders/3", None, false), None);
        assert_eq!(offsets("orders/3@5..", None, false), None);
        assert_eq!(offsets("orders/3@5..8", None, false), Some(5..8));
        assert_eq!(offsets("orders/3@5..20", Some(10), false), Some(5..20));
        assert_eq!(offsets("orders/3@5..20", Some(10), true), Some(5..10));
        assert_eq!(offsets("orders/3#0@5..20", Some(10), true), Some(5..20));
        assert_eq!(offsets("orders/3@..8", Some(10), false), Some(0..8));
        assert_eq!(offsets("orders/3@50..", Some(10), false), Some(50..50));
    }

    #[test]
    fn invalid_expectations_are_refused() {
        for bad in [
            "",
            "orders",
            "orders/",
            "/3",
            "orders/x",
            "orders/03",
            "orders/3@",
            "orders/3@5",
            "orders/3@5..5",
            "orders/3@9..5",
            "orders/3@-1..5",
            "orders/3#",
            "orders/3#x",
            ":orders/3",
            "or*ders/3",
            "or ders/3",
            "orders/2147483648",
            "orders/4294967296",
            "orders/3@0..9223372036854775808",
        ] {
            let error = bad.parse::<Expectation>().expect_err(bad).to_string();
            assert!(error.contains("TOPIC/PARTITION"), "{error}");
        }
    }

    #[test]
    fn touching_ranges_are_joined() {
        let mut ranges = Ranges::default();
        for range in [10..20, 30..40, 5..5, 20..25, 38..50, 0..3] {
            ranges.add(range);
        }
        assert_eq!((&ranges.0[..], ranges.len()), (&[0..3, 10..25, 30..50][..], 3));
        assert_eq!(ranges.within(&(2..35)).collect::<Vec<_>>(), [2..3, 10..25, 30..35]);
        let contained: Vec<u64> = (0..60).filter(|offset| ranges.contains(*offset)).collect();
        assert_eq!(contained, (0..3).chain(10..25).chain(30..50).collect::<Vec<_>>());
        ranges.add(3..30);
        assert_eq!(ranges.iter().next(), Some(&(0..50)));
        assert_eq!((ranges.end(), ranges.len()), (50, 1));
        ranges.add(60..70);
        ranges.cut_before(50);
        assert_eq!((ranges.iter().next(), ranges.len()), (Some(&(60..70)), 1));
        ranges.cut_before(65);
        assert_eq!((ranges.iter().next(), ranges.len()), (Some(&(65..70)), 1));
    }
}
