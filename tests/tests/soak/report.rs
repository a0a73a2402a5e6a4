//! The report of a run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::Usage;

use crate::flat::{Bound, Course};
use crate::line::{Proven, SERVICES};
use crate::overload::FILLING_PHASE;
use crate::record::Phase;
use crate::run::Plan;

const MIB: f64 = 1_048_576.0;

/// The results of a run.
pub(crate) struct Report<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) phases: Vec<Phase>,
    /// Time from the end of the overload until the line caught up with the producers.
    pub(crate) recovery: Option<Duration>,
    /// Events refused to producers.
    pub(crate) refused: u64,
    /// The slowest acknowledgement.
    pub(crate) slowest: Duration,
    pub(crate) acknowledged: u64,
    pub(crate) proven: Proven,
    /// Exceeded limits and missing events.
    pub(crate) problems: Vec<String>,
}

/// Usage of a service in a phase: memory in MiB, file descriptors, threads.
struct Row {
    phase: &'static str,
    service: &'static str,
    courses: [Course; 3],
    /// Share of one processor.
    cpu: f64,
}

impl Report<'_> {
    /// Adds all problems that the measurements show.
    pub(crate) fn judge(&mut self) {
        let bounds = self.plan.bounds;
        let judged =
            [("memory (MiB)", bounds.resident_mib), ("descriptors", bounds.descriptors), ("threads", bounds.threads)];
        for Row { phase, service, courses, .. } in self.rows() {
            for ((what, bound), course) in judged.into_iter().zip(courses) {
                let bound = if phase == FILLING_PHASE { Bound { growth: f64::INFINITY, ..bound } } else { bound };
                let problem = course.excess(bound);
                self.problems.extend(problem.map(|problem| format!("{phase}: {what} of {service}: {problem}")));
            }
        }
        if self.refused > 0 {
            self.problems.push(format!("{} events were refused to producers", self.refused));
        }
        if self.proven.events != self.acknowledged {
            self.problems.push(format!("{} events proven of {} produced", self.proven.events, self.acknowledged));
        }
    }

    /// Writes the report as Markdown and JSON.
    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("report.md"), self.markdown()).unwrap();
        fs::write(folder.join("report.json"), format!("{:#}\n", self.json())).unwrap();
    }

    /// Two tables: the line and its services.
    pub(crate) fn markdown(&self) -> String {
        let Self { plan, refused, slowest, acknowledged, proven, .. } = self;
        let mut text = format!("# {}\n\n{}\n\n", plan.name, plan.what);
        let _ = writeln!(
            text,
            "{acknowledged} events produced, {refused} refused, the slowest acknowledged after {:.1} s. {} events in {} \
             entries proven by the verifier in {:.1} s.",
            slowest.as_secs_f64(),
            proven.events,
            proven.entries,
            proven.took.as_secs_f64()
        );
        if let Some(recovery) = self.recovery {
            let _ = writeln!(
                text,
                "Recovered {:.1} s after the overload, while producers went on.",
                recovery.as_secs_f64()
            );
        }
        text += "\n| phase | seconds | produced | sealed | most not sealed | largest lag shown |\n|---|--:|--:|--:|--:|--:|\n";
        for phase in self.phases.iter().filter(|phase| !phase.moments.is_empty()) {
            let (produced, sealed) = phase.progress();
            let (behind, shown) = (phase.most(|moment| moment.behind()), phase.most(|moment| moment.lag_shown));
            let _ = writeln!(
                text,
                "| {} | {} | {produced} | {sealed} | {behind} | {shown} |",
                phase.name,
                phase.moments.len()
            );
        }
        text += "\n| phase | service | memory MiB first, last, peak | growth in its second half | descriptors first, last, peak \
                 | threads first, last, peak | processor |\n|---|---|--:|--:|--:|--:|--:|\n";
        for Row { phase, service, courses: [memory, descriptors, threads], cpu } in self.rows() {
            let Course { first, last, peak, growth, half_s } = memory;
            let counts =
                [descriptors, threads].map(|course| format!("{}, {}, {}", course.first, course.last, course.peak));
            let _ = writeln!(
                text,
                "| {phase} | {service} | {first:.1}, {last:.1}, {peak:.1} | {growth:+.2} in {half_s} s | {} | {} | {:.1} % |",
                counts[0],
                counts[1],
                cpu * 100.0
            );
        }
        text += "\n";
        for problem in &self.problems {
            let _ = writeln!(text, "- **{problem}**");
        }
        text
    }

    fn json(&self) -> Value {
        let phases = self.phases.iter().map(|phase| {
            let (produced, sealed) = phase.progress();
            json!({
                "phase": phase.name,
                "seconds": phase.moments.len(),
                "produced": produced,
                "sealed": sealed,
                "not_sealed_max": phase.most(|moment| moment.behind()),
                "lag_shown_max": phase.most(|moment| moment.lag_shown),
            })
        });
        let services = self.rows().into_iter().map(|Row { phase, service, courses, cpu }| {
            let [memory, descriptors, threads] = courses.map(|course| {
                json!({
                    "first": course.first,
                    "last": course.last,
                    "peak": course.peak,
                    "growth": course.growth,
                    "growth_seconds": course.half_s,
                })
            });
            json!({
                "phase": phase,
                "service": service,
                "resident_mib": memory,
                "descriptors": descriptors,
                "threads": threads,
                "cpu": cpu,
            })
        });
        json!({
            "name": self.plan.name,
            "what": self.plan.what,
            "produced": self.acknowledged,
            "refused": self.refused,
            "slowest_acknowledgement_ms": self.slowest.as_millis() as u64,
            "recovery_ms": self.recovery.map(|recovery| recovery.as_millis() as u64),
            "proven_events": self.proven.events,
            "entries": self.proven.entries,
            "phases": phases.collect::<Vec<_>>(),
            "services": services.collect::<Vec<_>>(),
            "problems": self.problems,
        })
    }

    fn rows(&self) -> Vec<Row> {
        let held = self
            .phases
            .iter()
            .flat_map(|phase| SERVICES.into_iter().zip(&phase.held).map(|(service, held)| (phase.name, service, held)));
        held.filter_map(|(phase, service, held)| {
            let course = |value: fn(&Usage) -> f64| Course::of(&held.iter().map(value).collect::<Vec<_>>());
            let courses = [
                course(|usage| usage.resident_bytes as f64 / MIB)?,
                course(|usage| usage.descriptors as f64)?,
                course(|usage| usage.threads as f64)?,
            ];
            let cpu = held.last()?.cpu.saturating_sub(held.first()?.cpu).as_secs_f64() / (held.len() - 1) as f64;
            Some(Row { phase, service, courses, cpu })
        })
        .collect()
    }
}
