//! The metrics of the committer. The names are part of the interface: dashboards and alarms use them.

use std::collections::HashMap;

use evidence::chain::{Refusal, RefusalKind};
use evidence::statement::StatementKind;
use service::metrics::{Counter, Histogram};

service::catalogue! {
    SIZE: Gauge = "streamseal_committer_size" ("entries") []
        "Entries in the database, as the signer last saw it.";
    CHECKPOINT_SIZE: Gauge = "streamseal_committer_checkpoint_size" ("entries") []
        "Entries in the newest signed checkpoint.";
    PUBLISHED_SIZE: Gauge = "streamseal_committer_published_size" ("entries") []
        "Entries that are published to the topic of commitments.";
    ENTRIES: Counter = "streamseal_committer_entries_total" ("entries") ["kind"]
        "Entries that this process appended, by kind of statement.";
    REFUSALS: Counter = "streamseal_committer_refusals_total" ("statements") ["code"]
        "Statements that were refused, by refusal code.";
    APPEND_FAILURES: Counter = "streamseal_committer_append_failures_total" ("transactions") []
        "Transactions that failed; submitters try again.";
    APPEND_SECONDS: Histogram = "streamseal_committer_append_seconds" ("seconds") []
        "Time of one transaction.";
}

/// What the appender counts.
pub(crate) struct AppenderMetrics {
    pub(crate) append_seconds: Histogram,
    /// One per kind of statement, from the start.
    entries: HashMap<&'static str, Counter>,
}

impl AppenderMetrics {
    pub(crate) fn new() -> Self {
        for kind in RefusalKind::ALL {
            let _appears = REFUSALS.with([kind.code()]);
        }
        Self {
            append_seconds: APPEND_SECONDS.with([]),
            entries: StatementKind::ALL.iter().map(|kind| (kind.name(), ENTRIES.with([kind.name()]))).collect(),
        }
    }

    /// Counts entries of one kind.
    pub(crate) fn appended(&self, kind: &str, entries: usize) {
        if let Some(counter) = self.entries.get(kind) {
            counter.increment(entries as u64);
        } else {
            ENTRIES.with([kind]).increment(entries as u64);
        }
    }
}

/// Counts a statement that was refused.
pub(crate) fn refused(refusal: &Refusal) {
    REFUSALS.with([refusal.code()]).increment(1);
}
