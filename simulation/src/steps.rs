//! The random steps of a world.

mod disruptions;
mod planned;
mod settling;

use committer::store::StoreErrorKind;

use crate::kafka::PARTITIONS;
use crate::link::{Direction, Fate};
use crate::model::Check;
use crate::world::{NODES, World};

impl World<'_> {
    /// Runs all steps, then settles.
    pub(crate) fn run(&mut self) -> Check {
        for number in 0..NODES {
            self.start(number)?;
        }
        for step in 0..self.plan.steps {
            self.planned_disruptions(step)?;
            self.random_step()?;
        }
        self.counts.add("steps", self.plan.steps);
        self.settle()
    }

    /// One random step.
    fn random_step(&mut self) -> Check {
        self.recover()?;
        let assignment = self.random.index(self.assignments.len());
        match self.random.below(100) {
            0..9 => {
                self.produce();
                Ok(())
            }
            9..38 => self.flow(assignment),
            38..44 => {
                let count = self.random.below(12);
                self.read(assignment, count)
            }
            44..48 => {
                let answers = !self.random.one_in(12);
                self.inspect(assignment, answers)
            }
            48..52 => {
                let answers = !self.random.one_in(12);
                self.submit(assignment, answers)
            }
            52..60 => self.message(),
            60..76 => self.database_message(),
            76..86 => {
                let ms = self.random.below(400);
                self.advance_ms(ms)?;
                self.tick(assignment)
            }
            86..88 => self.disrupt_committer(),
            88..90 => self.disrupt_database(),
            90..93 => self.disrupt_consumer(assignment),
            93..96 => {
                self.disrupt_log();
                Ok(())
            }
            96..98 => {
                self.operate();
                Ok(())
            }
            _ => {
                self.disrupt_clocks();
                Ok(())
            }
        }
    }

    /// Sometimes starts crashed committers and wakes frozen ones.
    fn recover(&mut self) -> Check {
        for number in 0..NODES {
            if !self.nodes[number].is_up() && self.random.one_in(8) {
                self.start(number)?;
            }
            if self.executor.is_frozen(number) && self.random.one_in(8) {
                self.executor.freeze(number, false);
                self.settle_tasks()?;
            }
        }
        if self.database.orphans() > 0 && self.random.one_in(6) {
            self.settle_orphans();
            self.settle_tasks()?;
        }
        Ok(())
    }

    /// A consumer makes progress.
    fn flow(&mut self, assignment: usize) -> Check {
        let (number, count) = (self.assignments[assignment].number, self.random.below(12));
        self.tick(assignment)?;
        self.read(assignment, count)?;
        // A recreated topic may have replaced it.
        if self.assignments.get(assignment).is_none_or(|assignment| assignment.number != number) {
            return Ok(());
        }
        self.inspect(assignment, true)?;
        if self.assignments.get(assignment).is_none_or(|assignment| assignment.number != number) {
            return Ok(());
        }
        self.submit(assignment, true)?;
        for _ in 0..self.random.below(4) {
            self.message()?;
        }
        Ok(())
    }

    fn message(&mut self) -> Check {
        let in_flight = self.network.in_flight();
        if in_flight == 0 {
            return Ok(());
        }
        let nth = self.random.index(in_flight);
        match self.random.below(30) {
            0 => {
                self.network.lose(nth);
                self.count("messages lost");
                Ok(())
            }
            1 => {
                if self.network.duplicate(nth) {
                    self.count("requests duplicated");
                }
                Ok(())
            }
            _ => {
                if nth > 0 {
                    self.counts.add("messages reordered", 1);
                }
                self.arrive(nth)
            }
        }
    }

    fn database_message(&mut self) -> Check {
        let waiting = self.gates.waiting();
        if waiting == 0 {
            return Ok(());
        }
        let index = self.random.index(waiting);
        let what = self.gates.look(index);
        let cut = self.random.below(100) < self.plan.cuts;
        // The fate of a commit is the hardest case, so it is cut more often.
        let cut = cut || (what.is_commit && self.plan.cuts > 0 && self.random.one_in(4));
        let fate = match (cut, self.random.below(4)) {
            (false, _) => Fate::Arrives,
            (true, 0) => {
                self.count("transaction conflicts");
                Fate::Cut(StoreErrorKind::Conflict)
            }
            (true, 1 | 2) if what.is_commit => {
                self.count("commits orphaned");
                Fate::Later
            }
            (true, 1 | 2) if what.call == "deliver" => {
                self.count("deliveries with unknown outcome");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, 3) if what.is_commit => {
                self.count("commits lost in flight, outcome unknown");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, _) if what.call == "commit" => {
                self.count("commits done, reply lost");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, _) => {
                let back = what.direction == Direction::Back;
                self.count(if back { "database replies lost" } else { "database calls cut" });
                Fate::Cut(StoreErrorKind::Unavailable)
            }
        };
        self.gate(index, fate)
    }

    fn produce(&mut self) {
        let partition = self.random.below(PARTITIONS.into()) as u32;
        for _ in 0..self.random.below(6) {
            // Not if the log gets truncated: a marker in the place of a lost event would look like compaction.
            let marker = self.random.one_in(4) && !self.plan.truncated;
            if marker {
                self.cluster.log_mut(partition).append_marker();
                self.counts.add("transaction markers and aborted records", 1);
            } else {
                self.cluster.append_event(partition);
                self.counts.add("events produced", 1);
            }
        }
        // In one of three cases a transaction stays open.
        if self.random.below(3) > 0 {
            let log = self.cluster.log_mut(partition);
            log.stable = log.high();
        } else {
            self.counts.add("transactions left open", 1);
        }
    }
}
