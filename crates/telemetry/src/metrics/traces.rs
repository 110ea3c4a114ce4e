use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::{Metrics, MetricsError, counters, raise, registered};
use crate::SpanCounts;

#[derive(Clone)]
pub(super) struct TraceMetrics {
    sent: IntCounter,
    dropped: IntCounterVec,
}

impl TraceMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let sent = IntCounter::new("trace_spans_sent_total", "Spans that the collector of traces has received")?;
        let metrics = Self {
            sent: registered(registry, sent)?,
            dropped: counters(registry, "trace_spans_dropped_total", "Spans that were lost, by reason", &["reason"])?,
        };
        metrics.set(&SpanCounts::default());
        Ok(metrics)
    }

    fn set(&self, counts: &SpanCounts) {
        raise(&self.sent, counts.sent());
        raise(&self.dropped.with_label_values(&["queue_full"]), counts.not_queued());
        raise(&self.dropped.with_label_values(&["not_sent"]), counts.not_sent());
    }
}

impl Metrics {
    /// Tells of the traces of the process whenever metrics are read.
    pub fn observe_traces(&self, counts: Arc<SpanCounts>) {
        let traces = self.traces.clone();
        self.before_reading(move || traces.set(&counts));
    }
}
