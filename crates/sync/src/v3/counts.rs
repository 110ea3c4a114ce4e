use std::sync::atomic::{AtomicU64, Ordering};

/// What requests for what is new came to, since the start.
#[derive(Default)]
pub(super) struct Counters {
    initial: AtomicU64,
    incremental: AtomicU64,
    timeouts: AtomicU64,
}

/// What requests for what is new came to, and how many wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncCounts {
    /// Requests of clients that had nothing yet.
    pub initial: u64,
    /// Requests of clients that went on from where they were.
    pub incremental: u64,
    /// Requests that waited in vain.
    pub timeouts: u64,
    /// How often a waiting request was woken.
    pub wakeups: u64,
    /// Requests that wait now.
    pub waiting: usize,
}

impl Counters {
    pub(super) fn asked(&self, is_initial: bool) {
        let counter = if is_initial { &self.initial } else { &self.incremental };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, wakeups: u64, waiting: usize) -> SyncCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (initial, incremental, timeouts) = (read(&self.initial), read(&self.incremental), read(&self.timeouts));
        SyncCounts { initial, incremental, timeouts, wakeups, waiting }
    }
}
