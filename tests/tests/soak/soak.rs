//! A long load that the line easily sustains.

use std::time::Duration;

use crate::flat::{Bound, Bounds};
use crate::run::{Plan, run};

const EVENTS_S: u64 = 2_000;

#[test]
fn usage_stays_level_under_a_long_load() {
    let plan = Plan {
        name: "soak",
        what: "2,000 events a second on 2 topics of 4 partitions each, a batch five times a second of each, an anchor a \
               second",
        topics: 2,
        partitions: 4,
        batch_events: 4096,
        bounds: Bounds {
            resident_mib: Bound { peak: 64.0, growth: 1.0 },
            // The anchor opens a pack every 256 anchors, up to four.
            descriptors: Bound { peak: 128.0, growth: 4.0 },
            threads: Bound { peak: 32.0, growth: 0.5 },
        },
    };
    run(&plan, |stage| {
        stage.begin("load", EVENTS_S);
        stage.hold(stage.lasting(Duration::from_secs(8)));
        (None, Vec::new())
    });
}
