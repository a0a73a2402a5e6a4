//! Disruptions by plan, each at its step.

use evidence::statement::Action;

use crate::kafka::PARTITIONS;
use crate::ledger::ORIGIN;
use crate::model::Check;
use crate::world::{NODES, World};

impl World<'_> {
    /// The disruptions planned for this step.
    pub(super) fn planned_disruptions(&mut self, step: u64) -> Check {
        let plan = self.plan.clone();
        if plan.recreated && step == plan.log_change_at {
            self.count("topics recreated");
            self.cluster.recreate();
            for _ in 0..self.random.below(10) {
                self.produce();
            }
        }
        if plan.truncated && step == plan.log_change_at {
            self.truncate();
        }
        if plan.old_copy {
            self.disrupt_database_as_planned(plan.copy_at, step)?;
        }
        if plan.new_key {
            self.change_keys_as_planned(plan.key_at, step);
        }
        Ok(())
    }

    fn truncate(&mut self) {
        for partition in 0..PARTITIONS {
            let log = self.cluster.log(partition);
            let high = log.high() - self.random.below(20).min(log.high() - log.low);
            if high < self.sealed(partition) {
                self.count("logs truncated below the cursor");
            }
            self.cluster.log_mut(partition).truncate(high);
            for _ in 0..self.random.below(20) {
                self.cluster.append_event(partition);
            }
        }
    }

    fn disrupt_database_as_planned(&mut self, [copied, replaced, back]: [u64; 3], step: u64) -> Check {
        if step == copied {
            self.backup = Some((self.database.tables(ORIGIN), self.model.chain.clone()));
        }
        if step == replaced
            && let Some((tables, chain)) = self.backup.take()
        {
            self.count("databases replaced by an old copy");
            self.database.end_sessions();
            self.full = Some(self.database.tables(ORIGIN));
            self.database.replace(ORIGIN, tables);
            self.model.went_back(chain);
            for number in 0..NODES {
                if self.random.one_in(2) {
                    self.crash_committer(number);
                    self.start(number)?;
                }
            }
        }
        if step == back {
            self.restore();
        }
        self.settle_tasks()
    }

    /// Restores the full database, unless the old copy was signed meanwhile.
    pub(super) fn restore(&mut self) {
        let Some(full) = self.full.take() else { return };
        // An operator stops the signer before replacing a database that was appended to: it may be about to sign what
        // it read.
        if self.model.forked {
            self.kill(0);
        }
        let is_back = self.model.may_come_back();
        self.model.came_back(is_back);
        if is_back {
            self.count("full databases restored");
            self.database.end_sessions();
            self.database.replace(ORIGIN, full);
        } else {
            self.count("old copies kept: nothing newer was ever signed");
        }
    }

    fn change_keys_as_planned(&mut self, [granted, revoked]: [u64; 2], step: u64) {
        // The chain begins with one grant; these are the second and third key statement.
        match self.key_entries() {
            1 if step >= granted => self.change_key(Action::Grant, 1),
            2 => {
                self.key = 1;
                if step >= revoked {
                    self.change_key(Action::Revoke, 0);
                }
            }
            3 => self.key = 1,
            _ => {}
        }
        if step >= granted {
            self.operate();
        }
    }
}
