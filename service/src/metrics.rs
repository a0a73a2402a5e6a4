//! The process-wide recorder behind the macros of the `metrics` crate.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds of the histogram buckets, in seconds, for metrics named `..._seconds`.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Installs the recorder. All services of a process share it: later calls do nothing.
///
/// # Errors
/// When another library has installed a recorder of its own, or a thread cannot be started.
pub fn install() -> anyhow::Result<()> {
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .context("histogram buckets")?
        .install_recorder()
        .context("install the metrics recorder")?;
    // Samples of histograms pile up until they are put into their buckets, also when nobody asks for /metrics.
    let upkeep = handle.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(5));
                upkeep.run_upkeep();
            }
        })
        .context("start the metrics upkeep thread")?;
    HANDLE.set(handle).map_err(|_| anyhow::anyhow!("the metrics recorder was installed twice"))
}

/// The current values in Prometheus' text format; empty when [`install`] was not called.
pub fn render() -> String {
    let Some(handle) = HANDLE.get() else { return String::new() };
    // Counted elsewhere: lines are dropped before there is a recorder too.
    ::metrics::counter!("streamseal_log_lines_dropped_total").absolute(crate::logging::dropped());
    handle.render()
}
