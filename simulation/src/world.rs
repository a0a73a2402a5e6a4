//! A world: its parts, its clocks, and the check of the model after every step.

mod consumers;
mod defects;
mod messages;
mod operator;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use committer::store::memory::{Direct, MemoryDatabase, Tables};
use keystore::HighWater;

use crate::assignments::Assignment;
use crate::commitments::Commitments;
use crate::committers::{Node, NodeParts, Reply, WorldClock, log_key_path};
use crate::counts::Counts;
use crate::defect::Defect;
use crate::executor::{Executor, Timer};
use crate::kafka::{Cluster, PARTITIONS};
use crate::ledger::{Keys, ORIGIN, partition};
use crate::link::Gates;
use crate::model::{Check, Model, ModelChain};
use crate::network::Network;
use crate::plan::Plan;
use crate::random::Random;
use operator::OperatorRequest;

/// Milliseconds since 1970 when a world begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

pub(crate) struct World<'a> {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) defect: Option<Defect>,
    pub(crate) counts: Counts,
    /// All events, if they are traced.
    trace: Option<Vec<String>>,
    pub(crate) executor: Executor<'a>,
    pub(crate) keys: &'a Keys,
    folder: &'a Path,
    now_ms: u64,
    database_clock: WorldClock,
    pub(crate) database_off_ms: i64,
    pub(crate) nodes_off_ms: [i64; NODES],
    pub(crate) database: MemoryDatabase,
    pub(crate) gates: Gates,
    pub(crate) commitments: Commitments,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) cluster: Cluster,
    pub(crate) assignments: Vec<Assignment>,
    assignments_made: u64,
    /// The index of the ingest key of new processes.
    pub(crate) key: usize,
    /// The statement that the operator submits, until it is answered.
    pub(crate) operator: Option<OperatorRequest>,
    pub(crate) model: Model,
    /// A backup of the database, and the full database while the backup replaces it.
    pub(crate) backup: Option<(Tables, ModelChain)>,
    pub(crate) full: Option<Tables>,
    /// The tables one step ago; see [`Defect::CommitForgotten`].
    pub(crate) remembered: Option<Tables>,
}

pub(crate) const NODES: usize = 2;

