//! The metrics of the process, and the recorder behind the metrics of all services.
//!
//! Each service declares its metrics in its own `metrics.rs` with [`catalogue!`](crate::catalogue), and calls
//! [`install`] with them before it makes a handle.

mod family;
mod process;

use std::fmt::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
pub use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::family::{Family, Handle, Kind, Metric};
use self::process::Process;
use crate::health::{Health, WeakHealth};

crate::catalogue! {
    BUILD_INFO: Gauge = "streamseal_build_info" ("always 1") ["version", "os", "arch"]
        "Always 1; the labels say what runs here.";
    READY: Gauge = "streamseal_ready" ("0 or 1") ["component"]
        "Whether the component is ready. The reason is in /readyz.";
    LOG_LINES_DROPPED: Counter = "streamseal_log_lines_dropped_total" ("lines") []
        "Log lines that could not be written to standard error.";
    CPU_SECONDS: Counter = "process_cpu_seconds_total" ("seconds") []
        "Processor time of this process, user and system.";
    RESIDENT_BYTES: Gauge = "process_resident_memory_bytes" ("bytes") []
        "Memory of this process that is resident.";
    OPEN_FDS: Gauge = "process_open_fds" ("file descriptors") []
        "File descriptors that this process has open.";
    MAX_FDS: Gauge = "process_max_fds" ("file descriptors") []
        "File descriptors that this process may have open.";
    START_SECONDS: Gauge = "process_start_time_seconds" ("seconds since 1970") []
        "When this process started.";
}

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// The health of each service in this process.
static HEALTHS: Mutex<Vec<WeakHealth>> = Mutex::new(Vec::new());

/// Upper bounds of the histogram buckets, in seconds, for metrics named `..._seconds`.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Installs the recorder, and describes these metrics. All services of a process share the recorder.
///
/// # Errors
/// When another library has installed a recorder of its own, or a thread cannot be started.
pub fn install(metrics: &[Metric]) -> anyhow::Result<()> {
    install_recorder()?;
    metrics.iter().for_each(Metric::describe);
    Ok(())
}

fn install_recorder() -> anyhow::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .context("histogram buckets")?
        .install_recorder()
        .context("install the metrics recorder")?;
    // Samples of histograms pile up until something puts them into buckets, even if nobody asks for /metrics.
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
    METRICS.iter().for_each(Metric::describe);
    BUILD_INFO.with([env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH]).set(1.0);
    HANDLE.set(handle).map_err(|_| anyhow::anyhow!("the metrics recorder was installed twice"))
}

/// Shows the readiness of a service's components in /metrics, as long as the service runs.
pub(crate) fn show_readiness(health: &Health) {
    let mut healths = HEALTHS.lock().unwrap_or_else(PoisonError::into_inner);
    healths.retain(WeakHealth::is_alive);
    healths.push(health.downgrade());
}

/// The current values in Prometheus' text format; empty when [`install`] was not called.
pub fn render() -> String {
    let Some(handle) = HANDLE.get() else { return String::new() };
    // The log counts by itself, because it can drop lines before there is a recorder.
    LOG_LINES_DROPPED.with([]).absolute(crate::logging::dropped());
    let mut text = handle.render();
    write_readiness(&mut text);
    write_process(&mut text, &Process::now());
    text
}

/// The recorder could not forget a component that was removed.
fn write_readiness(text: &mut String) {
    let healths = HEALTHS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ready = std::collections::BTreeMap::<String, bool>::new();
    for (name, is_ready) in healths.iter().flat_map(WeakHealth::components) {
        *ready.entry(name).or_insert(true) &= is_ready;
    }
    if !ready.is_empty() {
        write_head(text, &READY.metric());
    }
    for (name, is_ready) in ready {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let value = u8::from(is_ready);
        writeln!(text, "{}{{component=\"{name}\"}} {value}", READY.metric().name).expect("a string takes everything");
    }
}

/// Written here because the recorder's counters count whole numbers.
fn write_process(text: &mut String, process: &Process) {
    for (metric, value) in [
        (CPU_SECONDS.metric(), process.cpu_seconds),
        (RESIDENT_BYTES.metric(), process.resident_bytes),
        (OPEN_FDS.metric(), process.open_fds),
        (MAX_FDS.metric(), process.max_fds),
        (START_SECONDS.metric(), process.start_seconds),
    ] {
        if let Some(value) = value {
            write_head(text, &metric);
            writeln!(text, "{} {value}", metric.name).expect("a string takes everything");
        }
    }
}

fn write_head(text: &mut String, metric: &Metric) {
    let Metric { name, kind, help, .. } = metric;
    write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()).expect("a string takes everything");
}
