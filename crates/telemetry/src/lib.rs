//! What a running server tells about itself: [logs](Logs), [metrics](Metrics) and [health](HealthProbe).
//!
//! Only the log subscriber belongs to the process, and only a binary installs it. Metrics and health belong to a
//! server, so that two servers in one process count apart.

mod health;
mod logs;
mod metrics;
mod process;

pub use health::{CacheHealth, DatabaseHealth, DatabaseProbe, Health, HealthProbe, Status};
pub use logs::{Logs, LogsError, check_filter, install_logs};
pub use metrics::{CacheCounts, JobMetrics, JobReading, Metrics, MetricsError, StatisticsReading};
