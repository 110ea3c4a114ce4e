//! What caches keep, and what that is good for.

use homeserver_core::{MemoryBudget, MemoryUsage};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{CacheCounts, MetricsError, counters, registered};

pub(super) struct CacheMetrics {
    hits: IntCounterVec,
    misses: IntCounterVec,
    evictions: IntCounterVec,
    entries: IntGaugeVec,
    size_bytes: IntGaugeVec,
    capacity_bytes: IntGaugeVec,
}

impl CacheMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let counters = |name: &str, help: &str| counters(registry, name, help, &["cache"]);
        let gauges =
            |name: &str, help: &str| registered(registry, IntGaugeVec::new(Opts::new(name, help), &["cache"])?);
        Ok(Self {
            hits: counters("cache_hits_total", "Look-ups that a cache answered")?,
            misses: counters("cache_misses_total", "Look-ups that had to load")?,
            evictions: counters("cache_evictions_total", "Entries dropped for want of room")?,
            entries: gauges("cache_entries", "Entries kept")?,
            size_bytes: gauges("cache_size_bytes", "Memory taken")?,
            capacity_bytes: gauges("cache_capacity_bytes", "Memory that may be taken: the share of the budget")?,
        })
    }

    /// What a cache counts that has no share of the budget.
    pub(super) fn set_counts(&self, cache: &str, counts: CacheCounts) {
        raise(&self.hits, cache, counts.hits);
        raise(&self.misses, cache, counts.misses);
    }

    pub(super) fn set(&self, budget: &MemoryBudget) {
        for (cache, usage) in budget.usage() {
            self.set_counts(cache, CacheCounts { hits: usage.hits, misses: usage.misses });
            raise(&self.evictions, cache, usage.evictions);
            let set = |gauges: &IntGaugeVec, value: u64| {
                gauges.with_label_values(&[cache]).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.entries, usage.entries);
            set(&self.size_bytes, usage.bytes());
            set(&self.capacity_bytes, usage.capacity_bytes);
        }
    }
}

/// The sum of all users of the budget.
pub(super) fn sum(budget: &MemoryBudget) -> MemoryUsage {
    budget.usage().iter().fold(MemoryUsage::default(), |sum, (_, usage)| sum.plus(usage))
}

fn raise(counters: &IntCounterVec, cache: &str, count: u64) {
    let counter = counters.with_label_values(&[cache]);
    counter.inc_by(count.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use homeserver_core::{Cache, MemoryBudget};

    use crate::Metrics;

    #[test]
    fn what_each_cache_keeps_is_in_the_text() {
        let (metrics, budget) = (Metrics::new().unwrap(), MemoryBudget::default());
        let names: Cache<i64, Arc<str>> = Cache::new(&budget, "names");
        metrics.observe_caches(budget);
        names.insert(1, "one".into());
        assert!(names.get(&1).is_some() && names.get(&2).is_none());
        let text = metrics.render().unwrap();
        for line in [
            "cache_hits_total{cache=\"names\"} 1",
            "cache_misses_total{cache=\"names\"} 1",
            "cache_evictions_total{cache=\"names\"} 0",
            "cache_entries{cache=\"names\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let value = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{cache=\"names\"}}"))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let usage = names.usage();
        assert_eq!((value("cache_size_bytes"), value("cache_capacity_bytes")), (usage.bytes(), usage.capacity_bytes));
        assert_eq!(metrics.cache_hit_rate(), Some(0.5));
    }
}
