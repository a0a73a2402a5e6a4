//! The raw results of a run: a folder with `machine.json` and a file for each case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Case, Machine, Measurement, cases};

const MACHINE: &str = "machine.json";

/// The measurements of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResults {
    /// Its name.
    pub case: String,
    /// What it measures.
    pub about: String,
    /// In the order of their first measurement.
    pub measurements: Vec<Measurement>,
}

impl CaseResults {
    pub(crate) fn new(case: &Case) -> Self {
        Self { case: case.name.to_owned(), about: case.about.to_owned(), measurements: Vec::new() }
    }

    /// Adds measurements to the folder and replaces those with the same name, so that a run can be made piece by piece.
    pub(crate) fn add_to(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(format!("{}.json", self.case));
        let mut all = if path.exists() { read(&path)? } else { Self { measurements: Vec::new(), ..self.clone() } };
        for measurement in &self.measurements {
            match all.measurements.iter_mut().find(|other| other.name == measurement.name) {
                Some(place) => *place = measurement.clone(),
                None => all.measurements.push(measurement.clone()),
            }
        }
        write(&path, &all)
    }
}

/// All results of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The machine and the versions.
    pub machine: Machine,
    /// In the order of the list of cases. Removed cases come last.
    pub cases: Vec<CaseResults>,
}

impl Results {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// When there is none, or a file is malformed.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let machine = read(&folder.join(MACHINE))?;
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let is_case = path.extension().is_some_and(|end| end == "json") && !path.ends_with(MACHINE);
            if is_case {
                let case: CaseResults = read(&path)?;
                found.insert(case.case.clone(), case);
            }
        }
        let mut cases: Vec<_> = cases::ALL.iter().filter_map(|case| found.remove(case.name)).collect();
        cases.extend(found.into_values());
        Ok(Self { machine, cases })
    }

    /// Every measurement with its case's name.
    pub fn measurements(&self) -> impl Iterator<Item = (&str, &Measurement)> {
        self.cases.iter().flat_map(|case| case.measurements.iter().map(|measured| (case.case.as_str(), measured)))
    }
}

/// Writes machine and versions. Keeps versions that only an earlier piece of the run knew.
pub(crate) fn write_machine(folder: &Path, mut machine: Machine) -> anyhow::Result<()> {
    let path = folder.join(MACHINE);
    if path.exists() {
        let before: Machine = read(&path)?;
        before.versions.into_iter().for_each(|(name, version)| {
            machine.versions.entry(name).or_insert(version);
        });
    }
    write(&path, &machine)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let name = || path.display().to_string();
    serde_json::from_slice(&fs::read(path).with_context(name)?).with_context(name)
}

fn write<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("results are JSON")?;
    fs::write(path, text + "\n").with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Better;

    #[test]
    fn a_run_made_in_pieces_is_one_run() {
        let folder = testbed::Scratch::new("results");
        write_machine(folder.path(), Machine::this()).unwrap();
        let piece = |names: &[&str], value| CaseResults {
            case: "line".into(),
            about: "the line".into(),
            measurements: names.iter().map(|name| Measurement::new(*name, "s", Better::Lower, vec![value])).collect(),
        };
        piece(&["a", "b"], 1.0).add_to(folder.path()).unwrap();
        piece(&["b", "c"], 2.0).add_to(folder.path()).unwrap();
        let run = Results::read(folder.path()).unwrap();
        let values: Vec<_> =
            run.measurements().map(|(_, measured)| (measured.name.as_str(), measured.median())).collect();
        assert_eq!(values, [("a", 1.0), ("b", 2.0), ("c", 2.0)]);
    }
}
