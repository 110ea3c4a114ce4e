//! Whether a server stayed as it was.
//!
//! Everything before the end of the warm-up is left out. Of the windows after it, the first third is compared with the last
//! third, by medians, so that a moment in which the machine was busy decides nothing:
//!
//! * memory: the median of the windows' medians may grow by a few percent;
//! * p99: the median of the windows' p99 may grow by a factor, or by [`P99_NOISE_MS`] where that is more;
//! * the rate: nine tenths of what the timetable wanted must have been answered, or the rest waits for ever;
//! * errors: none, also none of those who wait in `/sync`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::recording::{Recording, Summary, median};

/// A p99 of few milliseconds is decided by the system's scheduler.
const P99_NOISE_MS: f64 = 5.0;
const RATE_SHARE_MIN: f64 = 0.9;

/// What may change.
pub(crate) struct Limits {
    pub(crate) memory_percent: f64,
    pub(crate) p99_times: f64,
    pub(crate) rate_per_second: f64,
}

/// What was found, line by line.
pub(crate) struct Verdict(Vec<Finding>);

struct Finding {
    is_fine: bool,
    text: String,
}

impl Verdict {
    /// Judges what was recorded.
    pub(crate) fn of(
        recording: &Recording,
        errors: &BTreeMap<String, u64>,
        warm_up: Duration,
        limits: &Limits,
    ) -> Self {
        let windows: Vec<_> = recording.summaries().into_iter().filter(|window| window.begins >= warm_up).collect();
        Self::of_windows(&windows, recording.window(), errors, limits)
    }

    fn of_windows(windows: &[Summary], length: Duration, errors: &BTreeMap<String, u64>, limits: &Limits) -> Self {
        let third = windows.len() / 3;
        if third == 0 {
            return Self(vec![Finding { is_fine: false, text: "too short: nothing to compare".to_owned() }]);
        }
        let (first, last) = (windows.get(..third), windows.get(windows.len() - third..));
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        Self(vec![memory(first, last, limits), p99(first, last, limits), rate(windows, length, limits), none(errors)])
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.0.iter().all(|finding| finding.is_fine)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            writeln!(f, "{}: {}", if finding.is_fine { "passed" } else { "FAILED" }, finding.text)?;
        }
        write!(f, "{}", if self.is_passed() { "passed" } else { "FAILED" })
    }
}

fn memory(first: &[Summary], last: &[Summary], limits: &Limits) -> Finding {
    let of = |windows: &[Summary]| median(windows.iter().filter_map(|window| window.resident_bytes).collect());
    let (Some(before), Some(after)) = (of(first), of(last)) else {
        return Finding { is_fine: false, text: "memory was not read".to_owned() };
    };
    let percent = (after / before - 1.0) * 100.0;
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let limit = limits.memory_percent;
    let text = format!("memory {:.1} to {:.1} MiB, {percent:+.1} %, limit {limit} %", mib(before), mib(after));
    Finding { is_fine: percent <= limit, text }
}

fn p99(first: &[Summary], last: &[Summary], limits: &Limits) -> Finding {
    let of = |windows: &[Summary]| median(windows.iter().map(|window| window.p99_ms).collect()).unwrap_or(0.0);
    let (before, after) = (of(first), of(last));
    let limit = (before * limits.p99_times).max(before + P99_NOISE_MS);
    Finding { is_fine: after <= limit, text: format!("p99 {before:.1} to {after:.1} ms, limit {limit:.1} ms") }
}

fn rate(windows: &[Summary], length: Duration, limits: &Limits) -> Finding {
    let requests: u64 = windows.iter().map(|window| window.requests).sum();
    let rate = requests as f64 / (length.as_secs_f64() * windows.len() as f64);
    let wanted = limits.rate_per_second;
    let text = format!("{rate:.0} requests a second of {wanted:.0} that were wanted");
    Finding { is_fine: rate >= wanted * RATE_SHARE_MIN, text }
}

fn none(errors: &BTreeMap<String, u64>) -> Finding {
    let listed: Vec<_> = errors.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    let text = if listed.is_empty() { "no errors".to_owned() } else { listed.join(", ") };
    Finding { is_fine: listed.is_empty(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const LIMITS: Limits = Limits { memory_percent: 5.0, p99_times: 1.5, rate_per_second: 100.0 };

    /// Fifteen windows; memory and p99 grow by these factors from the first to the last, evenly.
    fn windows(memory: f64, p99: f64, requests: u64) -> Vec<Summary> {
        let at = |number: u32| f64::from(number) / 14.0;
        let window = |number: u32| Summary {
            begins: WINDOW * number,
            requests,
            p50_ms: 1.0,
            p99_ms: 20.0 * (1.0 + (p99 - 1.0) * at(number)),
            resident_bytes: Some(1e8 * (1.0 + (memory - 1.0) * at(number))),
        };
        (0..15).map(window).collect()
    }

    fn is_passed(windows: &[Summary], errors: &BTreeMap<String, u64>) -> bool {
        Verdict::of_windows(windows, WINDOW, errors, &LIMITS).is_passed()
    }

    #[test]
    fn a_server_that_stays_as_it_was_passes_and_one_that_changes_does_not() {
        let none = BTreeMap::new();
        assert!(is_passed(&windows(1.0, 1.0, 6000), &none));
        assert!(is_passed(&windows(0.8, 0.5, 5500), &none));
        assert!(!is_passed(&windows(1.15, 1.0, 6000), &none));
        assert!(!is_passed(&windows(1.0, 3.0, 6000), &none));
        assert!(!is_passed(&windows(1.0, 1.0, 5000), &none));
        assert!(!is_passed(&windows(1.0, 1.0, 6000), &BTreeMap::from([("send: 500".to_owned(), 1)])));
    }

    #[test]
    fn one_busy_moment_decides_nothing() {
        let mut windows = windows(1.0, 1.0, 6000);
        let last = windows.last_mut().unwrap();
        last.p99_ms = 900.0;
        last.resident_bytes = Some(2e8);
        assert!(is_passed(&windows, &BTreeMap::new()));
    }

    #[test]
    fn a_run_without_windows_to_compare_fails() {
        assert!(!is_passed(&[], &BTreeMap::new()));
        assert!(!is_passed(&windows(1.0, 1.0, 6000)[..2], &BTreeMap::new()));
    }
}
