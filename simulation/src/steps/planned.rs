//! Disruptions by plan, each at its step.

use evidence::statement::Action;

use crate::kafka::PARTITIONS;
use crate::ledger::ORIGIN;
use crate::model::Check;
use crate::world::{NODES, World};

impl World<'_> {
    /// What was planned for this step.
    pub(super) fn strike(&mut self, step: u64) -> Check {
        let plan = self.plan.clone();
        if plan.recreated && step == plan.strike_at {
            self.count("topics recreated");
            self.cluster.recreate();
            for _ in 0..self.random.below(10) {
                self.produce();
            }
        }
        if plan.truncated && step == plan.strike_at {
            self.truncate();
        }
        if plan.old_copy {
            self.strike_database(plan.copy_at, step)?;
        }
        if plan.new_key {
            self.strike_keys(plan.key_at, step);
        }
        Ok(())
    }

    fn truncate(&mut self) {
        for partition in 0..PARTITIONS {
            let log = self.cluster.log(partition);
            let high = log.high() - self.random.below(20).min(log.high() - log.low);
            if high < self.sealed(partition) {
                self.count("logs cut off below the cursor");
            }
            self.cluster.log_mut(partition).truncate(high);
            for _ in 0..self.random.below(20) {
                self.cluster.append_event(partition);
            }
        }
    }

    fn strike_database(&mut self, [copied, replaced, back]: [u64; 3], step: u64) -> Check {
        if step == copied {
            self.backup = Some((self.database.tables(ORIGIN), self.model.account.clone()));
        }
        if step == replaced
            && let Some((tables, account)) = self.backup.take()
        {
            self.count("old copies of the database in its place");
            self.database.end_sessions();
            self.full = Some(self.database.tables(ORIGIN));
            self.database.replace(ORIGIN, tables);
            self.model.went_back(account);
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

    /// The full database is back, unless another was signed for meanwhile.
    pub(super) fn restore(&mut self) {
        let Some(full) = self.full.take() else { return };
        // Whoever puts a database in the place of one that was appended to stops the signer first: it may be about to
        // sign what it has read.
        if self.model.forked {
            self.kill(0);
        }
        let is_back = self.model.may_come_back();
        self.model.came_back(is_back);
        if is_back {
            self.count("full databases put back");
            self.database.end_sessions();
            self.database.replace(ORIGIN, full);
        } else {
            self.count("old copies that stayed: nothing newer was ever signed");
        }
    }

    fn strike_keys(&mut self, [granted, revoked]: [u64; 2], step: u64) {
        // Key statements that are there: the first grant, and these two.
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
