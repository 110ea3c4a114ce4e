use std::time::Duration;

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{MetricsError, counters, gauge, registered};

/// Jobs of one name in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReading {
    /// The name.
    pub name: String,
    /// `waiting`, `running` or `given_up`.
    pub state: &'static str,
    /// How many there are.
    pub count: i64,
}

/// How much there is on the server; see [`JobMetrics::set_statistics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatisticsReading {
    /// Accounts that are neither closed nor guests'.
    pub local_users: i64,
    /// How many of them were seen within a day.
    pub daily_active_users: i64,
    /// How many of them were seen within thirty days.
    pub monthly_active_users: i64,
    /// Rooms that are known here.
    pub rooms: i64,
    /// Messages within a day.
    pub daily_messages: i64,
    /// Messages that users of this server sent within a day.
    pub daily_sent_messages: i64,
}

/// The metrics of jobs, with the statistics that they count.
#[derive(Clone)]
pub struct JobMetrics {
    jobs: [(&'static str, IntGaugeVec); 3],
    oldest_due_seconds: Gauge,
    run_seconds: HistogramVec,
    retries: IntCounterVec,
    queue_depth: IntGaugeVec,
    queue_dropped: IntCounterVec,
    statistics: [Gauge; 6],
}

/// From the removal of a row to that of a whole room.
const RUN_SECONDS: [f64; 10] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

impl JobMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let by_name = |name: &str, help: &str| registered(registry, IntGaugeVec::new(Opts::new(name, help), &["job"])?);
        let seconds =
            HistogramOpts::new("job_duration_seconds", "Time of one run of a job").buckets(RUN_SECONDS.to_vec());
        let depth = Opts::new("queue_depth", "Items that wait in a queue in memory");
        Ok(Self {
            jobs: [
                ("waiting", by_name("jobs_waiting", "Jobs that wait, on all nodes")?),
                ("running", by_name("jobs_running", "Jobs that run, on all nodes")?),
                ("given_up", by_name("jobs_given_up", "Jobs that were given up and are still kept")?),
            ],
            oldest_due_seconds: gauge(
                registry,
                "jobs_oldest_due_age_seconds",
                "For how long the longest waiting of the jobs that are due has been due",
            )?,
            run_seconds: registered(registry, HistogramVec::new(seconds, &["job", "end"])?)?,
            retries: counters(registry, "job_retries_total", "Runs of jobs that failed and are tried again", &["job"])?,
            queue_depth: registered(registry, IntGaugeVec::new(depth, &["queue"])?)?,
            queue_dropped: counters(
                registry,
                "queue_dropped_total",
                "Items for which a queue in memory had no room",
                &["queue"],
            )?,
            statistics: [
                gauge(registry, "local_users", "Accounts that are neither closed nor guests'")?,
                gauge(registry, "daily_active_users", "Users of this server seen within a day")?,
                gauge(registry, "monthly_active_users", "Users of this server seen within thirty days")?,
                gauge(registry, "known_rooms", "Rooms that this server knows")?,
                gauge(registry, "daily_messages", "Messages within a day")?,
                gauge(registry, "daily_sent_messages", "Messages that users of this server sent within a day")?,
            ],
        })
    }

    /// Counts one run of a job, and how it ended; `retried` is also counted on its own.
    pub fn run_ended(&self, job: &str, end: &str, took: Duration) {
        self.run_seconds.with_label_values(&[job, end]).observe(took.as_secs_f64());
        if end == "retried" {
            self.retries.with_label_values(&[job]).inc();
        }
    }

    /// Shows how many jobs there are, and for how long the longest waiting one has been due.
    pub fn set_jobs(&self, readings: &[JobReading], oldest_due: Duration) {
        for (state, gauges) in &self.jobs {
            gauges.reset();
            for reading in readings.iter().filter(|reading| reading.state == *state) {
                gauges.with_label_values(&[reading.name.as_str()]).set(reading.count);
            }
        }
        self.oldest_due_seconds.set(oldest_due.as_secs_f64());
    }

    /// Shows how full a queue in memory is, and how much it has dropped since the start.
    pub fn set_queue(&self, queue: &str, depth: usize, dropped: u64) {
        self.queue_depth.with_label_values(&[queue]).set(i64::try_from(depth).unwrap_or(i64::MAX));
        let counter = self.queue_dropped.with_label_values(&[queue]);
        counter.inc_by(dropped.saturating_sub(counter.get()));
    }

    /// Shows what was counted last.
    #[expect(clippy::cast_precision_loss, reason = "a gauge does not need the last digits of a count beyond 2^53")]
    pub fn set_statistics(&self, reading: &StatisticsReading) {
        let values = [
            reading.local_users,
            reading.daily_active_users,
            reading.monthly_active_users,
            reading.rooms,
            reading.daily_messages,
            reading.daily_sent_messages,
        ];
        self.statistics.iter().zip(values).for_each(|(gauge, value)| gauge.set(value as f64));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{JobReading, StatisticsReading};
    use crate::Metrics;

    #[test]
    fn jobs_are_shown_by_name_and_what_is_gone_is_not() {
        let metrics = Metrics::new().unwrap();
        let reading = |name: &str, state, count| JobReading { name: name.to_owned(), state, count };
        metrics.jobs().set_jobs(&[reading("old", "waiting", 7)], Duration::ZERO);
        let now = [reading("mail", "waiting", 2), reading("mail", "given_up", 1)];
        metrics.jobs().set_jobs(&now, Duration::from_millis(1500));
        metrics.jobs().run_ended("mail", "retried", Duration::from_millis(2));
        metrics.jobs().set_queue("pushes", 4, 3);
        metrics.jobs().set_queue("pushes", 1, 5);
        metrics.jobs().set_statistics(&StatisticsReading { rooms: 9, ..StatisticsReading::default() });
        let text = metrics.render().unwrap();
        for line in [
            "jobs_waiting{job=\"mail\"} 2",
            "jobs_given_up{job=\"mail\"} 1",
            "jobs_oldest_due_age_seconds 1.5",
            "job_retries_total{job=\"mail\"} 1",
            "job_duration_seconds_count{end=\"retried\",job=\"mail\"} 1",
            "queue_depth{queue=\"pushes\"} 1",
            "queue_dropped_total{queue=\"pushes\"} 5",
            "known_rooms 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("\"old\""));
    }
}
