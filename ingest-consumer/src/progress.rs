//! Whether sealing moves: a stream whose cursor stands still although Kafka has more is not well, whatever else says so.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka::{TopicPartition, Watermarks};

use crate::lag::Standing;

/// How long a cursor may stand still below the end of its partition.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(20);

/// Remembers since when each cursor stands where it is.
#[derive(Debug, Default)]
pub(crate) struct Progress(HashMap<TopicPartition, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    next: u64,
    since: Instant,
}

/// A stream that does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stalled {
    /// The cursor.
    next: u64,
    /// The end for readers of committed events.
    end: i64,
    /// For how long the cursor has stood still.
    lasting: Duration,
    /// How many statements wait for the committer's answer.
    unacknowledged: usize,
}

impl Progress {
    /// Takes note of where a stream stands at `now`; says so if it has not moved for `after` although Kafka has more.
    pub(crate) fn observe(
        &mut self,
        partition: &TopicPartition,
        standing: Standing,
        marks: &Watermarks,
        now: Instant,
        after: Duration,
    ) -> Option<Stalled> {
        let Standing { next, is_running, unacknowledged } = standing;
        let seen = self.0.entry(partition.clone()).or_insert(Seen { next, since: now });
        // One that waits or is halted says so itself.
        if seen.next != next || !is_running || marks.lag(i64::try_from(next).unwrap_or(i64::MAX)) == 0 {
            *seen = Seen { next, since: now };
        }
        let lasting = now.duration_since(seen.since);
        (lasting >= after).then_some(Stalled { next, end: marks.stable, lasting, unacknowledged })
    }

    /// Forgets partitions that are no longer ours.
    pub(crate) fn retain(&mut self, is_ours: impl Fn(&TopicPartition) -> bool) {
        self.0.retain(|partition, _| is_ours(partition));
    }
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { next, end, lasting, unacknowledged } = self;
        let (seconds, last) = (lasting.as_secs(), end - 1);
        write!(f, "nothing was sealed for {seconds} s, although Kafka has offsets {next} to {last}: ")?;
        if *unacknowledged > 0 {
            return write!(
                f,
                "{unacknowledged} statements wait for the committer's answer; look at the committer's /readyz"
            );
        }
        f.write_str(
            "nothing arrives that can be read. If these records are in a message format before v2 (of clients before Kafka \
             0.11), copy the topic into a new one with any current client and seal that; else look at the brokers' logs",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(20);

    struct Bench {
        progress: Progress,
        begun: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { progress: Progress::default(), begun: Instant::now() }
        }

        fn at(&mut self, seconds: u64, next: u64, is_running: bool, stable: i64) -> Option<Stalled> {
            let partition = TopicPartition::new("orders", 3);
            let marks = Watermarks { low: 0, high: stable + 7, stable };
            let now = self.begun + Duration::from_secs(seconds);
            let standing = Standing { next, is_running, unacknowledged: 0 };
            self.progress.observe(&partition, standing, &marks, now, AFTER)
        }
    }

    #[test]
    fn a_cursor_that_stands_still_below_the_end_is_stalled() {
        let mut bench = Bench::new();
        assert_eq!((bench.at(0, 5, true, 9), bench.at(19, 5, true, 9)), (None, None));
        let stalled = bench.at(21, 5, true, 12).expect("stalled");
        assert_eq!(stalled, Stalled { next: 5, end: 12, lasting: Duration::from_secs(21), unacknowledged: 0 });
        let text = stalled.to_string();
        assert!(text.contains("for 21 s, although Kafka has offsets 5 to 11: nothing arrives"), "{text}");
        let waiting = Stalled { unacknowledged: 3, ..stalled }.to_string();
        assert!(waiting.contains("5 to 11: 3 statements wait for the committer"), "{waiting}");
        assert_eq!(bench.at(31, 6, true, 12), None);
        assert!(bench.at(51, 6, true, 12).is_some());
    }

    #[test]
    fn a_stream_at_its_end_waits_for_events() {
        let mut bench = Bench::new();
        assert_eq!((bench.at(0, 9, true, 9), bench.at(100, 9, true, 9)), (None, None));
        // What has just come has the whole time.
        assert_eq!((bench.at(110, 9, true, 10), bench.at(119, 9, true, 10)), (None, None));
        assert!(bench.at(130, 9, true, 10).is_some());
    }

    #[test]
    fn a_halted_stream_is_not_stalled_too() {
        let mut bench = Bench::new();
        assert_eq!((bench.at(0, 5, true, 9), bench.at(25, 5, false, 9), bench.at(44, 5, true, 9)), (None, None, None));
        assert!(bench.at(45, 5, true, 9).is_some());
    }
}
