//! A measurement: a row of the report.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::COMMIT;
use crate::statistics::{median, range};

/// The samples of one measurement, and its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Its name, such as `1 KiB, 8 partitions`; unique in its case.
    pub name: String,
    /// The unit of all samples, such as `events/s`.
    pub unit: String,
    /// Whether more is better.
    pub better: Better,
    /// One value per run.
    pub samples: Vec<f64>,
    /// The baseline, sampled in turns with ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// The goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Percentiles (0 to 100) and their values over all runs, if a distribution was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub percentiles: Vec<(f64, f64)>,
    /// Other settings that are needed to repeat it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The measured commit; empty if it is unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Rates.
    Higher,
    /// Times, memory.
    Lower,
}

/// The baseline of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its name, such as `bare consumer`.
    pub name: String,
    /// One value per run, in the same unit. The n-th was taken right before or after the n-th of ours.
    pub samples: Vec<f64>,
}

/// A goal for the median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Ours divided by the baseline.
    RatioAtLeast(f64),
    /// Ours divided by the baseline.
    RatioAtMost(f64),
    /// In the unit of the samples.
    AtLeast(f64),
    /// In the unit of the samples.
    AtMost(f64),
}

impl Measurement {
    /// A measurement without baseline and goal.
    ///
    /// # Panics
    /// When there is no sample.
    pub fn new(name: impl Into<String>, unit: &str, better: Better, samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            better,
            samples,
            baseline: None,
            goal: None,
            percentiles: Vec::new(),
            settings: BTreeMap::new(),
            commit: COMMIT.to_owned(),
        }
    }

    /// Adds a baseline.
    ///
    /// # Panics
    /// When the numbers of samples differ.
    pub fn against(mut self, name: &str, samples: Vec<f64>) -> Self {
        assert_eq!(samples.len(), self.samples.len(), "the baseline is measured in turns with ours");
        self.baseline = Some(Baseline { name: name.to_owned(), samples });
        self
    }

    /// Adds a goal.
    ///
    /// # Panics
    /// When the goal is a ratio and there is no baseline.
    pub fn goal(mut self, goal: Goal) -> Self {
        let is_ratio = matches!(goal, Goal::RatioAtLeast(_) | Goal::RatioAtMost(_));
        assert!(!is_ratio || self.baseline.is_some(), "a ratio to what?");
        self.goal = Some(goal);
        self
    }

    /// Adds percentiles of the distribution.
    pub fn percentiles(mut self, percentiles: Vec<(f64, f64)>) -> Self {
        self.percentiles = percentiles;
        self
    }

    /// Adds a setting.
    pub fn setting(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// The median of the samples.
    pub fn median(&self) -> f64 {
        median(&self.samples)
    }

    /// The median divided by the baseline's.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.median() / median(&self.baseline.as_ref()?.samples))
    }

    /// Each sample divided by the baseline's sample of the same turn. A busy moment of the machine affects both alike.
    pub fn ratios(&self) -> Option<Vec<f64>> {
        let baseline = self.baseline.as_ref()?;
        Some(self.samples.iter().zip(&baseline.samples).map(|(ours, theirs)| ours / theirs).collect())
    }

    /// The smallest and the largest of [`ratios`](Self::ratios).
    pub fn ratio_range(&self) -> Option<(f64, f64)> {
        self.ratios().map(|ratios| range(&ratios))
    }

    /// Whether the goal is reached, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match goal {
            Goal::RatioAtLeast(least) => self.ratio()? >= least,
            Goal::RatioAtMost(most) => self.ratio()? <= most,
            Goal::AtLeast(least) => self.median() >= least,
            Goal::AtMost(most) => self.median() <= most,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RatioAtLeast(least) => write!(f, "ratio ≥ {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio ≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {}", figure(least)),
            Self::AtMost(most) => write!(f, "≤ {}", figure(most)),
        }
    }
}

/// A number with three significant digits and separated thousands.
pub(crate) fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    // 1234567 is 1,230,000.
    let step = 10f64.powi((value.abs().log10().floor() as i32 - 2).max(0));
    let text = format!("{:.decimals$}", (value / step).round_ties_even() * step);
    let text = if decimals > 0 { format!("{value:.decimals$}") } else { text };
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction.map(|fraction| fraction.trim_end_matches('0')) {
        Some(fraction) if !fraction.is_empty() => format!("{grouped}.{fraction}"),
        _ => grouped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_count() {
        for (value, text) in [
            (1_234_567.0, "1,230,000"),
            (999.6, "1,000"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.0, "1"),
            (0.91234, "0.912"),
            (-1234.0, "-1,230"),
            (0.0, "0"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn a_goal_is_judged_by_the_medians() {
        let measured = Measurement::new("x", "events/s", Better::Higher, vec![9.0, 8.0, 100.0])
            .against("bare", vec![10.0, 10.0, 10.0])
            .goal(Goal::RatioAtLeast(0.9));
        assert_eq!(measured.ratio(), Some(0.9));
        assert_eq!(measured.ratio_range(), Some((0.8, 10.0)));
        assert_eq!(measured.is_met(), Some(true));
        assert_eq!(measured.clone().goal(Goal::RatioAtMost(0.8)).is_met(), Some(false));
        assert_eq!(measured.clone().goal(Goal::AtLeast(9.5)).is_met(), Some(false));
        assert_eq!(measured.goal(Goal::AtMost(9.5)).is_met(), Some(true));
    }
}
