//! What Criterion found last: its files `…/new/benchmark.json` and `…/new/estimates.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The median time of each benchmark, by its full name (`group/function/parameter`).
pub(crate) type Estimates = BTreeMap<String, Estimate>;

/// A median in nanoseconds, with its confidence interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) lower_ns: f64,
    pub(crate) median_ns: f64,
    pub(crate) upper_ns: f64,
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Statistics {
    median: Median,
}

#[derive(Deserialize)]
struct Median {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Reads everything below Criterion's folder.
pub(crate) fn read(folder: &Path) -> Result<Estimates> {
    let mut found = Estimates::new();
    read_below(folder, &mut found)?;
    Ok(found)
}

fn read_below(folder: &Path, found: &mut Estimates) -> Result<()> {
    // Nothing was measured yet where there is no folder.
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "new") && path.join("benchmark.json").exists() {
            let (name, estimate) = read_one(&path)?;
            found.insert(name, estimate);
        } else if path.is_dir() {
            read_below(&path, found)?;
        }
    }
    Ok(())
}

fn read_one(folder: &Path) -> Result<(String, Estimate)> {
    let benchmark: Benchmark = read_json(&folder.join("benchmark.json"))?;
    let Statistics { median } = read_json(&folder.join("estimates.json"))?;
    let Median { confidence_interval: Interval { lower_bound, upper_bound }, point_estimate } = median;
    Ok((benchmark.full_id, Estimate { lower_ns: lower_bound, median_ns: point_estimate, upper_ns: upper_bound }))
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let json = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&json).with_context(|| format!("{} is not as Criterion writes it", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medians_of_all_benchmarks_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a_group/of_this/new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(folder.path().join("report")).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"group_id":"a group","full_id":"a group/of this"}"#).unwrap();
        let median = r#"{"confidence_interval":{"confidence_level":0.95,"lower_bound":9.0,"upper_bound":12.0},
            "point_estimate":10.0,"standard_error":0.1}"#;
        fs::write(new.join("estimates.json"), format!(r#"{{"mean":{median},"median":{median},"slope":null}}"#))
            .unwrap();
        let estimate = Estimate { lower_ns: 9.0, median_ns: 10.0, upper_ns: 12.0 };
        assert_eq!(
            read(folder.path()).unwrap().into_iter().collect::<Vec<_>>(),
            [("a group/of this".into(), estimate)]
        );
        assert!(read(&folder.path().join("absent")).unwrap().is_empty());
    }
}
