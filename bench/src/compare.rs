//! Compares two runs, and finds what got worse beyond noise.
//!
//! With a baseline, it compares the ratios to the baseline of each turn, so a slower or busier machine does not look
//! like a slower program. Without one, it compares the samples, on the same kind of machine only.
//!
//! A measurement is *worse* if its median is worse by more than `CHANGE_MIN`, and if samples of one distribution
//! would differ this much with a chance below `CHANCE_MAX`, by the one-sided exact Mann-Whitney test. With five
//! samples against five, at most one of 25 pairs may point the other way. *Better* is the reverse. Among dozens of
//! rows, one is sometimes worse by chance: measure it again before you look for a cause.

use std::fmt;
use std::path::Path;

use crate::measurement::figure;
use crate::statistics::{chance_of_higher, median};
use crate::{Better, Measurement, Results};

/// Changes below 3 % do not matter.
const CHANGE_MIN: f64 = 0.03;

const CHANCE_MAX: f64 = 0.01;

/// The result of comparing one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Beyond noise.
    Worse,
    /// Beyond noise.
    Better,
    /// Within noise.
    Same,
    /// Too few samples to tell a difference from noise.
    TooFew,
    /// Absolute values of different machines.
    OtherMachine,
}

/// Two runs, measurement by measurement.
#[derive(Debug)]
pub struct Comparison {
    rows: Vec<Row>,
    /// Measurements that only one run has.
    unpaired: Vec<String>,
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: String,
    old: f64,
    new: f64,
    outcome: Outcome,
}

/// Compares the runs in two folders.
///
/// # Errors
/// When one cannot be read.
pub fn compare_folders(old: &Path, new: &Path) -> anyhow::Result<Comparison> {
    Ok(compare(&Results::read(old)?, &Results::read(new)?))
}

/// Compares two runs.
pub fn compare(old: &Results, new: &Results) -> Comparison {
    let same_machine = old.machine.is_like(&new.machine);
    let (mut rows, mut unpaired) = (Vec::new(), Vec::new());
    for (case, after) in new.measurements() {
        let name = format!("{case}: {}", after.name);
        let is_it = |(other, before): &(&str, &Measurement)| *other == case && before.name == after.name;
        match old.measurements().find(is_it) {
            Some((_, before)) if before.unit == after.unit => rows.push(row(name, before, after, same_machine)),
            Some(_) => unpaired.push(format!("{name} (in another unit)")),
            None => unpaired.push(format!("{name} (only new)")),
        }
    }
    for (case, before) in old.measurements() {
        if !new.measurements().any(|(other, after)| other == case && before.name == after.name) {
            unpaired.push(format!("{case}: {} (only old)", before.name));
        }
    }
    Comparison { rows, unpaired }
}

fn row(name: String, before: &Measurement, after: &Measurement, same_machine: bool) -> Row {
    let ratios = before.ratios().zip(after.ratios());
    let unit = if ratios.is_some() { "ratio" } else { &after.unit };
    let comparable = same_machine || ratios.is_some();
    let (old, new) = ratios.unwrap_or_else(|| (before.samples.clone(), after.samples.clone()));
    let outcome = if comparable { outcome(&old, &new, after.better) } else { Outcome::OtherMachine };
    Row { name, unit: unit.to_owned(), old: median(&old), new: median(&new), outcome }
}

fn outcome(old: &[f64], new: &[f64], better: Better) -> Outcome {
    let (low, high) = (f64::MIN, f64::MAX);
    if chance_of_higher(&vec![high; new.len()], &vec![low; old.len()]) >= CHANCE_MAX {
        return Outcome::TooFew;
    }
    let (rise, fall) = match better {
        Better::Higher => (Outcome::Better, Outcome::Worse),
        Better::Lower => (Outcome::Worse, Outcome::Better),
    };
    let change = median(new) / median(old) - 1.0;
    if change > CHANGE_MIN && chance_of_higher(new, old) < CHANCE_MAX {
        rise
    } else if change < -CHANGE_MIN && chance_of_higher(old, new) < CHANCE_MAX {
        fall
    } else {
        Outcome::Same
    }
}

