//! Figures that benchmarks count instead of measuring: allocations, bytes.
//!
//! A benchmark prints them as lines of the form
//!
//! ```text
//! counted: NAME: OURS against BASELINE UNIT
//! ```
//!
//! which are kept beside Criterion's figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::target_folder;

/// What was counted, by name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted(pub(crate) BTreeMap<String, Pair>);

/// The same figure of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) ours: f64,
    pub(crate) baseline: f64,
    pub(crate) unit: String,
}

impl Counted {
    /// What earlier runs have counted.
    pub(crate) fn load() -> Result<Self> {
        let file = file()?;
        match fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json).with_context(|| format!("cannot read {}", file.display())),
            Err(_) => Ok(Self::default()),
        }
    }

    pub(crate) fn store(&self) -> Result<()> {
        let file = file()?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, serde_json::to_vec_pretty(self)?).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Takes in a line of a benchmark's output if it is of this form.
    pub(crate) fn read_line(&mut self, line: &str) {
        let read = || {
            let (name, figures) = line.strip_prefix("counted: ")?.rsplit_once(": ")?;
            let (ours, rest) = figures.split_once(" against ")?;
            let (baseline, unit) = rest.split_once(' ')?;
            let pair = Pair { ours: ours.parse().ok()?, baseline: baseline.parse().ok()?, unit: unit.to_owned() };
            Some((name.to_owned(), pair))
        };
        self.0.extend(read());
    }
}

fn file() -> Result<PathBuf> {
    Ok(target_folder()?.join("criterion").join("counted.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_figures_are_found_among_other_lines() {
        let mut counted = Counted::default();
        for line in [
            "counted: a body of 100 MiB: 1.5 against 100 MiB at most",
            "counted: nothing",
            "Benchmarking counted: 1 against 2 times",
            "a/b  time: [1 ns 2 ns 3 ns]",
        ] {
            counted.read_line(line);
        }
        let pair = Pair { ours: 1.5, baseline: 100.0, unit: "MiB at most".to_owned() };
        assert_eq!(counted.0.into_iter().collect::<Vec<_>>(), [("a body of 100 MiB".to_owned(), pair)]);
    }
}
