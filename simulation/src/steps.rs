//! What happens by chance, and the end of all trouble.

mod disruptions;
mod planned;
mod settling;

use committer::store::StoreErrorKind;

use crate::kafka::PARTITIONS;
use crate::link::{Direction, Fate};
use crate::model::Check;
use crate::world::{NODES, World};

impl World<'_> {
    /// All steps, then the end of all trouble.
    pub(crate) fn run(&mut self) -> Check {
        for number in 0..NODES {
            self.start(number)?;
        }
        for step in 0..self.plan.steps {
            self.strike(step)?;
            self.any()?;
        }
        self.counts.add("steps", self.plan.steps);
        self.settle()
    }

    fn any(&mut self) -> Check {
        self.recover()?;
        let seat = self.random.index(self.seats.len());
        match self.random.below(100) {
            0..9 => {
                self.produce();
                Ok(())
            }
            9..38 => self.flow(seat),
            38..44 => {
                let count = self.random.below(12);
                self.read(seat, count)
            }
            44..48 => {
                let answers = !self.random.one_in(12);
                self.inspect(seat, answers)
            }
            48..52 => {
                let answers = !self.random.one_in(12);
                self.submit(seat, answers)
            }
            52..60 => self.message(),
            60..76 => self.database_message(),
            76..86 => {
                let ms = self.random.below(400);
                self.advance_ms(ms)?;
                self.tick(seat)
            }
            86..88 => self.committer_trouble(),
            88..90 => self.database_trouble(),
            90..93 => self.consumer_trouble(seat),
            93..96 => {
                self.log_trouble();
                Ok(())
            }
            96..98 => {
                self.operate();
                Ok(())
            }
            _ => {
                self.clock_trouble();
                Ok(())
            }
        }
    }

    /// Somebody starts what crashed, and wakes what stood still.
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

    /// A consumer gets on a little.
    fn flow(&mut self, seat: usize) -> Check {
        let (number, count) = (self.seats[seat].number, self.random.below(12));
        self.tick(seat)?;
        self.read(seat, count)?;
        // Which a recreated topic replaced by another.
        if self.seats.get(seat).is_none_or(|seat| seat.number != number) {
            return Ok(());
        }
        self.inspect(seat, true)?;
        if self.seats.get(seat).is_none_or(|seat| seat.number != number) {
            return Ok(());
        }
        self.submit(seat, true)?;
        for _ in 0..self.random.below(4) {
            self.message()?;
        }
        Ok(())
    }

    fn message(&mut self) -> Check {
        let underway = self.network.underway();
        if underway == 0 {
            return Ok(());
        }
        let nth = self.random.index(underway);
        match self.random.below(30) {
            0 => {
                self.network.lose(nth);
                self.count("messages lost");
                Ok(())
            }
            1 => {
                if self.network.duplicate(nth) {
                    self.count("requests doubled");
                }
                Ok(())
            }
            _ => {
                if nth > 0 {
                    self.counts.add("messages that overtook another", 1);
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
        // What becomes of a commit is the hardest question, so it comes up more often.
        let cut = cut || (what.is_commit && self.plan.cuts > 0 && self.random.one_in(4));
        let fate = match (cut, self.random.below(4)) {
            (false, _) => Fate::Arrives,
            (true, 0) => {
                self.count("transactions in the way of another");
                Fate::Cut(StoreErrorKind::Conflict)
            }
            (true, 1 | 2) if what.is_commit => {
                self.count("commits carried out or not after their client was gone");
                Fate::Later
            }
            (true, 1 | 2) if what.call == "deliver" => {
                self.count("deliveries that nobody knows of");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, 3) if what.is_commit => {
                self.count("commits lost on the way, outcome unknown");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, _) if what.call == "commit" => {
                self.count("commits done, reply lost");
                Fate::Cut(StoreErrorKind::Unknown)
            }
            (true, _) => {
                let back = what.direction == Direction::Back;
                self.count(if back { "replies of the database lost" } else { "statements cut" });
                Fate::Cut(StoreErrorKind::Unavailable)
            }
        };
        self.gate(index, fate)
    }

    fn produce(&mut self) {
        let partition = self.random.below(PARTITIONS.into()) as u32;
        for _ in 0..self.random.below(6) {
            // Where a marker could take the place of a lost event, the loss could not be told from compaction.
            let marker = self.random.one_in(4) && !self.plan.truncated;
            if marker {
                self.cluster.log_mut(partition).append_marker();
                self.counts.add("transaction markers and aborted records", 1);
            } else {
                self.cluster.append_event(partition);
                self.counts.add("events produced", 1);
            }
        }
        // Otherwise a transaction stays open.
        if self.random.below(3) > 0 {
            let log = self.cluster.log_mut(partition);
            log.stable = log.high();
        } else {
            self.counts.add("transactions left open", 1);
        }
    }
}
