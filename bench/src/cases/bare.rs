//! The cost of our settings for a bare consumer, the baseline of the line.

use std::time::Duration;

use kafka::Properties;

use super::line::{CELLS, Cell};
use crate::line::bare::Bare;
use crate::{Better, Case, Context, Measurement};

pub(super) const CASE: Case = Case {
    name: "bare",
    about: "A bare consumer with the settings of the line (CRCs checked, queues bounded) against one with \
            those that are fastest where one partition is read and nothing is checked.",
    run,
};

/// Overrides of our settings: librdkafka's own fetch-ahead, larger fetches, no CRC checks.
const FASTEST: [(&str, &str); 5] = [
    ("queued.min.messages", "100000"),
    ("queued.max.messages.kbytes", "65536"),
    ("fetch.message.max.bytes", "2097152"),
    ("fetch.max.bytes", "52428800"),
    ("check.crcs", "false"),
];

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    for cell in CELLS.iter().filter(|cell| cell.partitions == 1 && context.wants(cell.name)) {
        let Cell { name, partitions, .. } = *cell;
        let (filled, until) = cell.filled(context);
        let topic = filled.fill(context.servers)?;
        let config = Properties::new([("bootstrap.servers", context.servers.bootstrap())])?.consumer(None);
        let ours = Bare { topic: &topic, partitions, until, handles: 1, config };
        let mut fastest = ours.clone();
        for (property, value) in FASTEST {
            fastest.config.set(property, value);
        }
        let rate = |took: Duration| Ok(until as f64 / took.as_secs_f64());
        let (ours, fastest) = context.alternate(|| rate(ours.consume()?), || rate(fastest.consume()?))?;
        let measured = Measurement::new(name, "events/s", Better::Higher, ours);
        context.record(measured.against("fastest settings", fastest))?;
    }
    Ok(())
}
