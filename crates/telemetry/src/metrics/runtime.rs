use std::time::Duration;

use prometheus::{CounterVec, IntGauge, Opts, Registry};
use tokio::runtime::Handle;

use super::{MetricsError, registered};

/// What Tokio's stable interface tells of the runtime.
pub(super) struct RuntimeGauges {
    workers: IntGauge,
    tasks: IntGauge,
    queued: IntGauge,
    busy: CounterVec,
}

impl RuntimeGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help)?);
        let busy = Opts::new("tokio_worker_busy_seconds_total", "Time that a thread has spent on tasks");
        Ok(Self {
            workers: gauge("tokio_workers", "Threads that run tasks")?,
            tasks: gauge("tokio_alive_tasks", "Tasks that have not ended")?,
            queued: gauge("tokio_global_queue_depth", "Tasks that wait for a thread in the shared queue")?,
            busy: registered(registry, CounterVec::new(busy, &["worker"])?)?,
        })
    }

    pub(super) fn set(&self, handle: &Handle) {
        let metrics = handle.metrics();
        let set = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.workers, metrics.num_workers());
        set(&self.tasks, metrics.num_alive_tasks());
        set(&self.queued, metrics.global_queue_depth());
        for worker in 0..metrics.num_workers() {
            let busy: Duration = metrics.worker_total_busy_duration(worker);
            let counter = self.busy.with_label_values(&[worker.to_string().as_str()]);
            counter.inc_by((busy.as_secs_f64() - counter.get()).max(0.0));
        }
    }
}
