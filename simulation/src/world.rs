//! A world: what is there, and the steps that it takes by chance.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use committer::store::memory::{Direct, MemoryDatabase, Tables};
use evidence::statement::{Action as KeyAction, StatementKind};
use evidence::{SignedStatement, Statement};
use ingest_consumer::Halt;
use ingest_consumer::stream::{Action, Answer, Input, InspectError, Inspection, Log};

use keystore::HighWater;

use crate::broken::Broken;
use crate::commitments::Commitments;
use crate::committers::{Node, Question, Reply, Surroundings, WorldClock, log_key_path};
use crate::counts::Counts;
use crate::executor::{Executor, Timer};
use crate::kafka::{Cluster, PARTITIONS};
use crate::ledger::{self, Keys, ORIGIN, partition};
use crate::link::{Fate, Gates};
use crate::model::{Account, Check, Model};
use crate::network::Network;
use crate::plan::Plan;
use crate::random::Random;
use crate::seats::{Inspecting, Request, Seat, answered, body, inspected};

/// Milliseconds since 1970 when a world begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

pub(crate) struct World<'a> {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) broken: Option<Broken>,
    pub(crate) counts: Counts,
    /// What happened, when somebody wants to read it.
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
    pub(crate) seats: Vec<Seat>,
    seats_made: u64,
    /// Which ingest key new processes have.
    pub(crate) key: usize,
    /// What the operator wants in the chain, until it is told that it is.
    pub(crate) operator: Option<Errand>,
    pub(crate) model: Model,
    /// A backup of the database, and the full one while the backup is in its place.
    pub(crate) backup: Option<(Tables, Account)>,
    pub(crate) full: Option<Tables>,
    /// What a database that forgets had a moment ago.
    pub(crate) remembered: Option<Tables>,
}

pub(crate) const NODES: usize = 2;

