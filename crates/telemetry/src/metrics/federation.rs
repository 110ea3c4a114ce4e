//! The metrics of requests to and from other servers.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};

use super::{Metrics, MetricsError, counters, raise, registered};

/// The metrics of federation, beside those of the requests that are received and of the limit `federation_out`.
#[derive(Clone)]
pub struct FederationMetrics {
    sent: IntCounterVec,
    seconds: Histogram,
    refused: IntCounter,
    paused_servers: IntGauge,
}

/// From a server near by to the longest that is waited for.
const SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

impl FederationMetrics {
    /// Registers them.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let registry = &metrics.registry;
        let seconds = HistogramOpts::new(
            "federation_request_sent_seconds",
            "Time from sending a request to another server to the end of its answer",
        );
        let refused = IntCounter::new(
            "federation_requests_refused_total",
            "Requests refused because another server asked for too much",
        )?;
        let paused_servers = IntGauge::new(
            "federation_paused_servers",
            "Other servers that are left alone for a while because they were not reached, as far as this node knows",
        )?;
        let group = Self {
            sent: counters(
                registry,
                "federation_requests_sent_total",
                "Requests to other servers, by how they ended: the class of the status, failed, or timed_out",
                &["outcome"],
            )?,
            seconds: registered(registry, Histogram::with_opts(seconds.buckets(SECONDS.to_vec()))?)?,
            refused: registered(registry, refused)?,
            paused_servers: registered(registry, paused_servers)?,
        };
        for outcome in ["2xx", "4xx", "5xx", "failed", "timed_out"] {
            group.sent.with_label_values(&[outcome]);
        }
        Ok(group)
    }

    /// Counts a request that was answered with that status.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        self.ended(class, took);
    }

    /// Counts a request without an answer.
    pub fn failed(&self, took: Duration) {
        self.ended("failed", took);
    }

    /// Counts a request whose answer did not come in time.
    pub fn timed_out(&self, took: Duration) {
        self.ended("timed_out", took);
    }

    /// Tells how many requests of other servers were refused since the start.
    pub fn set_refused(&self, count: u64) {
        raise(&self.refused, count);
    }

    /// Tells how many servers are left alone because they were not reached.
    pub fn set_paused_servers(&self, count: usize) {
        self.paused_servers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn ended(&self, outcome: &str, took: Duration) {
        self.sent.with_label_values(&[outcome]).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_how_they_ended() {
        let metrics = Metrics::new().unwrap();
        let federation = FederationMetrics::new(&metrics).unwrap();
        federation.answered(200, Duration::from_millis(20));
        federation.answered(404, Duration::from_millis(20));
        federation.failed(Duration::from_secs(5));
        federation.timed_out(Duration::from_secs(30));
        federation.set_refused(3);
        federation.set_paused_servers(2);
        let text = metrics.render().unwrap();
        for line in [
            "federation_requests_sent_total{outcome=\"2xx\"} 1",
            "federation_requests_sent_total{outcome=\"4xx\"} 1",
            "federation_requests_sent_total{outcome=\"5xx\"} 0",
            "federation_requests_sent_total{outcome=\"failed\"} 1",
            "federation_requests_sent_total{outcome=\"timed_out\"} 1",
            "federation_request_sent_seconds_bucket{le=\"0.05\"} 2",
            "federation_requests_refused_total 3",
            "federation_paused_servers 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
