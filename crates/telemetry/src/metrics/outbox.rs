//! The metrics of what other servers are sent.

use prometheus::{IntCounter, IntGauge};

use super::{Metrics, MetricsError, raise, registered};

/// The metrics of what other servers are sent. Only the node that sends has something to tell.
#[derive(Clone)]
pub struct OutboxMetrics {
    destinations: IntGauge,
    behind: IntGauge,
    waiting: IntGauge,
    transactions: IntCounter,
    failures: IntCounter,
}

impl OutboxMetrics {
    /// Registers them.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let registry = &metrics.registry;
        let gauge = |name, help| registered(registry, IntGauge::new(name, help)?);
        let counter = |name, help| registered(registry, IntCounter::new(name, help)?);
        Ok(Self {
            destinations: gauge(
                "outbox_destinations",
                "Other servers that were sent something since the start, or are behind",
            )?,
            behind: gauge(
                "outbox_destinations_behind",
                "Other servers that do not have everything that is meant for them",
            )?,
            waiting: gauge(
                "outbox_waiting_events",
                "Events that wait in memory, once for each server that is to get them",
            )?,
            transactions: counter("outbox_transactions_total", "Transactions that were sent to other servers")?,
            failures: counter("outbox_failures_total", "Attempts to send to another server that failed")?,
        })
    }

    /// Tells how many servers there are, how many of them are behind, and how many events wait.
    pub fn set_destinations(&self, all: usize, behind: usize, waiting: usize) {
        for (gauge, count) in [(&self.destinations, all), (&self.behind, behind), (&self.waiting, waiting)] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Tells how many transactions were sent since the start, and how many attempts failed.
    pub fn set_transactions(&self, sent: u64, failures: u64) {
        raise(&self.transactions, sent);
        raise(&self.failures, failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_outbox_does_is_told() {
        let metrics = Metrics::new().unwrap();
        let outbox = OutboxMetrics::new(&metrics).unwrap();
        outbox.set_destinations(3, 1, 20);
        outbox.set_transactions(7, 2);
        let text = metrics.render().unwrap();
        for line in [
            "outbox_destinations 3",
            "outbox_destinations_behind 1",
            "outbox_waiting_events 20",
            "outbox_transactions_total 7",
            "outbox_failures_total 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