/// A statement that the operator submits until it is answered.
pub(crate) struct Errand {
    pub(crate) signed: SignedStatement,
    sent: Option<u64>,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        seed: u64,
        broken: Option<Broken>,
        traced: bool,
        timer: &'a Timer,
        keys: &'a Keys,
        folder: &'a Path,
    ) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let gates = Gates::new(Random::new(random.below(u64::MAX)), plan.at_once);
        let drops = broken == Some(Broken::CommitmentsLost);
        let commitments = Commitments::new(Random::new(random.below(u64::MAX)), drops);
        let database_clock = WorldClock::default();
        let mut world = Self {
            random,
            plan,
            broken,
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
            seats: Vec::new(),
            seats_made: 0,
            key: 0,
            operator: None,
            model: Model::new(keys.log.verifier_key().clone()),
            backup: None,
            full: None,
            remembered: None,
        };
        world.set_clocks();
        world.forget_high_water();
        // So that it can be looked at from the beginning.
        world.database.open(keys.id(), Arc::new(Direct)).expect("an empty database holds no other ledger");
        for number in 0..PARTITIONS {
            if world.plan.rivals {
                world.seat(number);
            }
            world.seat(number);
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

    /// Removes that of another world.
    fn forget_high_water(&self) {
        // There is none in the first world.
        let _ = std::fs::remove_file(self.high_water_path());
    }

    /// Makes it anew from the checkpoint in the database.
    fn renew_high_water(&mut self) {
        self.forget_high_water();
        if let Some(checkpoint) = self.database.look(ORIGIN, |tables| tables.checkpoint.clone()) {
            let file = HighWater::open(&self.high_water_path(), ORIGIN);
            file.and_then(|mut file| file.advance(checkpoint.head)).expect("it could be written before");
        }
    }

    pub(crate) fn set_clocks(&mut self) {
        let now_ms = EPOCH_MS + self.now_ms as i64;
        self.database_clock.set_ms(now_ms + self.database_off_ms);
        for (node, off_ms) in self.nodes.iter().zip(self.nodes_off_ms) {
            node.clock.set_ms(now_ms + off_ms);
        }
    }

    /// A process gets a partition.
    pub(crate) fn seat(&mut self, partition: u32) {
        self.seats_made += 1;
        self.seats.push(Seat::new(self.seats_made, partition, self.key, self.keys.id()));
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) -> Check {
        self.now_ms += ms;
        self.set_clocks();
        self.executor.advance_ms(ms);
        self.observe()
    }

    /// Lets the committers go on until all of them wait, and compares what they did with what they may do.
    pub(crate) fn settle_tasks(&mut self) -> Check {
        self.executor.run();
        self.observe()
    }

    fn observe(&mut self) -> Check {
        self.break_something();
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
        let new = self.commitments.from(self.model.looked_at());
        self.counts.add("commitments published, repeats included", new.len() as u64);
        self.model.check_published(new)?;
        for number in 0..NODES {
            if let Some(why) = self.nodes[number].take_end() {
                self.counts.add("committers that ended by themselves", 1);
                self.note(|| format!("committer {number} ended: {why}"));
                self.kill(number);
            }
        }
        Ok(())
    }

    pub(crate) fn start(&mut self, number: usize) -> Check {
        if number == 0 && self.broken == Some(Broken::NewHighWater) {
            self.renew_high_water();
        }
        let seed = self.random.below(u64::MAX);
        let surroundings = Surroundings {
            keys: self.keys,
            database: &self.database,
            gates: &self.gates,
            commitments: &self.commitments,
            folder: self.folder,
        };
        self.nodes[number].start(&surroundings, &mut self.executor, seed)?;
        self.note(|| format!("committer {number} starts"));
        self.settle_tasks()
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].kill(&mut self.executor);
        self.network.cut(number);
    }

    /// Where the newest epoch of a partition stands.
    pub(crate) fn head(&self, number: u32) -> Option<evidence::chain::StreamState> {
        let named = partition(number);
        self.database.look(ORIGIN, |tables| {
            let heads = tables.streams.values().map(|row| &row.head);
            heads.filter(|head| head.id.partition == named).max_by_key(|head| head.id.epoch).cloned()
        })
    }

    /// What of the log at hand is sealed.
    pub(crate) fn sealed(&self, number: u32) -> u64 {
        let head = self.head(number);
        let of_this_topic = head.filter(|head| head.topic_id.as_deref() == Some(&self.cluster.topic().id));
        of_this_topic.map_or(0, |head| head.next).min(self.cluster.log(number).stable)
    }

    // What happens between a message and its arrival.

    pub(crate) fn gate(&mut self, index: usize, fate: Fate) -> Check {
        let what = self.gates.look(index);
        self.note(|| format!("committer {} {} {:?}: {fate:?}", what.node, what.call, what.direction));
        self.gates.decide(index, fate);
        self.settle_tasks()
    }

    /// A message of the network arrives.
    pub(crate) fn arrive(&mut self, nth: usize) -> Check {
        let arrived = self.network.arrive(nth, &self.nodes, &mut self.executor);
        if let Some((call, reply)) = arrived {
            if let Some(refusal) = reply.unavailable().and_then(refusal_name) {
                self.counts.add(refusal, 1);
            }
            self.deliver(call, reply)?;
        }
        self.settle_tasks()
    }

    /// To whoever still waits for it.
    fn deliver(&mut self, call: u64, reply: Reply) -> Check {
        if self.operator.as_ref().is_some_and(|errand| errand.sent == Some(call)) {
            self.operator_told(reply);
            return Ok(());
        }
        let waits = |seat: &Seat| match (&seat.inspecting, &seat.request) {
            (Some(Inspecting::Sent(number)), _) if *number == call => true,
            (_, Some(Request::Sent(number, _))) => *number == call,
            _ => false,
        };
        let Some(which) = self.seats.iter().position(waits) else { return Ok(()) };
        let seat = &mut self.seats[which];
        match (seat.request.take(), reply) {
            (Some(Request::Sent(number, signed)), reply) if number == call => {
                let answer = answered(&signed, reply);
                self.answer(which, &signed, answer)
            }
            (request, reply) => {
                seat.request = request;
                let key = &self.keys.ingest[seat.key];
                match inspected(self.keys.id(), seat.partition, key, reply) {
                    Ok(answer) => {
                        seat.inspecting = Some(Inspecting::Answered(Box::new(answer)));
                        Ok(())
                    }
                    Err(error) => {
                        seat.inspecting = None;
                        self.step(which, Input::Inspected(Err(error)))
                    }
                }
            }
        }
    }

    fn answer(&mut self, which: usize, signed: &[SignedStatement], answer: Answer) -> Check {
        if let Answer::Decided { refused: Some(refused), .. } = &answer {
            let code = refused.code.clone();
            self.counts.add("refused statements", 1);
            self.note(|| format!("refused: {code}"));
        }
        if self.broken == Some(Broken::SignsAgain) && self.sign_again(which, signed, &answer) {
            return Ok(());
        }
        self.step(which, Input::Answered(answer))
    }

    // What the ingest-consumers do.

    /// The client of a seat gives up waiting: the committer may get the request all the same.
    pub(crate) fn give_up(&mut self, which: usize) -> Check {
        let seat = &mut self.seats[which];
        if let Some(Inspecting::Sent(_)) = seat.inspecting {
            seat.inspecting = None;
            self.count("requests given up");
            return self.step(which, Input::Inspected(Err(InspectError::Unavailable("no answer in time".into()))));
        }
        if let Some(Request::Sent(..)) = seat.request {
            seat.request = None;
            self.count("requests given up");
            let answer = Answer::Unknown { problem: "no answer in time".into(), retry_after_ms: None };
            return self.step(which, Input::Answered(answer));
        }
        Ok(())
    }

    /// What a Kafka client does: it reads the topic of the name, whichever that is.
    pub(crate) fn read(&mut self, which: usize, count: u64) -> Check {
        let seat = &mut self.seats[which];
        let log = self.cluster.log_mut(seat.partition);
        let Some(next) = seat.reader.filter(|_| seat.stream.wants_events()) else { return Ok(()) };
        if !(log.low..=log.stable).contains(&next) {
            seat.reader = None;
            return self.step(which, Input::Stopped("out of range".into()));
        }
        let (events, next) = log.read(next, count);
        let stable = log.stable;
        seat.reader = Some(next);
        self.step(which, Input::Events(&events))?;
        // Unless the events led to another place.
        match self.seats.get(which) {
            Some(seat) if seat.reader == Some(next) && next == stable => self.step(which, Input::End(next)),
            _ => Ok(()),
        }
    }

    /// One stage of an inspection: the committer first, then Kafka.
    pub(crate) fn inspect(&mut self, which: usize, kafka_answers: bool) -> Check {
        let seat = &mut self.seats[which];
        let result = match seat.inspecting.take() {
            None => return Ok(()),
            Some(sent @ Inspecting::Sent(_)) => {
                seat.inspecting = Some(sent);
                return Ok(());
            }
            Some(Inspecting::Asked) => {
                let question = Question::Cursor(partition(seat.partition));
                let node = self.random.index(NODES);
                self.seats[which].inspecting = Some(Inspecting::Sent(self.network.send(node, question)));
                return Ok(());
            }
            Some(Inspecting::Answered(_)) if !kafka_answers => Err(InspectError::Unavailable("no broker".into())),
            Some(Inspecting::Answered(answer)) => {
                let (cursor, standing) = *answer;
                let (log, id) = (self.cluster.log(seat.partition), self.cluster.topic().id.clone());
                let cluster = partition(seat.partition).cluster;
                let log = Log { cluster, topic_id: Some(id), low: log.low, high: log.high() };
                Ok(Inspection { cursor, log, standing })
            }
        };
        self.step(which, Input::Inspected(result))
    }

    /// The first stage of a request: whether the topic is still the same, signing, and off.
    pub(crate) fn submit(&mut self, which: usize, kafka_answers: bool) -> Check {
        let seat = &mut self.seats[which];
        let (id, statements) = match seat.request.take() {
            Some(Request::Unchecked(id, statements)) => (id, statements),
            other => {
                seat.request = other;
                return Ok(());
            }
        };
        if !kafka_answers {
            let answer = Answer::Unknown { problem: "no broker".into(), retry_after_ms: None };
            return self.step(which, Input::Answered(answer));
        }
        if id.as_deref() != Some(&self.cluster.topic().id) {
            return self.step(which, Input::Answered(Answer::OtherTopic));
        }
        let (signed, body) = Seat::sign(statements, &self.keys.ingest[seat.key]);
        let node = self.random.index(NODES);
        let call = self.network.send(node, Question::Submit(body));
        self.seats[which].request = Some(Request::Sent(call, signed));
        Ok(())
    }

    pub(crate) fn tick(&mut self, which: usize) -> Check {
        self.step(which, Input::Tick)
    }

    fn step(&mut self, which: usize, input: Input<'_>) -> Check {
        let mut actions = Vec::new();
        let (now_ms, seat) = (self.now_ms, &mut self.seats[which]);
        let is_news = !matches!(input, Input::Tick | Input::Events([]) | Input::End(_));
        if let Some(trace) = self.trace.as_mut().filter(|_| is_news) {
            let mut text = format!("{input:?}");
            text.truncate(240);
            trace.push(format!("{now_ms:>7} ms  seat {} of partition {}: {text}", seat.number, seat.partition));
        }
        seat.stream.step(now_ms, input, &mut actions);
        for action in actions {
            if self.trace.is_some() && !matches!(action, Action::Submit { .. }) {
                let number = self.seats[which].number;
                self.note(|| format!("seat {number} -> {action:?}"));
            }
            let seat = &mut self.seats[which];
            match action {
                Action::Inspect => seat.inspecting = Some(Inspecting::Asked),
                Action::Read(offset) => seat.reader = Some(offset),
                Action::Submit { topic_id, statements } => {
                    if seat.request.is_some() {
                        return Err("two requests of one stream at a time".to_owned());
                    }
                    seat.request = Some(Request::Unchecked(topic_id, statements));
                }
                Action::NewClient => {
                    let (of, zombie) = (seat.partition, seat.is_zombie);
                    self.seats.remove(which);
                    self.seat(of);
                    let new = self.seats.len() - 1;
                    self.seats[new].is_zombie = zombie;
                    self.counts.add("new clients for a recreated topic", 1);
                    return Ok(());
                }
                Action::Halted(halt) => {
                    self.counts.add(halt_name(&halt), 1);
                    self.check_halt(which, &halt)?;
                }
                Action::Gap(_) => self.counts.add("gaps found", 1),
                Action::LastGone(_) => self.counts.add("last sealed events found compacted away", 1),
                Action::Sealed(_) | Action::Cleared | Action::Trouble(_) => {}
            }
        }
        Ok(())
    }

    /// Nothing halts without a reason.
    fn check_halt(&self, which: usize, halt: &Halt) -> Check {
        let plan = &self.plan;
        let deserved = match halt {
            Halt::Recreated { .. } => plan.recreated,
            // The events of another topic may be met before its id is.
            Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. } => plan.recreated || plan.truncated,
            Halt::CursorWentBack { .. } | Halt::BadCursor { .. } => plan.old_copy,
            Halt::KeyNotGranted { .. } => plan.new_key || plan.old_copy,
            Halt::Unreadable { .. } | Halt::Refused { .. } => plan.old_copy,
            // There is one cluster, and its records are all of one format.
            Halt::Misread { .. } | Halt::OtherCluster { .. } => false,
        };
        let number = self.seats[which].partition;
        if deserved { Ok(()) } else { Err(format!("partition {number} halted without a reason: {halt}")) }
    }

    // What the operator does.

    /// Submits what is not in the chain for sure, and resolves a halt.
    pub(crate) fn operate(&mut self) {
        match &mut self.operator {
            Some(Errand { signed, sent: sent @ None }) => {
                let node = self.random.index(NODES);
                *sent = Some(self.network.send(node, Question::Submit(body(std::slice::from_ref(signed)))));
            }
            Some(_) => {}
            None => {
                if let Some(statement) = self.epoch_needed() {
                    let signed = self.keys.by_operator(statement);
                    self.count("epochs wanted by the operator");
                    self.operator = Some(Errand { signed, sent: None });
                }
            }
        }
    }

    pub(crate) fn change_key(&mut self, action: KeyAction, which: usize) {
        let newest = self.database.look(ORIGIN, |tables| {
            let keys = tables.entries.values().rev();
            let mut keys =
                keys.filter(|row| StatementKind::from_name(&row.kind).is_some_and(StatementKind::is_key_entry));
            keys.next().map(|row| row.statement)
        });
        if let (Some(prev), None) = (newest, &self.operator) {
            let signed = self.keys.change(action, which, prev);
            self.operator = Some(Errand { signed, sent: None });
        }
    }

    /// The operator's connection is gone without an answer.
    pub(crate) fn operator_asks_again(&mut self) {
        if let Some(errand) = &mut self.operator {
            errand.sent = None;
        }
    }

    fn operator_told(&mut self, reply: Reply) {
        match reply {
            // Accepted, or refused because something came in between: then it is made anew.
            Reply::Submitted(Ok(response)) => {
                self.operator = None;
                if let Some(stopped) = response.stopped {
                    self.note(|| format!("the operator's statement is refused: {}", stopped.message));
                }
            }
            _ => self.operator_asks_again(),
        }
    }

    /// The epoch that a halted stream waits for.
    fn epoch_needed(&self) -> Option<Statement> {
        let of_the_log = |halt: &Halt| {
            matches!(
                halt,
                Halt::Recreated { .. } | Halt::Truncated { .. } | Halt::Altered { .. } | Halt::Appeared { .. }
            )
        };
        let halted = self.seats.iter().find(|seat| !seat.is_zombie && seat.stream.halt().is_some_and(of_the_log))?;
        let head = self.head(halted.partition)?;
        let topic = self.cluster.topic();
        // One is enough; whoever is halted still has not looked since.
        if head.id.epoch > 0 {
            return None;
        }
        // In a topic that was recreated nothing is left out.
        let is_same = head.topic_id.as_ref() == Some(&topic.id);
        let start = if is_same { self.cluster.log(halted.partition).low } else { 0 };
        Some(ledger::epoch(self.keys.id(), &head, Some(topic.id.clone()), start))
    }

    /// Whether a key statement about a key is in the chain.
    pub(crate) fn key_entries(&self) -> usize {
        self.database
            .look(ORIGIN, |tables| tables.entries.values().filter(|row| row.kind == StatementKind::Key.name()).count())
    }
}

