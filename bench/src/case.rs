//! What a case is, and what it is given.

use std::cell::RefCell;

use anyhow::Context as _;
use testbed::Scratch;

use crate::line::Options;
use crate::measurement::figure;
use crate::{CaseResults, Measurement, Plan, Servers};

/// Something to measure: a module of `cases`, with one entry in the list there.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name on the command line and in the results: that of its module.
    pub name: &'static str,
    /// What it measures, in a sentence or two for the report.
    pub about: &'static str,
    /// Measures, and hands each measurement to [`Context::record`] as soon as it is there.
    pub run: fn(&Context<'_>) -> anyhow::Result<()>,
}

/// What a case is given.
pub struct Context<'a> {
    /// How many samples are taken of everything.
    pub runs: usize,
    /// To be through in seconds, to see that it works: the values mean nothing.
    pub quick: bool,
    /// Kafka and PostgreSQL, started when they are first asked for.
    pub servers: &'a Servers,
    /// How the line is measured.
    pub line: &'a Options,
    only: Option<&'a str>,
    results: RefCell<CaseResults>,
    save: &'a dyn Fn(&CaseResults) -> anyhow::Result<()>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        case: &Case,
        plan: &'a Plan,
        servers: &'a Servers,
        save: &'a dyn Fn(&CaseResults) -> anyhow::Result<()>,
    ) -> Self {
        let results = RefCell::new(CaseResults::new(case));
        let Plan { runs, quick, only, line, .. } = plan;
        Self { runs: *runs, quick: *quick, servers, line, only: only.as_deref(), results, save }
    }

    /// Whether a measurement of this name was asked for (`--only`).
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|words| name.contains(words))
    }

    /// `whole`, or `quick` when it is only to be seen that things work.
    pub fn size<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// An empty folder that is gone afterwards.
    pub fn scratch(&self, name: &str) -> Scratch {
        Scratch::new(name)
    }

    /// Takes the samples of ours and of what it is compared with in turns, each first in every second: what changes
    /// slowly on the machine does the same to both. One of each before them warms up and is thrown away.
    ///
    /// # Errors
    /// The first of a measurement.
    pub fn alternate(
        &self,
        mut ours: impl FnMut() -> anyhow::Result<f64>,
        mut baseline: impl FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let (mut our_samples, mut baseline_samples) = (Vec::new(), Vec::new());
        baseline().context("the baseline")?;
        ours()?;
        for run in 0..self.runs {
            if run % 2 == 0 {
                our_samples.push(ours()?);
                baseline_samples.push(baseline().context("the baseline")?);
            } else {
                baseline_samples.push(baseline().context("the baseline")?);
                our_samples.push(ours()?);
            }
        }
        Ok((our_samples, baseline_samples))
    }

    /// Takes the samples of something that is compared with nothing, after one that warms up.
    ///
    /// # Errors
    /// The first of a measurement.
    pub fn repeat(&self, mut ours: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
        ours()?;
        (0..self.runs).map(|_| ours()).collect()
    }

    /// Keeps a measurement: written to the results at once, so that what comes later cannot lose it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self, measurement: Measurement) -> anyhow::Result<()> {
        let Measurement { name, unit, .. } = &measurement;
        let ratio = measurement.ratio().map(|ratio| format!(", {ratio:.3} of the baseline")).unwrap_or_default();
        let met = match measurement.is_met() {
            Some(true) => ", goal met",
            Some(false) => ", goal NOT met",
            None => "",
        };
        eprintln!("{name}: {} {unit}{ratio}{met}", figure(measurement.median()));
        let mut results = self.results.borrow_mut();
        results.measurements.push(measurement);
        (self.save)(&results)
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("runs", &self.runs).field("quick", &self.quick).finish_non_exhaustive()
    }
}
