//! A case and its context.

use std::cell::RefCell;

use anyhow::Context as _;
use testbed::Scratch;

use crate::line::Options;
use crate::measurement::figure;
use crate::{CaseResults, Measurement, Plan, Servers};

/// A case: a module of `cases`, with an entry in the list there.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name on the command line and in the results, the same as its module's.
    pub name: &'static str,
    /// A description for the report, in one or two sentences.
    pub about: &'static str,
    /// Measures, and passes each measurement to [`Context::record`] at once.
    pub run: fn(&Context<'_>) -> anyhow::Result<()>,
}

/// The context of a case.
pub struct Context<'a> {
    /// Samples per measurement.
    pub runs: usize,
    /// Runs everything small, as a test. The values mean nothing.
    pub quick: bool,
    /// Kafka and PostgreSQL, started at their first use.
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

    /// Whether `--only` selects a measurement of this name.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|words| name.contains(words))
    }

    /// `whole`, or `quick` in a quick run.
    pub fn size<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// An empty folder, removed afterwards.
    pub fn scratch(&self, name: &str) -> Scratch {
        Scratch::new(name)
    }

    /// Takes samples of ours and of the baseline in turns, and swaps their order in each turn, so that slow changes of
    /// the machine affect both alike. A first sample of each warms up and is dropped.
    ///
    /// # Errors
    /// The first error of a measurement.
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

    /// Takes samples without a baseline, after one that warms up.
    ///
    /// # Errors
    /// The first error of a measurement.
    pub fn repeat(&self, mut ours: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
        ours()?;
        (0..self.runs).map(|_| ours()).collect()
    }

    /// Writes a measurement to the results at once, so that a later error does not lose it.
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
