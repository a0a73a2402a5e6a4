//! The end of a world: all disruptions stop, and everything must be sealed, signed and published.

use crate::kafka::PARTITIONS;
use crate::ledger::ORIGIN;
use crate::model::Check;
use crate::world::{NODES, World};

/// Maximum rounds until the world must be settled.
const SETTLING_ROUNDS: u64 = 400;

impl World<'_> {
    /// Ends all disruptions, restarts every process and lets the operator resolve halts. Returns when everything is
    /// sealed, signed and published.
    pub(super) fn settle(&mut self) -> Check {
        self.note(|| "no more disruptions".to_owned());
        self.restore();
        for number in 0..NODES {
            self.kill(number);
        }
        self.database.settle_orphans(true);
        self.commitments.deliver_orphaned();
        self.gates.open();
        self.plan.cuts = 0;
        (self.database_off_ms, self.nodes_off_ms) = (0, [0; NODES]);
        self.set_clocks();
        self.settle_tasks()?;
        for number in 0..NODES {
            self.start(number)?;
        }
        while self.network.in_flight() > 0 {
            self.arrive(0)?;
        }
        // New processes have the new key: with a revoked key they would rightly halt forever.
        self.key = usize::from(self.key_entries() > 1);
        self.assignments.clear();
        for partition in 0..PARTITIONS {
            // The next event reveals a log that was truncated and grew again.
            self.cluster.append_event(partition);
            let log = self.cluster.log_mut(partition);
            log.stable = log.high();
            self.assign(partition);
        }
        self.operator_retries();
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

    /// The message about what is still missing.
    fn unsettled(&self) -> String {
        let assignments = self
            .assignments
            .iter()
            .map(|assignment| format!("partition {}: {:?}", assignment.partition, assignment.stream.obstacle()));
        let sealed = (0..PARTITIONS).map(|number| {
            format!("sealed of {number}: {} of {}", self.sealed(number), self.cluster.log(number).high())
        });
        let nodes = self.nodes.iter().map(|node| format!("committer {}: {:?}", node.number, node.health.not_ready()));
        let stored = self.database.look(ORIGIN, |tables| {
            let signed = tables.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.head.size);
            format!("{} entries, {signed} signed, {:?} published", tables.entries.len(), tables.published)
        });
        let operator = format!("the operator waits: {}", self.operator.is_some());
        let all: Vec<String> = assignments.chain(sealed).chain(nodes).chain([stored, operator]).collect();
        format!("not settled: {}", all.join("; "))
    }

    fn settling_round(&mut self) -> Check {
        for which in 0..self.assignments.len() {
            self.read(which, 12)?;
            self.inspect(which, true)?;
            self.submit(which, true)?;
            self.tick(which)?;
        }
        self.operate();
        while self.network.in_flight() > 0 {
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
        sealed
            && done
            && self.operator.is_none()
            && self.assignments.iter().all(|assignment| assignment.stream.halt().is_none())
    }

    fn end(&mut self) -> Check {
        let signed = self.database.look(ORIGIN, |tables| tables.checkpoint.as_ref().map_or(0, |c| c.head.size));
        self.counts.add("events sealed", self.model.chain.events);
        if self.model.forked {
            self.counts.add("worlds with an old copy that was appended to", 1);
        }
        self.model.check_end(signed)
    }
}