/// What a committer that does not append says of its reason.
fn refusal_name(why: &str) -> Option<&'static str> {
    [
        ("behind what was signed", "refusals: the database is behind what was signed"),
        ("contradicts what was signed", "refusals: the database contradicts what was signed"),
        ("went back", "refusals: the database went back"),
        ("another chain", "refusals: the database has another chain"),
        ("differ by more than", "refusals: clocks apart"),
        ("has not compared", "refusals: not compared yet"),
    ]
    .into_iter()
    .find_map(|(part, name)| why.contains(part).then_some(name))
}

fn halt_name(halt: &Halt) -> &'static str {
    match halt {
        Halt::Recreated { .. } => "halts: recreated",
        Halt::Truncated { .. } => "halts: truncated",
        Halt::Altered { .. } => "halts: altered",
        Halt::Appeared { .. } => "halts: appeared",
        Halt::Unreadable { .. } => "halts: unreadable",
        Halt::Misread { .. } => "halts: misread",
        Halt::OtherCluster { .. } => "halts: other cluster",
        Halt::CursorWentBack { .. } => "halts: cursor went back",
        Halt::BadCursor { .. } => "halts: bad cursor",
        Halt::KeyNotGranted { .. } => "halts: key not granted",
        Halt::Refused { .. } => "halts: refused",
    }
}
