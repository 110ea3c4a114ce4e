//! What a step costs.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// Where the kernel says how much processor time this process and its children have used.
const OWN_STATE: &str = "/proc/self/stat";

/// Where the times of the children that have ended begin, counted in fields after the name; the name may have spaces in it.
const CHILDREN_FIELD: usize = 13;

/// Measures from when it is started.
pub(crate) struct Stopwatch {
    started: Instant,
    ticks: Option<u64>,
}

/// Time on the clock, and of all processors together in the programs that were started and have ended meanwhile. The second is
/// unknown on systems without `/proc`.
pub(crate) struct Cost {
    wall: Duration,
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), ticks: ticks_of_children() }
    }

    pub(crate) fn read(&self) -> Cost {
        let ticks = ticks_of_children().zip(self.ticks).map(|(now, before)| now.saturating_sub(before));
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let cpu = ticks.map(|ticks| Duration::from_millis(ticks.saturating_mul(1000) / per_second));
        Cost { wall: self.started.elapsed(), cpu }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} s", self.wall.as_secs())?;
        match self.cpu {
            Some(cpu) => write!(formatter, ", {} s of CPU", cpu.as_secs()),
            None => Ok(()),
        }
    }
}

fn ticks_of_children() -> Option<u64> {
    children_in(&fs::read_to_string(OWN_STATE).ok()?)
}

/// Time in user mode and in the kernel, of `/proc/PID/stat`.
fn children_in(state: &str) -> Option<u64> {
    let (_, fields) = state.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(CHILDREN_FIELD).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_children_are_found_behind_any_name() {
        let state = "4 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 1300 1400 20 0";
        assert_eq!(children_in(state), Some(2700));
        assert_eq!(children_in("nonsense"), None);
    }

    #[test]
    fn the_work_of_a_program_that_ended_is_counted() {
        let watch = Stopwatch::start();
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", work]).status().unwrap().success());
        let cost = watch.read();
        assert!(cost.cpu.is_some_and(|cpu| cpu > Duration::ZERO), "{cost}");
    }
}
