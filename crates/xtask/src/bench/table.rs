//! The table of the claims, from what was measured last.

use std::fs;

use anyhow::{Context as _, Result};

use super::claims::{CLAIMS, Claim, Evidence};
use super::counted::Counted;
use super::estimates::{self, Estimate, Estimates};
use super::{target_folder, workspace_folder};

const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- begin: cargo xtask bench --table -->\n";
const END: &str = "<!-- end -->\n";

/// The table as Markdown.
pub(crate) fn made() -> Result<String> {
    Ok(rows(&estimates::read(&target_folder()?.join("criterion"))?, &Counted::load()?))
}

/// Prints the table, and puts it into its place in the documentation.
pub(crate) fn write() -> Result<()> {
    let table = made()?;
    print!("{table}");
    let page = workspace_folder()?.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
    let replaced = replaced(&text, &table).with_context(|| format!("{PAGE} has no place for the table"))?;
    fs::write(&page, replaced).with_context(|| format!("cannot write {PAGE}"))
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

fn rows(estimates: &Estimates, counted: &Counted) -> String {
    let mut out = String::from("| claim | claimed | measured | ours, plain | bench | |\n|---|---|---|---|---|---|\n");
    for claim in CLAIMS {
        out.push_str(&row(claim, estimates, counted));
    }
    out
}

fn row(claim: &Claim, estimates: &Estimates, counted: &Counted) -> String {
    let (measured, figures) = match claim.evidence {
        Evidence::Times(ours, plain) => match (estimates.get(ours), estimates.get(plain)) {
            (Some(ours), Some(plain)) => times(ours, plain),
            _ => not_measured(),
        },
        Evidence::Counted(name) => match counted.0.get(name) {
            Some(pair) => {
                let ratio = less(pair.baseline / pair.ours);
                (ratio, format!("{}, {} {}", number(pair.ours), number(pair.baseline), pair.unit))
            }
            None => not_measured(),
        },
    };
    let (package, bench) = claim.bench;
    let (text, wanted, remark) = (claim.text, claim.wanted, claim.remark);
    format!("| {text} | {wanted} | {measured} | {figures} | `{package}` `{bench}` | {remark} |\n")
}

fn not_measured() -> (String, String) {
    ("not measured".to_owned(), String::new())
}

/// The ratio of the medians, with what it is at least and at most when both confidence intervals are used against it and
/// for it.
fn times(ours: &Estimate, plain: &Estimate) -> (String, String) {
    let ratio = plain.median_ns / ours.median_ns;
    let (lower, upper) = (plain.lower_ns / ours.upper_ns, plain.upper_ns / ours.lower_ns);
    let measured = format!("{} ({}–{})", less(ratio), number(lower), number(upper));
    (measured, format!("{}, {}", duration(ours.median_ns), duration(plain.median_ns)))
}

/// A ratio in words: times where it is large, percent beside it where those say more.
fn less(ratio: f64) -> String {
    match ratio {
        ratio if !ratio.is_finite() => "all of it less".to_owned(),
        ratio if ratio >= 1.0 => format!("{} times, {} % less", number(ratio), share((1.0 - 1.0 / ratio) * 100.0)),
        ratio => format!("{} times more", number(1.0 / ratio)),
    }
}

/// Percent, with decimals where it is nearly everything.
fn share(percent: f64) -> String {
    if percent >= 99.0 { format!("{percent:.2}") } else { format!("{percent:.0}") }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn duration(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{} s", number(ns / 1e9)),
        ns if ns >= 1e6 => format!("{} ms", number(ns / 1e6)),
        ns if ns >= 1e3 => format!("{} µs", number(ns / 1e3)),
        ns => format!("{} ns", number(ns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::counted::Pair;

    const CLAIM: Claim = Claim {
        text: "early exit",
        wanted: "50 to 80 % less",
        evidence: Evidence::Times("a/ours", "a/plain"),
        bench: ("push-rules", "evaluate"),
        remark: "",
    };

    #[test]
    fn a_row_has_the_ratio_and_how_certain_it_is() {
        let estimate = |ns: f64| Estimate { lower_ns: ns * 0.9, median_ns: ns, upper_ns: ns * 1.1 };
        let estimates = Estimates::from([("a/ours".into(), estimate(200.0)), ("a/plain".into(), estimate(1000.0))]);
        let row = row(&CLAIM, &estimates, &Counted::default());
        let expected = "| early exit | 50 to 80 % less | 5.00 times, 80 % less (4.09–6.11) | 200 ns, 1.00 µs | \
                        `push-rules` `evaluate` |  |\n";
        assert_eq!(row, expected);
    }

    #[test]
    fn counted_figures_have_no_interval_and_what_is_missing_says_so() {
        let claim = Claim { evidence: Evidence::Counted("bytes"), ..CLAIM };
        let mut counted = Counted::default();
        assert!(row(&claim, &Estimates::new(), &counted).contains("not measured"));
        counted.0.insert("bytes".into(), Pair { ours: 0.0, baseline: 76.0, unit: "allocations".into() });
        assert!(row(&claim, &Estimates::new(), &counted).contains("| all of it less | 0, 76.0 allocations |"));
        counted.0.insert("bytes".into(), Pair { ours: 150.0, baseline: 100.0, unit: "bytes".into() });
        assert!(row(&claim, &Estimates::new(), &counted).contains("| 1.50 times more | 150, 100 bytes |"));
    }

    #[test]
    fn the_table_is_put_between_its_marks() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(replaced(&page, "new\n"), Some(format!("before\n{BEGIN}new\n{END}after\n")));
        assert_eq!(replaced("no marks", "new\n"), None);
    }

    #[test]
    fn every_claim_has_another_text() {
        let texts: std::collections::BTreeSet<_> = CLAIMS.iter().map(|claim| claim.text).collect();
        assert_eq!(texts.len(), CLAIMS.len());
    }
}
