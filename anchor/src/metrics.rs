//! The metrics of the anchor. The names are part of the interface: dashboards and alarms use them.

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
        "How often the log served something untrusted, or contradicted what it signed before.";
    REMOTE_TIME: Gauge = "streamseal_anchor_remote_time_seconds" ("seconds since 1970") ["remote"]
        "When the remote was last known to hold all anchors.";
    PUSHES: Counter = "streamseal_anchor_pushes_total" ("pushes") ["remote"]
        "Pushes to the remote.";
    PUSH_FAILURES: Counter = "streamseal_anchor_push_failures_total" ("pushes") ["remote"]
        "Failed pushes to the remote; each is tried again.";
    REMOTE_INCIDENTS: Counter = "streamseal_anchor_incidents_total" ("incidents") ["remote"]
        "Incidents at the remote: its branch is not the one that this anchor pushed.";
    WITNESS_OWES: Gauge = "streamseal_anchor_witness_owes" ("0 or 1") ["witness"]
        "Whether the newest anchor lacks the cosignature of this witness.";
    COSIGNATURES: Counter = "streamseal_anchor_cosignatures_total" ("cosignatures") ["witness"]
        "Cosignatures that the witness gave.";
    WITNESS_FAILURES: Counter = "streamseal_anchor_witness_failures_total" ("requests") ["witness"]
        "Failed requests to the witness; each is made again.";
}

/// Shows the newest anchor.
pub(crate) fn show_anchored(size: u64, time: u64) {
    SIZE.with([]).set(size as f64);
    TIME.with([]).set(time as f64);
}
