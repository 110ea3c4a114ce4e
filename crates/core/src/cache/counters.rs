//! What a cache counts, without its readers waiting for each other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::MemoryUsage;

/// Counters among which threads are spread. Two threads may share one, which costs time but no counts.
const STRIPES: usize = 16;

/// In a cache line of its own, so that threads do not take it from each other.
#[derive(Default)]
#[repr(align(64))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
pub(super) struct Counters {
    stripes: [Stripe; STRIPES],
    evictions: AtomicU64,
    /// Bytes put in since the shares were last worked out.
    grown_bytes: AtomicU64,
    /// After how many the shares are to be worked out anew.
    growth_bytes: AtomicU64,
}

/// The part of its room by which a cache fills up before it has the shares worked out anew.
const GROWTH: u64 = 16;
/// With very little room that would be after every few entries.
const LEAST_GROWTH_BYTES: u64 = 16 << 10;

thread_local! {
    static STRIPE: usize = {
        let mut hasher = DefaultHasher::new();
        thread::current().id().hash(&mut hasher);
        usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default()
    };
}

impl Counters {
    pub(super) fn looked_up(&self, is_hit: bool) {
        let Some(stripe) = self.stripes.get(STRIPE.with(|stripe| *stripe)) else { return };
        let count = if is_hit { &stripe.hits } else { &stripe.misses };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what was put in, and says whether it is time to work out the shares anew.
    pub(super) fn has_grown(&self, bytes: u64) -> bool {
        let grown_bytes = self.grown_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if grown_bytes < self.growth_bytes.load(Ordering::Relaxed) {
            return false;
        }
        self.grown_bytes.store(0, Ordering::Relaxed);
        true
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.growth_bytes.store((bytes / GROWTH).max(LEAST_GROWTH_BYTES), Ordering::Relaxed);
    }

    /// The counts alone.
    pub(super) fn read(&self) -> MemoryUsage {
        let sum = |count: fn(&Stripe) -> &AtomicU64| {
            self.stripes.iter().map(|stripe| count(stripe).load(Ordering::Relaxed)).sum()
        };
        MemoryUsage {
            hits: sum(|stripe| &stripe.hits),
            misses: sum(|stripe| &stripe.misses),
            evictions: self.evictions.load(Ordering::Relaxed),
            ..MemoryUsage::default()
        }
    }
}
