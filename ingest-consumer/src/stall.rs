//! Whether sealing moves: a stream whose cursor stands still although Kafka has more is not well, whatever else says so.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka::{TopicPartition, Watermarks};

use crate::status::StreamStatus;

/// How long a cursor may stand still below the end of its partition.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(20);

/// Remembers since when each cursor stands where it is.
#[derive(Debug, Default)]
pub(crate) struct StallDetector(HashMap<TopicPartition, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    next: u64,
    position: Option<u64>,
    since: Instant,
    was_running: bool,
    was_stalled: bool,
    /// How long it is to stand still until it is looked at again.
    look_after: Duration,
}

impl Seen {
    fn new(status: StreamStatus, since: Instant, look_after: Duration) -> Self {
        let StreamStatus { next, position, is_running, .. } = status;
        Self { next, position, since, was_running: is_running, was_stalled: false, look_after }
    }
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
    /// Whether the stream should look again at what Kafka and the committer say.
    pub(crate) is_to_look: bool,
}

impl StallDetector {
    /// Takes note of where a stream stands at `now`; says so if it has not moved for `after` although Kafka has more.
    pub(crate) fn observe(
        &mut self,
        partition: &TopicPartition,
        status: StreamStatus,
        marks: &Watermarks,
        now: Instant,
        after: Duration,
    ) -> Option<Stalled> {
        let StreamStatus { next, position, is_running, unacknowledged } = status;
        let seen = self.0.entry(partition.clone()).or_insert_with(|| Seen::new(status, now, after));
        // A stream that looks again is not read meanwhile, and has not moved by that.
        let has_moved = seen.next != next || position.is_some_and(|position| seen.position != Some(position));
        // One that is halted or waits says so itself, and then has the whole time again.
        let is_held_up = !is_running && !seen.was_running;
        if has_moved || is_held_up || marks.lag(i64::try_from(next).unwrap_or(i64::MAX)) == 0 {
            *seen = Seen::new(status, now, after);
        }
        let lasting = now.duration_since(seen.since);
        seen.was_running = is_running;
        seen.was_stalled = lasting >= after && (is_running || seen.was_stalled);
        if !seen.was_stalled {
            return None;
        }
        // Less and less often: reading from the same place once more throws away what is on its way.
        let is_to_look = lasting >= seen.look_after;
        if is_to_look {
            seen.look_after = lasting * 2;
        }
        Some(Stalled { next, end: marks.stable, lasting, unacknowledged, is_to_look })
    }

    /// Forgets partitions that are no longer ours.
    pub(crate) fn retain(&mut self, is_ours: impl Fn(&TopicPartition) -> bool) {
        self.0.retain(|partition, _| is_ours(partition));
    }
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { next, end, lasting, unacknowledged, .. } = self;
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
        detector: StallDetector,
        begun: Instant,
        position: Option<u64>,
    }

    impl Bench {
        fn new() -> Self {
            Self { detector: StallDetector::default(), begun: Instant::now(), position: None }
        }

        fn at(&mut self, seconds: u64, next: u64, is_running: bool, stable: i64) -> Option<Stalled> {
            let partition = TopicPartition::new("orders", 3);
            let marks = Watermarks { low: 0, high: stable + 7, stable };
            let now = self.begun + Duration::from_secs(seconds);
            let status = StreamStatus { next, position: self.position, is_running, unacknowledged: 0 };
            self.detector.observe(&partition, status, &marks, now, AFTER)
        }
    }

    #[test]
    fn a_cursor_that_stands_still_below_the_end_is_stalled() {
        let mut bench = Bench::new();
        assert_eq!((bench.at(0, 5, true, 9), bench.at(19, 5, true, 9)), (None, None));
        let stalled = bench.at(21, 5, true, 12).expect("stalled");
        assert_eq!(
            stalled,
            Stalled { next: 5, end: 12, lasting: Duration::from_secs(21), unacknowledged: 0, is_to_look: true }
        );
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
    fn a_stream_that_is_read_is_not_stalled() {
        let mut bench = Bench::new();
        assert_eq!(bench.at(0, 5, true, 9), None);
        bench.position = Some(3);
        assert_eq!((bench.at(21, 5, true, 9), bench.at(40, 5, true, 9)), (None, None));
        assert!(bench.at(41, 5, true, 9).is_some(), "neither read nor sealed");
    }

    #[test]
    fn a_halted_stream_is_not_stalled_too() {
        let mut bench = Bench::new();
        assert_eq!((bench.at(0, 5, true, 9), bench.at(25, 5, false, 9), bench.at(35, 5, false, 9)), (None, None, None));
        assert_eq!(bench.at(54, 5, true, 9), None, "it has the whole time again");
        assert!(bench.at(55, 5, true, 9).is_some());
    }

    #[test]
    fn a_stalled_stream_looks_again_less_and_less_often() {
        let mut bench = Bench::new();
        bench.position = Some(5);
        assert_eq!(bench.at(0, 5, true, 9), None);
        let looks = |bench: &mut Bench, seconds| bench.at(seconds, 5, true, 9).expect("stalled").is_to_look;
        assert!(looks(&mut bench, 20));
        // While it looks it is not read, and still stalled.
        bench.position = None;
        assert!(bench.at(30, 5, false, 9).is_some());
        bench.position = Some(5);
        assert_eq!([looks(&mut bench, 39), looks(&mut bench, 40), looks(&mut bench, 79)], [false, true, false]);
    }
}