impl<'a> World<'a> {
    pub(crate) fn new(
        seed: u64,
        defect: Option<Defect>,
        traced: bool,
        timer: &'a Timer,
        keys: &'a Keys,
        folder: &'a Path,
    ) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let gates = Gates::new(Random::new(random.below(u64::MAX)), plan.at_once);
        let drops = defect == Some(Defect::CommitmentsLost);
        let commitments = Commitments::new(Random::new(random.below(u64::MAX)), drops);
        let database_clock = WorldClock::default();
        let mut world = Self {
            random,
            plan,
            defect,
            counts: Counts::default(),
            trace: traced.then(Vec::new),
            executor: Executor::new(timer),
            keys,
            folder,
            now_ms: 0,
            database: MemoryDatabase::new(database_clock.as_clock()),
            database_clock,
            database_off_ms: 0,
            nodes_off_ms: [0; NODES],
            gates,
            commitments,
            nodes: (0..NODES).map(|number| Node::new(number, number == 0)).collect(),
            network: Network::default(),
            cluster: Cluster::new(),
            assignments: Vec::new(),
            assignments_made: 0,
            key: 0,
            operator: None,
            model: Model::new(keys.log.verifier_key().clone()),
            backup: None,
            full: None,
            remembered: None,
        };
        world.set_clocks();
        world.remove_high_water();
        // So that it can be read from the beginning.
        world.database.open(keys.id(), Arc::new(Direct)).expect("an empty database holds no other ledger");
        for number in 0..PARTITIONS {
            if world.plan.rivals {
                world.assign(number);
            }
            world.assign(number);
        }
        world
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} ms  {}", self.now_ms, what()));
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        self.counts.add(what, 1);
        self.note(|| what.to_owned());
    }

    fn high_water_path(&self) -> PathBuf {
        let mut path = log_key_path(self.folder).into_os_string();
        path.push(".high-water");
        path.into()
    }

    /// Removes the high-water file of an earlier world.
    fn remove_high_water(&self) {
        // The first world has none to remove.
        let _ = std::fs::remove_file(self.high_water_path());
    }

    /// Rebuilds the high-water file from the checkpoint in the database.
    fn rebuild_high_water(&mut self) {
        self.remove_high_water();
        if let Some(checkpoint) = self.database.look(ORIGIN, |tables| tables.checkpoint.clone()) {
            let file = HighWater::open(&self.high_water_path(), ORIGIN);
            file.and_then(|mut file| file.advance(checkpoint.head)).expect("it was writable before");
        }
    }

    pub(crate) fn set_clocks(&mut self) {
        let now_ms = EPOCH_MS + self.now_ms as i64;
        self.database_clock.set_ms(now_ms + self.database_off_ms);
        for (node, off_ms) in self.nodes.iter().zip(self.nodes_off_ms) {
            node.clock.set_ms(now_ms + off_ms);
        }
    }

    /// Assigns a partition to a new process.
    pub(crate) fn assign(&mut self, partition: u32) {
        self.assignments_made += 1;
        self.assignments.push(Assignment::new(self.assignments_made, partition, self.key, self.keys.id()));
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) -> Check {
        self.now_ms += ms;
        self.set_clocks();
        self.executor.advance_ms(ms);
        self.observe()
    }

    /// Runs the committers until all of them wait, then checks the model.
    pub(crate) fn settle_tasks(&mut self) -> Check {
        self.executor.run();
        self.observe()
    }

    fn observe(&mut self) -> Check {
        self.apply_defect();
        let (model, cluster, counts) = (&mut self.model, &self.cluster, &mut self.counts);
        self.database.look(ORIGIN, |tables| model.check_database(tables, cluster, counts))?;
        let model = &mut self.model;
        self.network.take_answers(|reply| match reply {
            Reply::Submitted(Ok(response)) => {
                response.accepted.iter().try_for_each(|accepted| model.acknowledged(&accepted.entry, accepted.seq))
            }
            _ => Ok(()),
        })?;
        for checkpoint in self.gates.take_signed() {
            self.counts.add("checkpoints signed", 1);
            self.model.signed(&checkpoint)?;
        }
        let new = self.commitments.from(self.model.published());
        self.counts.add("commitments published, including repeats", new.len() as u64);
        self.model.check_published(new)?;
        for number in 0..NODES {
            if let Some(why) = self.nodes[number].take_end() {
                self.counts.add("committers that exited", 1);
                self.note(|| format!("committer {number} exited: {why}"));
                self.kill(number);
            }
        }
        Ok(())
    }

    pub(crate) fn start(&mut self, number: usize) -> Check {
        if number == 0 && self.defect == Some(Defect::NewHighWater) {
            self.rebuild_high_water();
        }
        let seed = self.random.below(u64::MAX);
        let parts = NodeParts {
            keys: self.keys,
            database: &self.database,
            gates: &self.gates,
            commitments: &self.commitments,
            folder: self.folder,
        };
        self.nodes[number].start(&parts, &mut self.executor, seed)?;
        self.note(|| format!("committer {number} starts"));
        self.settle_tasks()
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].kill(&mut self.executor);
        self.network.cut(number);
    }

    /// The state of the newest stream of a partition.
    pub(crate) fn newest_stream(&self, number: u32) -> Option<evidence::chain::StreamState> {
        let named = partition(number);
        self.database.look(ORIGIN, |tables| {
            let streams = tables.streams.values().map(|row| &row.state);
            streams.filter(|stream| stream.id.partition == named).max_by_key(|stream| stream.id.epoch).cloned()
        })
    }

    /// How far the current log is sealed.
    pub(crate) fn sealed(&self, number: u32) -> u64 {
        let stream = self.newest_stream(number);
        let of_this_topic = stream.filter(|stream| stream.topic_id.as_deref() == Some(&self.cluster.topic().id));
        of_this_topic.map_or(0, |stream| stream.next).min(self.cluster.log(number).stable)
    }
}
