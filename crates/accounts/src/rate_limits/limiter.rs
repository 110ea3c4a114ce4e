use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::Key;
use super::store::{Ask, BoundedStore};

/// Parts of a limiter that are locked apart.
pub(super) const SHARDS: usize = 16;
/// Keys that one limiter remembers; at about 50 bytes each.
pub(super) const CAPACITY: usize = 65_536;

/// How often something may be done.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// How often for good, in actions a second. More than 0.
    pub per_second: f64,
    /// How often at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The time after which one more action is allowed. Bounded, so that two bursts at
    /// once, in nanoseconds, are in the range of what counts them.
    fn period(self) -> Duration {
        const SHORTEST: f64 = 1e-9;
        const LONGEST: f64 = 1e4;
        Duration::from_secs_f64((1.0 / self.per_second).clamp(SHORTEST, LONGEST))
    }
}

/// Buckets of one kind of action, at one rate.
pub(super) struct Limiter<C: Clock = MonotonicClock> {
    rate: Rate,
    period: Duration,
    /// The most that one question can be about.
    burst: NonZeroU32,
    buckets: RateLimiter<Ask, BoundedStore, C, NoOpMiddleware<C::Instant>>,
    store: BoundedStore,
}

impl Limiter {
    /// A limiter of full buckets, for at most `capacity` keys in so many `shards`.
    pub(super) fn new(rate: Rate, shards: usize, capacity: usize) -> Self {
        Self::with_clock(rate, shards, capacity, MonotonicClock)
    }
}

impl<C: Clock> Limiter<C> {
    pub(super) fn with_clock(rate: Rate, shards: usize, capacity: usize, clock: C) -> Self {
        const MOST: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
        let (period, burst) = (rate.period(), rate.burst.min(MOST));
        let quota = Quota::with_period(period).map(|quota| quota.allow_burst(burst));
        // Of a period that is longer than nothing there is a quota.
        let quota = quota.unwrap_or_else(|| Quota::per_second(burst));
        let store = BoundedStore::new(shards, capacity);
        Self { rate, period, burst, buckets: RateLimiter::new(quota, store.clone(), clock), store }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether `count` actions are possible now, which are then spent if `is_spent`. Otherwise the time until they are, in whole
    /// milliseconds and rounded up.
    pub(super) fn ask(&self, key: Key, count: u32, is_spent: bool) -> Result<(), Duration> {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN).min(self.burst);
        match self.buckets.check_key_n(&Ask { key, is_spent }, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(whole_ms(not_until.wait_time_from(self.buckets.clock().now()))),
            // A burst is never more than a burst.
            Err(_) => Err(whole_ms(self.period)),
        }
    }

    /// Takes back what was spent.
    pub(super) fn give_back(&self, key: Key, count: u32) {
        let spent = Nanos::from(self.period).as_u64().saturating_mul(u64::from(count));
        self.store.give_back(key, spent);
    }

    /// Forgets the keys whose buckets are full.
    pub(super) fn forget_those_at_rest(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }

    pub(super) fn keys(&self) -> usize {
        self.buckets.len()
    }
}

fn whole_ms(wait: Duration) -> Duration {
    let ms = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}
