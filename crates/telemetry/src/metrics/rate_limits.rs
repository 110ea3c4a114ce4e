//! What limits on how often something is done count.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::{Metrics, MetricsError, counters, registered};

/// The metrics of rate limits, for each kind of action by its name.
#[derive(Clone)]
pub struct RateLimitMetrics {
    refused: IntCounterVec,
    keys: IntGaugeVec,
}

impl RateLimitMetrics {
    /// Registers them.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let keys = Opts::new("rate_limit_keys", "Users, addresses and so on that a rate limit remembers");
        Ok(Self {
            refused: counters(
                &metrics.registry,
                "rate_limited_requests_total",
                "Requests refused because something was done too often",
                &["kind"],
            )?,
            keys: registered(&metrics.registry, IntGaugeVec::new(keys, &["kind"])?)?,
        })
    }

    /// Sets what a kind has refused since the start, and how many keys it remembers.
    pub fn set(&self, kind: &str, refused: u64, keys: usize) {
        let counter = self.refused.with_label_values(&[kind]);
        counter.inc_by(refused.saturating_sub(counter.get()));
        self.keys.with_label_values(&[kind]).set(i64::try_from(keys).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_by_its_name_and_counted_once() {
        let metrics = Metrics::new().unwrap();
        let rate_limits = RateLimitMetrics::new(&metrics).unwrap();
        rate_limits.set("message", 3, 5);
        rate_limits.set("message", 4, 2);
        let text = metrics.render().unwrap();
        assert!(text.contains("rate_limited_requests_total{kind=\"message\"} 4"), "{text}");
        assert!(text.contains("rate_limit_keys{kind=\"message\"} 2"), "{text}");
    }
}