impl Comparison {
    /// Whether a measurement got worse.
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.outcome == Outcome::Worse)
    }

    /// The result for a measurement, by `case: name`.
    pub fn outcome(&self, name: &str) -> Option<Outcome> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.outcome)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| measurement | unit | old | new | change | |\n|---|---|--:|--:|--:|---|")?;
        for Row { name, unit, old, new, outcome } in &self.rows {
            let change = (new / old - 1.0) * 100.0;
            writeln!(f, "| {name} | {unit} | {} | {} | {change:+.1} % | {outcome} |", figure(*old), figure(*new))?;
        }
        if !self.unpaired.is_empty() {
            writeln!(f, "\nNot compared: {}.", self.unpaired.join(", "))?;
        }
        let worse = self.rows.iter().filter(|row| row.outcome == Outcome::Worse).count();
        writeln!(f, "\n{worse} of {} measurements got worse beyond noise.", self.rows.len())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worse => "**worse**",
            Self::Better => "better",
            Self::Same => "within noise",
            Self::TooFew => "too few samples to tell",
            Self::OtherMachine => "another machine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CaseResults, Machine};

    fn run(measurements: Vec<Measurement>) -> Results {
        let case = CaseResults { case: "made-up".into(), about: "values made up".into(), measurements };
        Results { machine: Machine::this(), cases: vec![case] }
    }

    fn rate(samples: &[f64]) -> Measurement {
        Measurement::new("rate", "events/s", Better::Higher, samples.to_vec())
    }

    fn outcome_of(old: Measurement, new: Measurement) -> Outcome {
        compare(&run(vec![old]), &run(vec![new])).outcome("made-up: rate").expect("both have it")
    }

    /// Five values with a realistic spread around one, the same every time.
    fn noisy(around: f64, seed: u32) -> Vec<f64> {
        let noise = |i: u32| f64::from((seed * 5 + i).wrapping_mul(2_654_435_761) >> 16) / 65_536.0 - 0.5;
        (0..5).map(|i| around * (1.0 + 0.04 * noise(i))).collect()
    }

    #[test]
    fn worse_results_are_found_in_either_direction() {
        let (high, low) = (rate(&[100.0, 101.0, 99.0, 100.5, 100.2]), rate(&[90.0, 91.0, 89.0, 90.5, 90.2]));
        assert_eq!(outcome_of(high.clone(), low.clone()), Outcome::Worse);
        assert_eq!(outcome_of(low.clone(), high.clone()), Outcome::Better);
        let time = |measured: Measurement| Measurement { better: Better::Lower, ..measured };
        assert_eq!(outcome_of(time(low), time(high)), Outcome::Worse);
    }

    #[test]
    fn small_changes_and_wild_samples_are_noise() {
        let steady = rate(&[100.0, 100.1, 99.9, 100.0, 100.05]);
        assert_eq!(outcome_of(steady.clone(), rate(&[98.0, 98.1, 97.9, 98.0, 98.05])), Outcome::Same);
        assert_eq!(outcome_of(steady, rate(&[80.0, 120.0, 85.0, 110.0, 90.0])), Outcome::Same);
    }

    #[test]
    fn noise_rarely_counts_as_a_change() {
        let changed = (0..1000).filter(|i| {
            let (old, new) = (noisy(100.0, 2 * i), noisy(100.0, 2 * i + 1));
            outcome(&old, &new, Better::Higher) != Outcome::Same
        });
        assert!(changed.count() < 10);
    }

    #[test]
    fn a_tenth_is_found_under_noise() {
        let found = (0..1000).filter(|i| {
            let (old, new) = (noisy(100.0, 2 * i), noisy(90.0, 2 * i + 1));
            outcome(&old, &new, Better::Higher) == Outcome::Worse
        });
        assert_eq!(found.count(), 1000);
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_program() {
        let compared = |ours: &[f64], bare: &[f64]| rate(ours).against("bare", bare.to_vec());
        let old = compared(&[95.0, 94.0, 96.0, 95.5, 94.5], &[100.0; 5]);
        let slower = compared(&[47.5, 47.0, 48.0, 47.7, 47.3], &[50.0; 5]);
        assert_eq!(outcome_of(old.clone(), slower), Outcome::Same);
        assert_eq!(outcome_of(old, compared(&[80.0, 81.0, 79.0, 80.5, 80.1], &[100.0; 5])), Outcome::Worse);
    }

    #[test]
    fn other_machines_and_few_samples_are_not_judged() {
        let (old, mut new) = (run(vec![rate(&[100.0; 5])]), run(vec![rate(&[50.0; 5])]));
        new.machine.processor += " of another kind";
        assert_eq!(compare(&old, &new).outcome("made-up: rate"), Some(Outcome::OtherMachine));
        assert_eq!(outcome_of(rate(&[100.0; 3]), rate(&[50.0; 3])), Outcome::TooFew);
    }

    #[test]
    fn what_only_one_run_has_is_named() {
        let other = Measurement::new("time", "ms", Better::Lower, vec![1.0; 5]);
        let text = compare(&run(vec![rate(&[1.0; 5])]), &run(vec![other])).to_string();
        assert!(text.contains("made-up: time (only new), made-up: rate (only old)"), "{text}");
    }
}
