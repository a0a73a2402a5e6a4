//! What happens by chance, and the end of all trouble.

use committer::store::StoreErrorKind;
use evidence::statement::Action;

use crate::kafka::PARTITIONS;
use crate::ledger::ORIGIN;
use crate::link::{Direction, Fate};
use crate::model::Check;
use crate::world::{NODES, World};

/// How often the settled world may be asked whether it is done.
const SETTLING_ROUNDS: u64 = 400;

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

    fn committer_trouble(&mut self) -> Check {
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

    fn crash_committer(&mut self, number: usize) {
        self.count("crashes of committers");
        self.kill(number);
    }

    fn database_trouble(&mut self) -> Check {
        if self.random.one_in(4) {
            self.count("sessions of the database ended");
            self.database.end_sessions();
        }
        if self.commitments.let_left_arrive() {
            self.count("commitments that arrived after their producer was gone");
        }
        self.settle_tasks()
    }

    fn settle_orphans(&mut self) {
        if self.database.orphans() > 0 {
            let carried_out = self.random.one_in(2);
            self.count(if carried_out { "orphaned commits carried out" } else { "orphaned commits undone" });
            self.database.settle_orphans(carried_out);
        }
    }

    fn consumer_trouble(&mut self, seat: usize) -> Check {
        match self.random.below(6) {
            0 => {
                self.count("crashes of consumers");
                let of = self.seats.remove(seat);
                if !of.is_zombie || !self.seats.iter().any(|seat| seat.partition == of.partition) {
                    self.seat(of.partition);
                }
                Ok(())
            }
            1 => {
                self.count("rebalances that leave a zombie");
                let of = self.seats[seat].partition;
                for seat in self.seats.iter_mut().filter(|seat| seat.partition == of) {
                    seat.is_zombie = true;
                }
                self.seat(of);
                Ok(())
            }
            2 => {
                let zombie = self.seats.iter().position(|seat| seat.is_zombie);
                if let Some(zombie) = zombie {
                    self.seats.remove(zombie);
                }
                Ok(())
            }
            3 => {
                self.operator_asks_again();
                Ok(())
            }
            _ => self.give_up(seat),
        }
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

    fn log_trouble(&mut self) {
        let partition = self.random.below(PARTITIONS.into()) as u32;
        match self.random.below(3) {
            0 => {
                self.cluster.log_mut(partition).leader_epoch += 1;
                self.count("new leaders");
            }
            // What was lost and is deleted as well cannot be compared.
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

    /// Of what is sealed, or of what nobody has read yet, so that it stays known what was sealed.
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

    fn clock_trouble(&mut self) {
        if !self.plan.clocks {
            return;
        }
        match self.random.below(4) {
            0 => {
                self.count("clocks back by an hour");
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

    /// What was planned for this step.
    fn strike(&mut self, step: u64) -> Check {
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
    fn restore(&mut self) {
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

    /// No more trouble: every process starts anew, and an operator resolves halts. Ends when all is sealed, signed and
    /// published.
    fn settle(&mut self) -> Check {
        self.note(|| "no more trouble".to_owned());
        self.restore();
        for number in 0..NODES {
            self.kill(number);
        }
        self.database.settle_orphans(true);
        self.commitments.let_left_arrive();
        self.gates.open();
        self.plan.cuts = 0;
        (self.database_off_ms, self.nodes_off_ms) = (0, [0; NODES]);
        self.set_clocks();
        self.settle_tasks()?;
        for number in 0..NODES {
            self.start(number)?;
        }
        while self.network.underway() > 0 {
            self.arrive(0)?;
        }
        // Who still had the old key would halt for good, which is right.
        self.key = usize::from(self.key_entries() > 1);
        self.seats.clear();
        for partition in 0..PARTITIONS {
            // A log that was cut off and grew again shows it by its next event.
            self.cluster.append_event(partition);
            let log = self.cluster.log_mut(partition);
            log.stable = log.high();
            self.seat(partition);
        }
        self.operator_asks_again();
        for _ in 0..SETTLING_ROUNDS {
            self.advance_ms(200)?;
            for _ in 0..4 {
                self.settling_round()?;
            }
            if self.is_settled() {
                return self.end();
            }
        }
        Err(self.unsettled())
    }

    /// What is still missing.
    fn unsettled(&self) -> String {
        let seats = self.seats.iter().map(|seat| format!("partition {}: {:?}", seat.partition, seat.stream.obstacle()));
        let sealed = (0..PARTITIONS).map(|number| {
            format!("sealed of {number}: {} of {}", self.sealed(number), self.cluster.log(number).high())
        });
        let nodes = self.nodes.iter().map(|node| format!("committer {}: {:?}", node.number, node.health.not_ready()));
        let stored = self.database.look(ORIGIN, |tables| {
            let signed = tables.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.head.size);
            format!("{} entries, {signed} signed, {:?} published", tables.entries.len(), tables.published)
        });
        let operator = format!("the operator waits: {}", self.operator.is_some());
        let all: Vec<String> = seats.chain(sealed).chain(nodes).chain([stored, operator]).collect();
        format!("not settled: {}", all.join("; "))
    }

    fn settling_round(&mut self) -> Check {
        for which in 0..self.seats.len() {
            self.read(which, 12)?;
            self.inspect(which, true)?;
            self.submit(which, true)?;
            self.tick(which)?;
        }
        self.operate();
        while self.network.underway() > 0 {
            self.arrive(0)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let sealed = (0..PARTITIONS).all(|partition| self.sealed(partition) == self.cluster.log(partition).high());
        let done = self.database.look(ORIGIN, |tables| {
            let size = tables.entries.len() as u64;
            tables.checkpoint.as_ref().is_some_and(|c| c.head.size == size) && tables.published == Some(size)
        });
        sealed && done && self.operator.is_none() && self.seats.iter().all(|seat| seat.stream.halt().is_none())
    }

    fn end(&mut self) -> Check {
        let signed = self.database.look(ORIGIN, |tables| tables.checkpoint.as_ref().map_or(0, |c| c.head.size));
        self.counts.add("events sealed", self.model.account.events);
        if self.model.forked {
            self.counts.add("worlds in which an old copy was appended to", 1);
        }
        self.model.check_end(signed)
    }
}
