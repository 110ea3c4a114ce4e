//! Says on stderr what is going on, at most once a second.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const TERMINAL_INTERVAL: Duration = Duration::from_millis(250);
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// One target's progress. A terminal gets one line that changes, anything else a line now and then.
pub(crate) struct Progress {
    target: String,
    terminal: bool,
    stage: Mutex<Stage>,
}

struct Stage {
    name: String,
    done: u64,
    started: Instant,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new(target: &str) -> Self {
        let now = Instant::now();
        Self {
            target: target.to_owned(),
            terminal: std::io::stderr().is_terminal(),
            stage: Mutex::new(Stage { name: String::new(), done: 0, started: now, shown: now }),
        }
    }

    /// Begins a stage, such as `send, 32 in 32` or `preparing 200 rooms`.
    pub(crate) fn stage(&self, name: &str) {
        let now = Instant::now();
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        *stage = Stage { name: name.to_owned(), done: 0, started: now, shown: now };
        self.show(&stage, "");
    }

    /// Counts something done.
    pub(crate) fn tick(&self) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.done += 1;
        let interval = if self.terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        if stage.shown.elapsed() >= interval {
            stage.shown = Instant::now();
            let rate = stage.done as f64 / stage.started.elapsed().as_secs_f64();
            self.show(&stage, &format!(": {} done, {rate:.0}/s", stage.done));
        }
    }

    /// Leaves a line that stays.
    pub(crate) fn note(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        self.write(&format!("{clear}[{}] {text}\n", self.target));
    }

    fn show(&self, stage: &Stage, detail: &str) {
        let (start, end) = if self.terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
        self.write(&format!("{start}[{}] {}{detail}{end}", self.target, stage.name));
    }

    fn write(&self, text: &str) {
        // Progress that nobody can read is no reason to stop measuring.
        let mut stderr = std::io::stderr().lock();
        _ = stderr.write_all(text.as_bytes());
        _ = stderr.flush();
    }
}
