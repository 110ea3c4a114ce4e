use prometheus::{Gauge, Registry};

use super::{Metrics, MetricsError, as_float, gauge};
use crate::DiskSpace;

#[derive(Clone)]
pub(super) struct DiskMetrics {
    available: Gauge,
    size: Gauge,
}

impl DiskMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            available: gauge(registry, "data_dir_available_bytes", "Free space where the data directory is")?,
            size: gauge(registry, "data_dir_size_bytes", "Size of the disk that the data directory is on")?,
        })
    }
}

impl Metrics {
    /// Asks this for the space on the disk of the data directory whenever metrics are read; `None` while it is not known.
    pub fn observe_disk(&self, read: impl Fn() -> Option<DiskSpace> + Send + Sync + 'static) {
        let disk = self.disk.clone();
        self.before_reading(move || {
            if let Some(space) = read() {
                disk.available.set(as_float(space.available_bytes));
                disk.size.set(as_float(space.size_bytes));
            }
        });
    }
}
