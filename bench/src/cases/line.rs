//! The line at full speed against a bare consumer.

use std::time::Duration;

use anyhow::Context as _;

use crate::line::Line;
use crate::line::bare::Bare;
use crate::line::fill::Filled;
use crate::{Better, Case, Context, Goal, Measurement, processor};

pub(super) const CASE: Case = Case {
    name: "line",
    about: "Events sealed and committed: ingest-consumer and committer as processes of their own, on Kafka and PostgreSQL \
            (fsync on), from the moment in which the ingest-consumer begins to read a full topic to the moment in which \
            the committer has the last event committed. The baseline is rd_kafka_consume_batch_queue with the same \
            settings and as many handles, which throws the records away. The time of all processors is that of everything on \
            the machine, broker and database too: what it is divided by their number is the least that an event can take. \
            Topics hold some more than is counted, so that the last batch counted is closed as those before it.",
    run,
};

/// Extra records of a topic, so that the last counted batch is closed by its size.
const MORE: f64 = 1.06;

/// Maximum peak memory of the ingest-consumer, by number of partitions.
const MEMORY_MB_MAX: f64 = 200.0;
const MEMORY_PARTITIONS: u32 = 64;

/// A topic to seal.
pub(super) struct Cell {
    pub(super) name: &'static str,
    size: usize,
    pub(super) partitions: u32,
    /// Records of all partitions together, for seconds of work.
    events: u64,
    goal: Option<f64>,
}

pub(super) const CELLS: [Cell; 7] = [
    cell("1 KiB, 1 partition", 1024, 1, 3_400_000),
    cell("1 KiB, 8 partitions", 1024, 8, 3_400_000),
    cell("100 B, 1 partition", 100, 1, 10_000_000),
    cell("100 B, 8 partitions", 100, 8, 10_000_000),
    cell("10 KiB, 1 partition", 10 * 1024, 1, 600_000),
    cell("10 KiB, 8 partitions", 10 * 1024, 8, 600_000),
    Cell { goal: None, ..cell("1 KiB, 64 partitions", 1024, MEMORY_PARTITIONS, 3_400_000) },
];

const fn cell(name: &'static str, size: usize, partitions: u32, events: u64) -> Cell {
    Cell { name, size, partitions, events, goal: Some(0.9) }
}

impl Cell {
    /// Its topic, and the offset up to which each partition is counted.
    pub(super) fn filled<'a>(&self, context: &Context<'a>) -> (Filled<'a>, u64) {
        let Self { size, partitions, events, .. } = *self;
        let until = context.size(events, events / 1000) / u64::from(partitions);
        let per_partition = (until as f64 * MORE) as u64;
        (Filled { size, partitions, per_partition, codec: &context.line.codec }, until)
    }
}

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    CELLS.iter().filter(|cell| context.wants(cell.name)).try_for_each(|cell| measure(context, cell).context(cell.name))
}

fn measure(context: &Context<'_>, cell: &Cell) -> anyhow::Result<()> {
    let Cell { name, partitions, goal, .. } = *cell;
    let (servers, line) = (context.servers, context.line);
    let (filled, until) = cell.filled(context);
    let topic = filled.fill(servers)?;
    let handles = line.handles.min(partitions);
    let rate = |took: Duration| (until * u64::from(partitions)) as f64 / took.as_secs_f64();
    let config = Line::start(servers, &[&topic], line)?.properties()?.shared_by(partitions as usize).consumer(None);
    let bare = Bare { topic: &topic, partitions, until, handles, config };
    let (mut memory, mut stored, mut ours_worked, mut bare_worked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / (until * u64::from(partitions)) as f64;
    let sealed = || {
        // A new ledger each time: sealing begins at offset 0.
        let line = Line::start(servers, &[&topic], line)?;
        let sealed = line.seal(&topic, partitions, until)?;
        memory.push(sealed.memory_peak_bytes as f64 / 1e6);
        stored.push(line.bytes_per_entry(servers)?);
        ours_worked.push(each(sealed.processor_time));
        Ok(rate(sealed.took))
    };
    let consumed = || {
        let busy = processor::busy()?;
        let took = bare.consume()?;
        bare_worked.push(each(processor::busy()?.saturating_sub(busy)));
        Ok(rate(took))
    };
    let (ours, baseline) = context.alternate(sealed, consumed)?;
    let mut measured = Measurement::new(name, "events/s", Better::Higher, ours)
        .against("bare consumer", baseline)
        .setting("events", until * u64::from(partitions))
        .setting("codec", &line.codec)
        .setting("handles", handles);
    for (field, value) in &line.set {
        measured = measured.setting(field, value);
    }
    if let Some(goal) = goal {
        measured = measured.goal(Goal::RatioAtLeast(goal));
    }
    context.record(measured)?;
    // Without the samples of the warm-up turn.
    let [memory, stored, ours_worked, bare_worked] = [memory, stored, ours_worked, bare_worked]
        .map(|mut samples: Vec<f64>| samples.split_off(samples.len() - context.runs));
    let memory = Measurement::new(format!("{name}: peak memory"), "MB", Better::Lower, memory);
    let is_judged = partitions == MEMORY_PARTITIONS;
    context.record(if is_judged { memory.goal(Goal::AtMost(MEMORY_MB_MAX)) } else { memory })?;
    context.record(Measurement::new(format!("{name}: stored per entry"), "B", Better::Lower, stored))?;
    let worked = Measurement::new(format!("{name}: time of all processors"), "µs/event", Better::Lower, ours_worked);
    context.record(worked.against("bare consumer", bare_worked))
}
