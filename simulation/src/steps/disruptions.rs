//! Disruptions at random: crashes, freezes, rebalances, retention, compaction and clocks.

use crate::kafka::PARTITIONS;
use crate::model::Check;
use crate::world::{NODES, World};

impl World<'_> {
    pub(super) fn disrupt_committer(&mut self) -> Check {
        let number = self.random.index(NODES);
        if !self.nodes[number].is_up() {
            return self.start(number);
        }
        if self.random.one_in(3) {
            self.count("committers frozen");
            self.executor.freeze(number, true);
            return Ok(());
        }
        self.crash_committer(number);
        if self.random.one_in(2) { self.start(number) } else { Ok(()) }
    }

    pub(super) fn crash_committer(&mut self, number: usize) {
        self.count("crashes of committers");
        self.kill(number);
    }

    pub(super) fn disrupt_database(&mut self) -> Check {
        if self.random.one_in(4) {
            self.count("database sessions ended");
            self.database.end_sessions();
        }
        if self.commitments.deliver_orphaned() {
            self.count("commitments delivered after their producer died");
        }
        self.settle_tasks()
    }

    pub(super) fn settle_orphans(&mut self) {
        if self.database.orphans() > 0 {
            let carried_out = self.random.one_in(2);
            self.count(if carried_out { "orphaned commits carried out" } else { "orphaned commits undone" });
            self.database.settle_orphans(carried_out);
        }
    }

    pub(super) fn disrupt_consumer(&mut self, assignment: usize) -> Check {
        match self.random.below(6) {
            0 => {
                self.count("crashes of consumers");
                let of = self.assignments.remove(assignment);
                if !of.is_zombie || !self.assignments.iter().any(|assignment| assignment.partition == of.partition) {
                    self.assign(of.partition);
                }
                Ok(())
            }
            1 => {
                self.count("rebalances that leave a zombie");
                let of = self.assignments[assignment].partition;
                for assignment in self.assignments.iter_mut().filter(|assignment| assignment.partition == of) {
                    assignment.is_zombie = true;
                }
                self.assign(of);
                Ok(())
            }
            2 => {
                let zombie = self.assignments.iter().position(|assignment| assignment.is_zombie);
                if let Some(zombie) = zombie {
                    self.assignments.remove(zombie);
                }
                Ok(())
            }
            3 => {
                self.operator_retries();
                Ok(())
            }
            _ => self.give_up(assignment),
        }
    }

    pub(super) fn disrupt_log(&mut self) {
        let partition = self.random.below(PARTITIONS.into()) as u32;
        match self.random.below(3) {
            0 => {
                self.cluster.log_mut(partition).leader_epoch += 1;
                self.count("new leaders");
            }
            // Not if the log gets truncated: a lost event that is also deleted cannot be compared.
            1 if !self.plan.truncated => {
                let log = self.cluster.log(partition);
                let deleted = self.random.below((log.stable - log.low) / 2 + 1);
                if log.low + deleted > self.sealed(partition) {
                    self.count("retention past the cursor");
                }
                self.cluster.log_mut(partition).low += deleted;
            }
            2 if !self.plan.truncated && !self.plan.recreated => self.compact(partition),
            _ => {}
        }
    }

    /// Compacts an event that is sealed, or one that no reader got yet. Of others it would be unknown what was sealed.
    fn compact(&mut self, partition: u32) {
        let sealed = self.sealed(partition);
        let log = self.cluster.log(partition);
        let is_sealed = self.random.one_in(2);
        let range = if is_sealed && !self.plan.old_copy { 0..sealed } else { log.unread.max(sealed)..log.high() };
        if range.is_empty() {
            return;
        }
        let offset = range.start + self.random.below(range.end - range.start);
        if self.cluster.log_mut(partition).compact(offset, offset < sealed) {
            self.count(if offset < sealed { "sealed events compacted away" } else { "unsealed events compacted away" });
        }
    }

    pub(super) fn disrupt_clocks(&mut self) {
        if !self.plan.clocks {
            return;
        }
        match self.random.below(4) {
            0 => {
                self.count("clocks set back by an hour");
                self.database_off_ms -= 3_600_000;
                self.nodes_off_ms = [self.database_off_ms; NODES];
            }
            1 => {
                self.count("clocks apart");
                let number = self.random.index(NODES);
                self.nodes_off_ms[number] = self.database_off_ms + [-7_000, 7_000][self.random.index(2)];
            }
            _ => self.nodes_off_ms = [self.database_off_ms; NODES],
        }
        self.set_clocks();
    }
}
