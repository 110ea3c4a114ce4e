//! What a running server tells about itself: [logs](Logs), [traces](Traces), [metrics](Metrics) and
//! [health](HealthProbe).
//!
//! Logs and traces belong to the process, and only a binary installs them. Metrics and health belong to a
//! server, so that two servers in one process count apart.

mod disk;
mod health;
mod logs;
mod metrics;
mod process;
mod trace;

use std::error::Error;

pub use disk::DiskSpace;
pub use health::{
    BackgroundHealth, CacheHealth, CacheStatus, DatabaseHealth, DiskHealth, Health, HealthChecks, HealthProbe,
    PartHealth, Probe, Readiness, Status,
};
pub use logs::{LogOptions, Logs, LogsError, check_filter, install_logs, subscriber};
pub use metrics::{
    CacheCounts, DatabaseMetrics, FederationMetrics, JobMetrics, JobReading, LimitMetrics, LogMetrics, LogReading,
    Metrics, MetricsError, OutboxMetrics, PoolReading, RateLimitMetrics, StatementTimes, StatisticsReading,
    SyncReading,
};
pub use trace::{
    RemoteTraces, RequestFacts, RequestSpan, SpanCounts, TraceOptions, Traces, inject_trace_context, record_requester,
};

/// An error with what caused it, and what caused that.
#[must_use]
pub fn cause_chain(error: &dyn Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    chain
}
