//! Running cases.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::line::Options;
use crate::results::write_machine;
use crate::{Case, CaseResults, Context, Machine, Servers, report};

/// The measurements to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// These, in this order.
    pub cases: Vec<&'static Case>,
    /// Samples of each measurement.
    pub runs: usize,
    /// See [`Context::quick`].
    pub quick: bool,
    /// See [`Context::wants`].
    pub only: Option<String>,
    /// How the line is measured.
    pub line: Options,
}

impl Plan {
    /// Measures, adds the results to the folder, and writes its report.
    ///
    /// # Errors
    /// The first error of a case. Earlier results are in the folder.
    pub fn run(&self, servers: &Servers, folder: &Path) -> anyhow::Result<()> {
        ensure!(self.runs > 0, "--runs 0 would measure nothing");
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for case in &self.cases {
            eprintln!("# {}", case.name);
            let save = |results: &CaseResults| results.add_to(folder);
            let context = Context::new(case, self, servers, &save);
            (case.run)(&context).with_context(|| case.name)?;
        }
        let mut machine = Machine::this();
        machine.versions.extend(servers.versions());
        write_machine(folder, machine)?;
        report::write(folder)
    }
}

/// The name of a run's folder: the date and the machine's name.
pub fn folder_name() -> String {
    let Machine { time, host, .. } = Machine::this();
    format!("{}-{host}", time.strftime("%Y-%m-%d"))
}
