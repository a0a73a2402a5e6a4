//! Leaves and the batch tree against hashing the same bytes in one piece, on one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use evidence::batch::RootBuilder;
use evidence::{EventRef, LeafHasher, TimestampType};
use ingest_consumer::{BATCH_BYTES, BATCH_EVENTS};

use crate::{Better, Case, Context, Goal, Measurement};

pub(super) const CASE: Case = Case {
    name: "leaves",
    about: "Bytes of values hashed to leaves and folded to a batch's root, in batches of 16,384 events as the \
            ingest-consumer has them, against BLAKE3 over the same bytes in one piece, which is all that b3sum on one \
            thread does besides reading its file.",
    run,
};

/// Bytes of values, hashed repeatedly in each sample. More than a core's cache holds, because events come from memory.
const BYTES: usize = 64 << 20;

/// The smallest value with a goal.
const GOAL_FROM_BYTES: usize = 256;

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let bytes: Vec<u8> = (0..BYTES).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let least = context.size(Duration::from_millis(500), Duration::from_millis(1));
    for (size, name) in [
        (64, "64 B"),
        (100, "100 B"),
        (256, "256 B"),
        (512, "512 B"),
        (1 << 10, "1 KiB"),
        (4 << 10, "4 KiB"),
        (10 << 10, "10 KiB"),
        (16 << 10, "16 KiB"),
        (64 << 10, "64 KiB"),
    ] {
        if !context.wants(name) {
            continue;
        }
        let mut hasher = LeafHasher::new();
        let ours = || Ok(rate(least, bytes.len() / size * size, || seal(&mut hasher, &bytes, size)));
        let baseline = || {
            Ok(rate(least, bytes.len(), || {
                black_box(blake3::hash(black_box(&bytes)));
            }))
        };
        let (ours, baseline) = context.alternate(ours, baseline)?;
        let mut measured = Measurement::new(name, "bytes/s", Better::Higher, ours).against("BLAKE3", baseline);
        if size >= GOAL_FROM_BYTES {
            measured = measured.goal(Goal::RatioAtLeast(0.8));
        }
        context.record(measured)?;
    }
    Ok(())
}

/// Bytes per second through `work`, measured over at least `least`.
fn rate(least: Duration, bytes: usize, mut work: impl FnMut()) -> f64 {
    let (begun, mut times) = (Instant::now(), 0);
    while begun.elapsed() < least {
        work();
        times += 1;
    }
    bytes as f64 * f64::from(times) / begun.elapsed().as_secs_f64()
}

/// Leaves and roots of all batches that the bytes make, in values of this size.
fn seal(hasher: &mut LeafHasher, bytes: &[u8], size: usize) {
    let mut events = 0;
    let batch = (BATCH_EVENTS as usize).min(BATCH_BYTES as usize / size);
    for values in bytes.chunks(size * batch) {
        let mut root = RootBuilder::new();
        for value in values.chunks_exact(size) {
            events += 1;
            hasher.push(&EventRef {
                offset: events,
                timestamp: 1_700_000_000_000 + events,
                timestamp_type: TimestampType::Create,
                key: None,
                value: Some(value),
                headers: &[],
            });
        }
        root.extend(hasher.drain().leaves);
        black_box(root.root());
    }
}
