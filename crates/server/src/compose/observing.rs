//! Connects components to metrics and to the health check: components know of neither.

use std::{path::PathBuf, sync::Arc, time::Duration};

use event_log::LogProgress;
use storage::{Database, DatabaseObserver, Engine, StatementTimes};
use sync::v3::Sync;
use tasks::loops::Loops;
use telemetry::{DatabaseMetrics, DiskSpace, HealthChecks, HealthProbe, LogReading, Metrics, PoolReading, SyncReading};

use crate::VERSION;

/// Counts what the database does.
pub(crate) struct ObservedDatabase(pub(crate) Arc<DatabaseMetrics>);

impl DatabaseObserver for ObservedDatabase {
    fn statements(&self, operation: &str) -> StatementTimes {
        let times = self.0.statements(operation);
        Arc::new(move |took| times.took(took))
    }

    fn connection_acquired(&self, waited: Duration) {
        self.0.connection_acquired(waited);
    }

    fn connection_timed_out(&self) {
        self.0.connection_timed_out();
    }

    fn committed(&self, writes: usize, transaction: Duration, commit: Duration) {
        self.0.committed(writes, transaction, commit);
    }

    fn write_failed(&self) {
        self.0.write_failed();
    }
}

/// Shows the database's connections and the writer's queue in the metrics.
pub(crate) fn observe_database(metrics: &Metrics, database: &Database) {
    let engine = match database.engine() {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgresql",
    };
    metrics.describe_build(VERSION, engine);
    let connected = database.clone();
    metrics.observe_database(move || connected.connections());
    let database = database.clone();
    metrics.observe_pool(move || {
        let storage::PoolState { open, idle, max, waiting, queued_writes } = database.pool();
        PoolReading { open, idle, max, waiting, queued_writes }
    });
}

/// Shows how far the log and its followers are in the metrics.
pub(crate) fn observe_log(metrics: &Metrics, progress: Arc<LogProgress>) {
    metrics.observe_log(move || LogReading {
        position: progress.committed().0,
        followed: progress.followed().0,
        overflows: progress.overflows(),
    });
}

/// Shows the counts of `/sync` in the metrics.
pub(crate) fn observe_sync(metrics: &Metrics, sync: Arc<Sync>) {
    metrics.observe_sync(move || {
        let sync::v3::SyncCounts { initial, incremental, timeouts, wakeups, waiting } = sync.counts();
        SyncReading { initial, incremental, timeouts, wakeups, waiting }
    });
}

/// The health check of a server with its files in `data_dir`.
pub(crate) fn health_probe(
    metrics: Arc<Metrics>,
    database: &Database,
    progress: Arc<LogProgress>,
    data_dir: PathBuf,
    loops: &Loops,
) -> Arc<HealthProbe> {
    let (asked, written, committed, followed) =
        (database.clone(), database.clone(), database.clone(), database.clone());
    let (failing, stopping) = (loops.clone(), loops.stopping().clone());
    let checks = HealthChecks {
        database: Box::new(move || {
            let database = asked.clone();
            Box::pin(async move { database.ping().await.map_err(|error| error.to_string()) })
        }),
        writer: Box::new(move || {
            let database = written.clone();
            // It takes the lock that every append takes, and changes nothing.
            Box::pin(async move { database.settled_position().await.map(drop).map_err(|error| error.to_string()) })
        }),
        last_commit: Box::new(move || committed.last_commit()),
        disk: Box::new(move || {
            let data_dir = data_dir.clone();
            Box::pin(async move {
                // A disk on the network may hang.
                let space = tokio::task::spawn_blocking(move || DiskSpace::of(&data_dir)).await;
                space.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            })
        }),
        untold_for: Box::new(move || progress.waiting_for()),
        lost_for: Box::new(move || followed.lost_log().map(|lost| lost.lasts)),
        failing_loops: Box::new(move || failing.failing()),
        is_stopping: Box::new(move || stopping.is_cancelled()),
    };
    let probe = Arc::new(HealthProbe::new(VERSION, metrics.clone(), checks));
    let disk = Arc::downgrade(&probe);
    // Looks at the disk now, so that the first health check has an answer.
    let _ = probe.disk_space();
    metrics.observe_disk(move || disk.upgrade()?.disk_space());
    probe
}
