use prometheus::{IntGaugeVec, Opts, Registry};

use super::{Metrics, MetricsError, registered};

pub(super) fn gauges(registry: &Registry) -> Result<IntGaugeVec, MetricsError> {
    let opts = Opts::new("synapse_rust_build_info", "Always 1; what runs is in the labels");
    registered(registry, IntGaugeVec::new(opts, &["version", "database"])?)
}

impl Metrics {
    /// Says which version runs, on which kind of database.
    pub fn describe_build(&self, version: &str, database: &str) {
        self.build.with_label_values(&[version, database]).set(1);
    }
}
