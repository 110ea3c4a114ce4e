//! How many instructions a path takes, counted by valgrind: nearly the same number in every run, on a busy machine too.
//!
//! Each path is taken a few times and many times; the difference is that of the path alone, without start and preparation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const FEW: u64 = 20;
const MANY: u64 = 220;

/// Fails, with what to do, if valgrind is not there.
pub(crate) fn require_valgrind() -> Result<()> {
    let found = Command::new("valgrind").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    bail!(
        "instructions are counted with valgrind, which is not installed (Debian: `sudo apt-get install valgrind`); \
         `--only-time` does without"
    )
}

/// Instructions that `path` takes each time, in the program `hot_paths`.
pub(crate) fn of_path(hot_paths: &Path, path: &str) -> Result<f64> {
    let (few, many) = (of_run(hot_paths, path, FEW)?, of_run(hot_paths, path, MANY)?);
    Ok(many.saturating_sub(few) as f64 / (MANY - FEW) as f64)
}

fn of_run(hot_paths: &Path, path: &str, count: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]).arg(hot_paths);
    let output = command.args(["run", path, &count.to_string()]).output().context("cannot start valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed under valgrind: {}", path, report.trim());
    }
    counted(&report).with_context(|| format!("valgrind counted nothing: {}", report.trim()))
}

/// The number in a line such as `==7== I   refs:      1,234,567`.
fn counted(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("I ") && line.contains("refs:"))?;
    line.split_once("refs:")?.1.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_the_report() {
        let report =
            "==7== Cachegrind, a cache and branch-prediction profiler\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(counted(report), Some(1_234_567));
        assert_eq!(counted("==7== I refs:        12\n"), Some(12));
        assert_eq!(counted("nothing of this kind"), None);
    }
}
