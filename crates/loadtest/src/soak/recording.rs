//! What was seen during a soak, window by window.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::mix::Step;
use crate::matrix::Failure;
use crate::measurement::Tally;

/// Everything that was seen.
pub(crate) struct Recording {
    started: Instant,
    window: Duration,
    windows: RefCell<Vec<Window>>,
    by_step: RefCell<BTreeMap<Step, Tally>>,
}

/// What was seen in a part of the time.
#[derive(Clone, Default)]
pub(crate) struct Window {
    tally: Tally,
    resident_bytes: Vec<u64>,
}

/// A window, summed up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// When it began, from the start of the traffic.
    pub(crate) begins: Duration,
    pub(crate) requests: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The median of what was read in it; absent where nothing was.
    pub(crate) resident_bytes: Option<f64>,
}

impl Recording {
    /// Nothing yet, from now on.
    pub(crate) fn new(window: Duration) -> Self {
        Self { started: Instant::now(), window, windows: RefCell::default(), by_step: RefCell::default() }
    }

    pub(crate) fn record(&self, step: Step, latency: Duration, outcome: Result<(), Failure>) {
        let mut by_step = self.by_step.borrow_mut();
        let of_step = by_step.entry(step).or_default();
        match outcome {
            Ok(()) => {
                of_step.latency(latency);
                self.in_window(|window| window.tally.latency(latency));
            }
            Err(failure) => of_step.error(failure.to_string()),
        }
    }

    pub(crate) fn sample(&self, resident_bytes: u64) {
        self.in_window(|window| window.resident_bytes.push(resident_bytes));
    }

    fn in_window(&self, change: impl FnOnce(&mut Window)) {
        let number = self.started.elapsed().as_nanos() / self.window.as_nanos().max(1);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let mut windows = self.windows.borrow_mut();
        while windows.len() <= number {
            windows.push(Window::default());
        }
        if let Some(window) = windows.get_mut(number) {
            change(window);
        }
    }

    pub(crate) fn length(&self) -> Duration {
        self.window * u32::try_from(self.windows.borrow().len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn window(&self) -> Duration {
        self.window
    }

    /// What each kind of request came to.
    pub(crate) fn by_step(&self) -> Vec<(&'static str, Tally)> {
        self.by_step.borrow().iter().map(|(step, tally)| (step.name(), tally.clone())).collect()
    }

    /// Every reason for which something failed, with how often.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors = BTreeMap::new();
        for (step, tally) in self.by_step.borrow().iter() {
            for (reason, count) in tally.errors() {
                *errors.entry(format!("{}: {reason}", step.name())).or_default() += count;
            }
        }
        errors
    }

    /// The windows in their order, without one that was only begun.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let windows = self.windows.borrow();
        let summaries = (0..).zip(windows.iter()).map(|(number, window)| {
            let requests = window.tally.operations();
            let latency = window.tally.clone().percentiles();
            Summary {
                begins: self.window * number,
                requests,
                p50_ms: latency.as_ref().map_or(0.0, |latency| latency.p50),
                p99_ms: latency.as_ref().map_or(0.0, |latency| latency.p99),
                resident_bytes: median(window.resident_bytes.iter().map(|bytes| *bytes as f64).collect()),
            }
        });
        let mut summaries: Vec<_> = summaries.collect();
        let typical = median(summaries.iter().map(|summary| summary.requests as f64).collect()).unwrap_or(0.0);
        if summaries.last().is_some_and(|last| (last.requests as f64) < typical / 2.0) {
            summaries.pop();
        }
        summaries
    }

    /// The windows as a table.
    pub(crate) fn windows_table(&self) -> String {
        let mut out = String::from("| from s | per s | p50 ms | p99 ms | memory MiB |\n|--:|--:|--:|--:|--:|\n");
        for summary in self.summaries() {
            let rate = summary.requests as f64 / self.window.as_secs_f64();
            let memory = summary.resident_bytes.map_or_else(String::new, |bytes| format!("{:.1}", bytes / 1_048_576.0));
            let begins = summary.begins.as_secs();
            let (p50, p99) = (summary.p50_ms, summary.p99_ms);
            out.push_str(&format!("| {begins} | {rate:.0} | {p50:.2} | {p99:.2} | {memory} |\n"));
        }
        out
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 100.0]), Some(3.5));
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_window_that_was_only_begun_is_left_out() {
        let recording = Recording::new(Duration::from_secs(60));
        recording.record(Step::Send, Duration::from_millis(3), Ok(()));
        assert_eq!(recording.summaries().first().map(|summary| (summary.requests, summary.p99_ms)), Some((1, 3.0)));
        recording.windows.borrow_mut().push(Window::default());
        assert_eq!(recording.summaries().len(), 1);
        assert!(recording.errors().is_empty());
    }
}
