//! What was read from Kafka: events, the end of the log, and records that cannot be read.

use super::phase::{AfterDrain, Phase};
use super::{Action, HashedEvent, Limits, Stream};
use crate::halt::Halt;

/// Read attempts before a record counts as unreadable.
const UNREADABLE_ATTEMPTS: u32 = 3;

impl Stream {
    pub(super) fn events(&mut self, now_ms: u64, events: &[HashedEvent], actions: &mut Vec<Action>) {
        for event in events {
            if matches!(&self.phase, Phase::Comparing(read, _) if event.offset >= read.tip.next) {
                self.end_comparison(actions);
            }
            match &mut self.phase {
                Phase::Comparing(read, tail) => {
                    if let Err(halt) = read.compare(tail, event, actions) {
                        return self.halt_until_statement(now_ms, halt, actions);
                    }
                    self.leader_epoch = self.leader_epoch.max(event.leader_epoch);
                }
                Phase::Sealing(read) if event.offset >= read.position => {
                    let known = self.leader_epoch.or(event.leader_epoch);
                    self.leader_epoch = known.max(event.leader_epoch);
                    if self.leader_epoch > known {
                        return self.drain_and_inspect(now_ms);
                    }
                    read.push(event, now_ms);
                    let Limits { batch_events, batch_bytes, .. } = self.limits;
                    if read.batch.events() >= batch_events || read.batch.bytes() >= batch_bytes {
                        self.close_batch();
                    }
                }
                Phase::Sealing(_) => {}
                _ => return,
            }
        }
    }

    pub(super) fn end(&mut self, now_ms: u64, offset: u64, actions: &mut Vec<Action>) {
        let (Phase::Comparing(read, _) | Phase::Sealing(read)) = &self.phase else { return };
        // The log lost something if it ends below what was read from it or below what was sealed.
        if offset < read.position.max(read.tip.next) {
            let at_ms = self.retry_at_ms(now_ms);
            return self.drain_and_inspect(at_ms);
        }
        self.end_comparison(actions);
        if let Phase::Sealing(read) = &mut self.phase {
            read.skip_to(offset, now_ms);
        }
    }

    /// Seals events from here on: everything signed below the cursor was compared.
    fn end_comparison(&mut self, actions: &mut Vec<Action>) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Inspecting) {
            Phase::Comparing(mut read, tail) => {
                if let Some(last) = tail.last {
                    actions.push(Action::LastEventCompacted(last.offset));
                }
                read.position = read.tip.next;
                Phase::Sealing(read)
            }
            other => other,
        };
    }

    pub(super) fn unreadable(&mut self, now_ms: u64, offset: u64, problem: String, actions: &mut Vec<Action>) {
        let (Phase::Comparing(read, _) | Phase::Sealing(read)) = &self.phase else { return };
        let (position, high) = (read.position, read.high);
        // For a damaged producer batch, librdkafka names its first offset, which may be below the position.
        let offset = offset.max(position);
        if self.skips_into_gap(offset, actions) {
            return;
        }
        let attempts = self.unreadable.filter(|(before, _)| *before == offset).map_or(1, |(_, attempts)| attempts + 1);
        self.unreadable = Some((offset, attempts));
        if attempts < UNREADABLE_ATTEMPTS {
            // The record may have been damaged in transit.
            let at_ms = self.retry_at_ms(now_ms);
            return self.drain_and_inspect(at_ms);
        }
        self.unreadable = None;
        // Each attempt read the high watermark after the offset was first named, so no record has that offset.
        let halt = if offset >= high {
            let problem =
                format!("the client library names offset {offset}, beyond the high watermark {high}: {problem}");
            Halt::Misread { offset: position, problem }
        } else {
            Halt::Unreadable { offset, problem }
        };
        self.halt_at_record(now_ms, halt, actions);
    }

    pub(super) fn old_format(&mut self, now_ms: u64, offset: u64, problem: String, actions: &mut Vec<Action>) {
        let is_read = matches!(self.phase, Phase::Comparing(..) | Phase::Sealing(_));
        if is_read && !self.skips_into_gap(offset, actions) {
            self.halt_at_record(now_ms, Halt::Misread { offset, problem }, actions);
        }
    }

    /// Whether an unreadable record lies in a gap that the operator signed. Reading then continues after the gap.
    fn skips_into_gap(&mut self, offset: u64, actions: &mut Vec<Action>) -> bool {
        let is_in_gap = match &self.phase {
            Phase::Comparing(read, tail) => offset < read.tip.next && !tail.concerns(offset),
            _ => false,
        };
        if is_in_gap {
            self.end_comparison(actions);
            if let Phase::Sealing(read) = &self.phase {
                actions.push(Action::Read(read.position));
            }
        }
        is_in_gap
    }

    /// Halts at the record that the halt names, once everything below it is sealed.
    fn halt_at_record(&mut self, now_ms: u64, halt: Halt, actions: &mut Vec<Action>) {
        let is_below = |next| halt.record().is_some_and(|offset| offset < next);
        if matches!(&self.phase, Phase::Comparing(read, _) if is_below(read.tip.next)) {
            return self.halt_until_statement(now_ms, halt, actions);
        }
        // The operator's gap begins at the cursor, so every event below the record must be sealed first.
        self.end_comparison(actions);
        if let Phase::Sealing(read) = &self.phase
            && read.batch.events() > 0
        {
            self.close_batch();
        }
        self.phase = Phase::Draining(AfterDrain::Halt(halt));
    }

    /// Kafka gives nothing more until reading starts again.
    pub(super) fn read_error(&mut self, now_ms: u64, problem: String, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Comparing(..) | Phase::Sealing(_)) {
            let at_ms = self.retry_at_ms(now_ms);
            self.drain_and_inspect(at_ms);
            self.block(problem, actions);
        }
    }
}
