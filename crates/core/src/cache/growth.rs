//! When a cache has the shares of the budget worked out anew.

use std::sync::atomic::{AtomicU64, Ordering};

/// The part of its room by which a cache fills up before it has the shares worked out anew.
const GROWTH: u64 = 16;
/// With very little room that would be after every few entries.
const LEAST_GROWTH_BYTES: u64 = 16 << 10;
/// The part of that growth which a shard keeps to itself.
const STEPS: u64 = 4;

/// What was put into all shards since the shares were last worked out.
#[derive(Default)]
pub(super) struct Growth {
    grown_bytes: AtomicU64,
    /// After how many the shares are to be worked out anew.
    limit_bytes: AtomicU64,
    /// How many a shard adds up before it tells.
    step_bytes: AtomicU64,
}

impl Growth {
    pub(super) fn set_capacity(&self, bytes: u64, shards: usize) {
        let limit_bytes = (bytes / GROWTH).max(LEAST_GROWTH_BYTES);
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.step_bytes.store(limit_bytes / STEPS / (shards as u64).max(1), Ordering::Relaxed);
    }

    pub(super) fn step_bytes(&self) -> u64 {
        self.step_bytes.load(Ordering::Relaxed)
    }

    /// Adds what a shard has added up, and says whether it is time to work out the shares anew.
    pub(super) fn add(&self, bytes: u64) -> bool {
        let grown_bytes = self.grown_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if grown_bytes < self.limit_bytes.load(Ordering::Relaxed) {
            return false;
        }
        self.grown_bytes.store(0, Ordering::Relaxed);
        true
    }
}
