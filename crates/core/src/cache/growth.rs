//! Decides when a cache has grown so far that the budget computes the shares again.

use std::sync::atomic::{AtomicU64, Ordering};

/// A cache that has grown by this part of its capacity has the shares computed again.
const GROWTH: u64 = 16;
/// A very small cache waits for this much growth, or every few entries would cost a computation.
const LEAST_GROWTH_BYTES: u64 = 16 << 10;
/// A shard reports its growth in this many steps, so that shards rarely touch the same counter.
const STEPS: u64 = 4;

/// Bytes put into all shards since the shares were last computed.
#[derive(Default)]
pub(super) struct Growth {
    grown_bytes: AtomicU64,
    /// After this many bytes the shares are due.
    limit_bytes: AtomicU64,
    /// A shard reports its growth after this many bytes.
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

    /// Adds the growth of a shard. Returns whether the shares are due to be computed again.
    pub(super) fn add(&self, bytes: u64) -> bool {
        let grown_bytes = self.grown_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if grown_bytes < self.limit_bytes.load(Ordering::Relaxed) {
            return false;
        }
        self.grown_bytes.store(0, Ordering::Relaxed);
        true
    }
}
