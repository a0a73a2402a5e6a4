//! `streamseal metrics-reference`: generates docs/metrics.md from the declarations of the metrics.

use std::fmt::Write as _;

use service::metrics::Metric;

use crate::output;

/// Each service with a note and its metrics.
const SERVICES: [(&str, &str, &[Metric]); 4] = [
    ("ingest", "Each of these exists for every partition that this process has or had.", ingest_consumer::METRICS),
    ("committer", "The gauges of sizes exist where the signer or the publisher runs.", committer::METRICS),
    ("anchor", "Those with a label exist for every remote or witness.", anchor::METRICS),
    ("Every process", "A process has one set of metrics, even if it runs several services.", service::metrics::METRICS),
];

/// Prints the reference of the metrics as Markdown.
pub(crate) fn run() {
    output::line(markdown().trim_end());
}

fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\nGenerated from the source by `streamseal metrics-reference`; change it there.\n\n\
         Every service serves these at `/metrics`, in Prometheus' text format. Counters start at 0 with the process.\n\
         Histograms have `_bucket`, `_sum` and `_count`. [Alerts](operations.md#alerts) says which of them to alert on.\n",
    );
    for (service, note, metrics) in SERVICES {
        let _ = write!(
            out,
            "\n## {service}\n\n{note}\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
        );
        for Metric { name, kind, unit, labels, help } in metrics {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.name());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Run with UPDATE_REFERENCE=1 to write the file.
    #[test]
    fn metrics_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let markdown = super::markdown();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(path, &markdown).expect("docs/ is writable");
        }
        let committed = std::fs::read_to_string(path).expect("docs/metrics.md is there");
        assert_eq!(committed, markdown, "run `just metrics-reference` and commit the result");
    }

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for metric in super::SERVICES.iter().flat_map(|(_, _, metrics)| *metrics) {
            assert!(names.insert(metric.name), "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.unit.is_empty(), "{}", metric.name);
        }
    }
}
