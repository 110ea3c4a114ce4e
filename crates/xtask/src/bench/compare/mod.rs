//! `cargo xtask bench --compare REV`: whether the hot paths of the working tree are slower than those of another revision.
//!
//! Two programs are built and run in turn. Their times are compared in pairs, as [`statistics`] says; the instructions
//! that they take are counted, which sees small changes on a busy machine as well.

mod builds;
mod instructions;
mod statistics;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::builds::Checkout;
use self::statistics::MedianRatio;
use super::options::Comparing;
use crate::process::Supervisor;

/// How long a path is taken in one run, in milliseconds.
const RUN_MS: u64 = 60;

/// How often a path that seems to take more instructions is counted again.
const RECOUNTS: usize = 2;

/// `true` if no path got slower.
pub(crate) fn run(supervisor: &Supervisor, asked: &Comparing) -> Result<bool> {
    if asked.with_instructions {
        instructions::require_valgrind()?;
    }
    let [before, after] = match &asked.programs {
        Some(programs) => programs.clone(),
        None => {
            let before = Checkout::of(supervisor, &asked.revision)?.build(supervisor, &asked.profile)?;
            [before, builds::of_working_tree(supervisor, &asked.profile)?]
        }
    };
    let mut is_fine = true;
    if asked.with_instructions {
        is_fine &= compare_instructions(supervisor, asked, &before, &after)?;
    }
    if asked.with_time {
        is_fine &= compare_times(supervisor, asked, &before, &after)?;
    }
    println!("{}", if is_fine { "no path got slower" } else { "FAILED: something got slower" });
    Ok(is_fine)
}

fn compare_instructions(supervisor: &Supervisor, asked: &Comparing, before: &Path, after: &Path) -> Result<bool> {
    let limit = 1.0 + asked.instructions_percent / 100.0;
    println!("\n| instructions | {} | after | change | |\n|---|--:|--:|--:|---|", asked.revision);
    let mut is_fine = true;
    for path in paths_of_both(before, after)? {
        supervisor.check()?;
        let count =
            || Ok::<_, anyhow::Error>((instructions::of_path(before, &path)?, instructions::of_path(after, &path)?));
        let (mut was, mut is) = count()?;
        // What is random in a program changes a count by a little, but not in the same way again and again.
        for _ in 0..RECOUNTS {
            if is <= was * limit {
                break;
            }
            let (was_again, is_again) = count()?;
            if is_again / was_again < is / was {
                (was, is) = (was_again, is_again);
            }
        }
        let verdict = verdict(is > was * limit, is < was / limit);
        println!("| {path} | {was:.0} | {is:.0} | {} | {verdict} |", percent(is / was));
        is_fine &= is <= was * limit;
    }
    Ok(is_fine)
}

fn compare_times(supervisor: &Supervisor, asked: &Comparing, before: &Path, after: &Path) -> Result<bool> {
    let mut pairs: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for round in 0..asked.rounds {
        supervisor.check()?;
        // Each is the first of a pair as often as the other.
        let (was, is) = if round.is_multiple_of(2) {
            let was = times(before)?;
            (was, times(after)?)
        } else {
            let is = times(after)?;
            (times(before)?, is)
        };
        for (path, was) in was {
            if let Some(is) = is.get(&path) {
                pairs.entry(path).or_default().push((was, *is));
            }
        }
    }
    let limit = 1.0 + asked.time_percent / 100.0;
    println!("\n| time, {} pairs | change | at least | at most | |\n|---|--:|--:|--:|---|", asked.rounds);
    let mut is_fine = true;
    for (path, pairs) in pairs {
        let ratio = MedianRatio::of(&pairs).context("too few pairs")?;
        let is_slower = ratio.is_above(limit);
        let verdict = verdict(is_slower, ratio.upper < 1.0 / limit);
        let (median, lower, upper) = (percent(ratio.median), percent(ratio.lower), percent(ratio.upper));
        println!("| {path} | {median} | {lower} | {upper} | {verdict} |");
        is_fine &= !is_slower;
    }
    Ok(is_fine)
}

fn verdict(is_slower: bool, is_faster: bool) -> &'static str {
    match (is_slower, is_faster) {
        (true, _) => "SLOWER",
        (_, true) => "faster",
        _ => "",
    }
}

fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

/// The paths that both programs know.
fn paths_of_both(before: &Path, after: &Path) -> Result<Vec<String>> {
    let known = output_of(before, &["list"])?;
    let both: Vec<String> = output_of(after, &["list"])?
        .lines()
        .filter(|path| known.lines().any(|it| it == *path))
        .map(str::to_owned)
        .collect();
    if both.is_empty() {
        bail!("the two revisions have no path in common");
    }
    Ok(both)
}

/// Nanoseconds of each path.
fn times(hot_paths: &Path) -> Result<BTreeMap<String, f64>> {
    let output = output_of(hot_paths, &["time", &RUN_MS.to_string()])?;
    output.lines().map(read_time).collect::<Option<_>>().with_context(|| format!("not times: {output}"))
}

fn read_time(line: &str) -> Option<(String, f64)> {
    let (path, nanoseconds) = line.split_once('\t')?;
    Some((path.to_owned(), nanoseconds.parse().ok()?))
}

fn output_of(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("`hot-paths {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_times_is_a_name_and_nanoseconds() {
        assert_eq!(read_time("sync answer, 20 events\t1234.56"), Some(("sync answer, 20 events".to_owned(), 1234.56)));
        assert_eq!(read_time("sync answer, 20 events"), None);
    }

    #[test]
    fn changes_are_shown_with_their_sign() {
        assert_eq!([1.031, 0.5, 1.0].map(percent), ["+3.1 %", "-50.0 %", "+0.0 %"]);
    }
}
