//! Finds stalled streams: the cursor does not move although Kafka has more, whatever the stream says of itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka::{TopicPartition, Watermarks};

use crate::status::StreamStatus;

/// How long a cursor may stay at one offset below the end of its partition.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(20);

/// Remembers since when each cursor is where it is.
#[derive(Debug, Default)]
pub(crate) struct StallDetector(HashMap<TopicPartition, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    next: u64,
    position: Option<u64>,
    since: Instant,
    was_running: bool,
    was_stalled: bool,
    /// How long the stall must last before the stream inspects again.
    reinspect_after: Duration,
}

impl Seen {
    fn new(status: StreamStatus, since: Instant, reinspect_after: Duration) -> Self {
        let StreamStatus { next, position, is_running, .. } = status;
        Self { next, position, since, was_running: is_running, was_stalled: false, reinspect_after }
    }
}

/// A stream that does not move although Kafka has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stalled {
    /// The cursor.
    next: u64,
    /// The end for readers of committed events.
    end: i64,
    /// How long the cursor has not moved.
    lasting: Duration,
    /// The number of statements that wait for the committer's answer.
    unacknowledged: usize,
    /// Whether the stream should inspect again.
    pub(crate) should_reinspect: bool,
}

impl StallDetector {
    /// Records a stream's status at `now`. Returns the stall if the stream has not moved for `after` although Kafka has
    /// more.
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
        // A stream has no position while it inspects; that is no movement.
        let has_moved = seen.next != next || position.is_some_and(|position| seen.position != Some(position));
        // A halted or blocked stream reports that itself. Its time begins again when it runs.
        let is_blocked = !is_running && !seen.was_running;
        if has_moved || is_blocked || marks.lag(i64::try_from(next).unwrap_or(i64::MAX)) == 0 {
            *seen = Seen::new(status, now, after);
        }
        let lasting = now.duration_since(seen.since);
        seen.was_running = is_running;
        seen.was_stalled = lasting >= after && (is_running || seen.was_stalled);
        if !seen.was_stalled {
            return None;
        }
        // Less and less often: each new read from the same offset discards what was fetched.
        let should_reinspect = lasting >= seen.reinspect_after;
        if should_reinspect {
            seen.reinspect_after = lasting * 2;
        }
        Some(Stalled { next, end: marks.stable, lasting, unacknowledged, should_reinspect })
    }

    /// Forgets partitions that are no longer assigned.
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
                "{unacknowledged} statements wait for the committer's answer; check the committer's /readyz"
            );
        }
        f.write_str(
            "no readable record arrives. If these records are in a message format before v2 (of clients before Kafka \
             0.11), copy the topic into a new one with any current client and seal that. Otherwise check the brokers' logs",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(20);

    struct Harness {
        detector: StallDetector,
        begun: Instant,
        position: Option<u64>,
    }

    impl Harness {
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
    fn cursor_below_the_end_without_movement_is_stalled() {
        let mut harness = Harness::new();
        assert_eq!((harness.at(0, 5, true, 9), harness.at(19, 5, true, 9)), (None, None));
        let stalled = harness.at(21, 5, true, 12).expect("stalled");
        assert_eq!(
            stalled,
            Stalled { next: 5, end: 12, lasting: Duration::from_secs(21), unacknowledged: 0, should_reinspect: true }
        );
        let text = stalled.to_string();
        assert!(text.contains("for 21 s, although Kafka has offsets 5 to 11: no readable"), "{text}");
        let waiting = Stalled { unacknowledged: 3, ..stalled }.to_string();
        assert!(waiting.contains("5 to 11: 3 statements wait for the committer"), "{waiting}");
        assert_eq!(harness.at(31, 6, true, 12), None);
        assert!(harness.at(51, 6, true, 12).is_some());
    }

    #[test]
    fn stream_at_the_end_is_not_stalled() {
        let mut harness = Harness::new();
        assert_eq!((harness.at(0, 9, true, 9), harness.at(100, 9, true, 9)), (None, None));
        // A new event has the whole time.
        assert_eq!((harness.at(110, 9, true, 10), harness.at(119, 9, true, 10)), (None, None));
        assert!(harness.at(130, 9, true, 10).is_some());
    }

    #[test]
    fn stream_with_moving_position_is_not_stalled() {
        let mut harness = Harness::new();
        assert_eq!(harness.at(0, 5, true, 9), None);
        harness.position = Some(3);
        assert_eq!((harness.at(21, 5, true, 9), harness.at(40, 5, true, 9)), (None, None));
        assert!(harness.at(41, 5, true, 9).is_some(), "neither read nor sealed");
    }

    #[test]
    fn halted_stream_is_not_stalled() {
        let mut harness = Harness::new();
        assert_eq!(
            (harness.at(0, 5, true, 9), harness.at(25, 5, false, 9), harness.at(35, 5, false, 9)),
            (None, None, None)
        );
        assert_eq!(harness.at(54, 5, true, 9), None, "it has the whole time again");
        assert!(harness.at(55, 5, true, 9).is_some());
    }

    #[test]
    fn stalled_stream_inspects_less_and_less_often() {
        let mut harness = Harness::new();
        harness.position = Some(5);
        assert_eq!(harness.at(0, 5, true, 9), None);
        let looks = |harness: &mut Harness, seconds| harness.at(seconds, 5, true, 9).expect("stalled").should_reinspect;
        assert!(looks(&mut harness, 20));
        // It is not read while it inspects, and still stalled.
        harness.position = None;
        assert!(harness.at(30, 5, false, 9).is_some());
        harness.position = Some(5);
        assert_eq!([looks(&mut harness, 39), looks(&mut harness, 40), looks(&mut harness, 79)], [false, true, false]);
    }
}
