//! One memory budget for all caches of a server.
//!
//! A cache [joins](MemoryBudget::join) the budget, which gives it a share and changes the share again and again: caches with hits
//! grow, idle ones shrink. The sum of the shares never exceeds the budget. Nothing runs in the background: a cache that has grown
//! has the shares computed again.

mod share;
mod size;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use self::share::{Claim, divide};
pub use self::size::{HeapSize, allocation_bytes, table_bytes};
use crate::{Clock, SystemClock, Timestamp};

/// A user of the budget: a cache, or the newest part of the log.
pub trait MemoryUser: Send + Sync {
    /// Its entries and bytes now, and its hits since the start.
    fn usage(&self) -> MemoryUsage;

    /// Sets its capacity. It drops at once what exceeds it.
    fn set_capacity(&self, bytes: u64);

    /// The largest share that is of use to it, of a budget of this many bytes.
    fn most_bytes(&self, budget_bytes: u64) -> u64 {
        budget_bytes
    }
}

/// The memory of a [`MemoryUser`], and its use.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct MemoryUsage {
    /// Entries kept.
    pub entries: u64,
    /// Bytes that count against its capacity.
    pub entry_bytes: u64,
    /// Bytes allocated beside that, such as empty slots of a table.
    pub spare_bytes: u64,
    /// Its capacity in bytes.
    pub capacity_bytes: u64,
    /// Look-ups that found an entry.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Entries dropped because the capacity was exceeded.
    pub evictions: u64,
}

impl MemoryUsage {
    /// All bytes that it has allocated.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entry_bytes + self.spare_bytes
    }

    /// Both as one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            entry_bytes: self.entry_bytes + other.entry_bytes,
            spare_bytes: self.spare_bytes + other.spare_bytes,
            capacity_bytes: self.capacity_bytes + other.capacity_bytes,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            evictions: self.evictions + other.evictions,
        }
    }
}

/// The budget. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    bytes: AtomicU64,
    /// How long an entry may be used, in milliseconds; 0 for ever.
    time_to_live_ms: AtomicI64,
    clock: Arc<dyn Clock>,
    members: Mutex<Vec<Member>>,
}

struct Member {
    name: &'static str,
    user: Weak<dyn MemoryUser>,
    /// Recent hits, and a little for misses. At each division, the older ones count half.
    merit: f64,
    last: MemoryUsage,
}

/// The worth of a miss in hits: an entry that is not there yet cannot have hits, but it was asked for.
const WORTH_OF_A_MISS: f64 = 1.0 / 16.0;
/// The part of the budget that no cache gets: it covers growth between two divisions.
const RESERVE: u64 = 16;
/// A share that would change by less than this part stays as it is. The sum of these differences is within the reserve.
const LEAST_CHANGE: u64 = 64;

impl MemoryBudget {
    /// A budget of this many bytes. `clock` measures the age of entries.
    #[must_use]
    pub fn new(bytes: u64, clock: Arc<dyn Clock>) -> Self {
        let (bytes, time_to_live_ms) = (AtomicU64::new(bytes), AtomicI64::new(0));
        Self(Arc::new(Inner { bytes, time_to_live_ms, clock, members: Mutex::default() }))
    }

    /// The budget, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Changes the budget while it is used. Caches drop at once what exceeds it.
    pub fn set_bytes(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
        self.divide_among(&mut self.0.members.lock());
    }

    /// Sets how long an entry without its own time to live may be used; `None` for ever. It applies to entries stored from now on.
    pub fn set_time_to_live(&self, time_to_live: Option<Duration>) {
        let ms = time_to_live.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1));
        self.0.time_to_live_ms.store(ms, Ordering::Relaxed);
    }

    /// As set by [`MemoryBudget::set_time_to_live`].
    pub(crate) fn time_to_live(&self) -> Option<Duration> {
        let ms = u64::try_from(self.0.time_to_live_ms.load(Ordering::Relaxed)).unwrap_or_default();
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Gives `user` a share until it is dropped. The metrics add up users of one name.
    pub fn join(&self, name: &'static str, user: &Arc<impl MemoryUser + 'static>) {
        let user: Weak<dyn MemoryUser> = Arc::downgrade(user) as _;
        let mut members = self.0.members.lock();
        members.push(Member { name, user, merit: 0.0, last: MemoryUsage::default() });
        self.divide_among(&mut members);
    }

    /// Computes the shares again, unless another thread does so now. A cache that has grown calls this.
    pub fn divide(&self) {
        if let Some(mut members) = self.0.members.try_lock() {
            self.divide_among(&mut members);
        }
    }

    fn divide_among(&self, members: &mut Vec<Member>) {
        let budget = self.bytes();
        members.retain(|member| member.user.strong_count() > 0);
        let mut spare_bytes = budget / RESERVE;
        let mut claims = Vec::with_capacity(members.len());
        for member in &mut *members {
            let Some(user) = member.user.upgrade() else { continue };
            let (usage, most_bytes) = (user.usage(), user.most_bytes(budget));
            spare_bytes += usage.spare_bytes;
            claims.push((member.claim(usage, most_bytes), user));
        }
        let shares = divide(budget.saturating_sub(spare_bytes), claims.iter().map(|(claim, _)| *claim).collect());
        // Shares shrink first, so that the sum never exceeds the budget.
        let (gives, takes): (Vec<_>, Vec<_>) =
            claims.iter().zip(shares).partition(|((claim, _), share)| *share < claim.capacity_bytes);
        for ((claim, user), share) in gives.into_iter().chain(takes) {
            if share.abs_diff(claim.capacity_bytes) > claim.capacity_bytes / LEAST_CHANGE {
                user.set_capacity(share);
            }
        }
    }

    /// The usage of each, by name.
    #[must_use]
    pub fn usage(&self) -> Vec<(&'static str, MemoryUsage)> {
        let mut usages: Vec<(&'static str, MemoryUsage)> = Vec::new();
        for member in &*self.0.members.lock() {
            let Some(usage) = member.user.upgrade().map(|user| user.usage()) else { continue };
            match usages.iter_mut().find(|(name, _)| *name == member.name) {
                Some((_, sum)) => *sum = sum.plus(&usage),
                None => usages.push((member.name, usage)),
            }
        }
        usages
    }
}

impl Default for MemoryBudget {
    /// 512 MiB, by the machine's clock.
    fn default() -> Self {
        Self::new(512 << 20, Arc::new(SystemClock))
    }
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MemoryBudget").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Member {
    fn claim(&mut self, usage: MemoryUsage, most_bytes: u64) -> Claim {
        let (hits, misses) = (as_float(usage.hits - self.last.hits), as_float(usage.misses - self.last.misses));
        self.merit = self.merit / 2.0 + hits + misses * WORTH_OF_A_MISS;
        let is_full = usage.evictions > self.last.evictions || usage.entry_bytes > usage.capacity_bytes / 16 * 15;
        self.last = usage;
        Claim {
            used_bytes: usage.entry_bytes,
            capacity_bytes: usage.capacity_bytes,
            most_bytes,
            // A cache with few misses gains little from more space.
            growth: if is_full { (4.0 * misses / (hits + misses).max(1.0)).clamp(0.0, 1.0) } else { 0.0 },
            merit: self.merit,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares do not depend on the last digits of a count beyond 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
