//! The metrics of the anchor. The names are part of the interface: dashboards and alarms use them.

use service::metrics::Counter;

service::catalogue! {
    LOG_SIZE: Gauge = "streamseal_anchor_log_size" ("entries") []
        "Entries in the committer's newest checkpoint.";
    SIZE: Gauge = "streamseal_anchor_size" ("entries") []
        "Entries in the newest anchor.";
    LAG: Gauge = "streamseal_anchor_lag_entries" ("entries") []
        "Entries that the log signed and that are not anchored yet.";
    TIME: Gauge = "streamseal_anchor_time_seconds" ("seconds since 1970") []
        "Time of the newest anchor.";
    ANCHORS: Counter = "streamseal_anchor_anchors_total" ("anchors") []
        "Anchors that this process made.";
    COMPLETIONS: Counter = "streamseal_anchor_completions_total" ("anchors") []
        "Anchors that this process committed again with late cosignatures.";
    LOG_FAULTS: Counter = "streamseal_anchor_log_faults_total" ("faults") ["kind"]
        "Faults of the log: untrusted, or a contradiction to what was signed before.";
    REMOTE_TIME: Gauge = "streamseal_anchor_remote_time_seconds" ("seconds since 1970") ["remote"]
        "When the remote was last known to hold all anchors.";
    PUSHES: Counter = "streamseal_anchor_pushes_total" ("pushes") ["remote"]
        "Pushes to the remote.";
    PUSH_FAILURES: Counter = "streamseal_anchor_push_failures_total" ("pushes") ["remote"]
        "Pushes to the remote that failed; each is tried again.";
    REMOTE_INCIDENTS: Counter = "streamseal_anchor_incidents_total" ("incidents") ["remote"]
        "Incidents at the remote: its branch is not the one that this anchor pushed.";
    WITNESS_OWES: Gauge = "streamseal_anchor_witness_owes" ("0 or 1") ["witness"]
        "Whether the witness has not cosigned the newest anchor yet.";
    COSIGNATURES: Counter = "streamseal_anchor_cosignatures_total" ("cosignatures") ["witness"]
        "Cosignatures that the witness gave.";
    WITNESS_FAILURES: Counter = "streamseal_anchor_witness_failures_total" ("requests") ["witness"]
        "Requests to the witness that failed; each is made again.";
}

/// What the part that makes anchors counts.
pub(crate) struct MakerMetrics {
    pub(crate) anchors: Counter,
    pub(crate) completions: Counter,
    /// The log offered something that must not be trusted.
    pub(crate) untrusted: Counter,
    /// The log contradicts what it signed before.
    pub(crate) contradictions: Counter,
}

impl MakerMetrics {
    pub(crate) fn new() -> Self {
        Self {
            anchors: ANCHORS.with([]),
            completions: COMPLETIONS.with([]),
            untrusted: LOG_FAULTS.with(["untrusted"]),
            contradictions: LOG_FAULTS.with(["contradiction"]),
        }
    }
}

/// Shows the newest anchor.
pub(crate) fn show_anchored(size: u64, time: u64) {
    SIZE.with([]).set(size as f64);
    TIME.with([]).set(time as f64);
}
