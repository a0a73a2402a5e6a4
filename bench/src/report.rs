//! The report of a run: `report.md` and plots beside its raw results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::measurement::figure;
use crate::statistics::{median, range};
use crate::{CaseResults, Machine, Measurement, Results, plot};

/// Writes `report.md` and the plots into the folder of a run.
///
/// # Errors
/// When the run cannot be read or the folder cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let results = Results::read(folder)?;
    let mut text = head(&results.machine);
    for case in &results.cases {
        text += &section(case);
        for (name, svg) in plot::plots(case)? {
            let file = format!("{}-{name}.svg", case.case);
            fs::write(folder.join(&file), svg).with_context(|| file.clone())?;
            let _ = writeln!(text, "\n![{}: {name}]({file})", case.case);
        }
    }
    let path = folder.join("report.md");
    fs::write(&path, text).with_context(|| path.display().to_string())
}

fn head(machine: &Machine) -> String {
    let Machine { time, host, processor, cores, memory_mib, kernel, versions } = machine;
    let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "# Benchmarks on {host}, {time}\n\n{processor}, {cores} cores, {memory_mib} MiB, {kernel}; {}.\n\nValues are \
         medians, with the smallest and the largest in parentheses. A ratio is the median of ours divided by that of the \
         baseline; both were measured in turns, and in parentheses are the smallest and the largest ratio of a turn.\n",
        versions.join(", ")
    )
}

fn section(case: &CaseResults) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", case.case, case.about);
    text += "| what | unit | ours | baseline | ratio | goal | met |\n|---|---|--:|--:|--:|---|---|\n";
    for measured in &case.measurements {
        text += &row(measured);
    }
    for run in case.measurements.chunk_by(|a, b| a.commit == b.commit).filter(|run| !run[0].commit.is_empty()) {
        let names: Vec<_> = run.iter().map(|measured| measured.name.as_str()).collect();
        let what = if run.len() == case.measurements.len() { "All of it".to_owned() } else { names.join("; ") };
        let _ = writeln!(text, "\n{what}: commit {}.", run[0].commit);
    }
    let settings: Vec<_> = case.measurements.iter().filter(|measured| !measured.settings.is_empty()).collect();
    if !settings.is_empty() {
        text += "\nSettings:\n\n";
        for measured in settings {
            let pairs: Vec<_> = measured.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let _ = writeln!(text, "- {}: {}", measured.name, pairs.join(", "));
        }
    }
    for measured in case.measurements.iter().filter(|measured| !measured.percentiles.is_empty()) {
        let values: Vec<_> =
            measured.percentiles.iter().map(|(at, value)| format!("p{at} {}", figure(*value))).collect();
        let _ = writeln!(text, "\n{}, {}: {}.", measured.name, measured.unit, values.join(", "));
    }
    text
}

fn row(measured: &Measurement) -> String {
    let baseline = measured.baseline.as_ref();
    let baseline = baseline.map(|baseline| format!("{}: {}", baseline.name, with_range(&baseline.samples)));
    let ratio = measured.ratio().zip(measured.ratio_range());
    let ratio = ratio.map(|(ratio, (low, high))| format!("{ratio:.3} ({low:.3}–{high:.3})"));
    let goal = measured.goal.map(|goal| goal.to_string());
    let met = measured.is_met().map(|met| if met { "yes" } else { "**no**" });
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        measured.name,
        measured.unit,
        with_range(&measured.samples),
        baseline.unwrap_or_default(),
        ratio.unwrap_or_default(),
        goal.unwrap_or_default(),
        met.unwrap_or_default()
    )
}

fn with_range(samples: &[f64]) -> String {
    let (low, high) = range(samples);
    format!("{} ({}–{})", figure(median(samples)), figure(low), figure(high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::write_machine;
    use crate::{Better, Goal};

    #[test]
    fn report_has_a_row_per_measurement() {
        let folder = testbed::Scratch::new("report");
        write_machine(folder.path(), Machine::this()).unwrap();
        let rate = Measurement::new("1 KiB", "events/s", Better::Higher, vec![900_000.0, 950_000.0, 1_000_000.0])
            .against("bare consumer", vec![1_000_000.0; 3])
            .goal(Goal::RatioAtLeast(0.9))
            .setting("codec", "lz4");
        let latency = Measurement::new("latency", "ms", Better::Lower, vec![21.0])
            .goal(Goal::AtMost(20.0))
            .percentiles(vec![(50.0, 21.0), (99.0, 42.0)]);
        let case = CaseResults { case: "made-up".into(), about: "Made up.".into(), measurements: vec![rate, latency] };
        case.add_to(folder.path()).unwrap();
        write(folder.path()).unwrap();
        let text = fs::read_to_string(folder.join("report.md")).unwrap();
        for row in [
            "| 1 KiB | events/s | 950,000 (900,000–1,000,000) | bare consumer: 1,000,000 (1,000,000–1,000,000) | \
             0.950 (0.900–1.000) | ratio ≥ 0.9 | yes |",
            "| latency | ms | 21 (21–21) |  |  | ≤ 20 | **no** |",
            "- 1 KiB: codec lz4",
            "latency, ms: p50 21, p99 42.",
            "![made-up: samples](made-up-samples.svg)",
            "![made-up: percentiles](made-up-percentiles.svg)",
        ] {
            assert!(text.contains(row), "{row}\nis not in\n{text}");
        }
        let plot = fs::read_to_string(folder.join("made-up-samples.svg")).unwrap();
        assert!(plot.contains("<svg") && plot.contains("1 KiB"), "{plot}");
    }
}
