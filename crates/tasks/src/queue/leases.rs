//! What this node is doing, and its right to do it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::Clock;
use parking_lot::Mutex;
use storage::{Database, JobId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The jobs that this node runs.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<JobId, Lease>>);

#[derive(Clone)]
pub(super) struct Lease {
    /// Cancelled when the job is not this node's any more.
    pub(super) lost: CancellationToken,
    /// Cancelled when the run has ended.
    ended: CancellationToken,
    renewed_at: Instant,
}

impl Leases {
    /// Begins a run. One of the same job that has lost its lease ends first.
    pub(super) async fn begin(&self, job_id: JobId) -> Lease {
        loop {
            let earlier = {
                let mut leases = self.0.lock();
                match leases.get(&job_id) {
                    Some(earlier) => earlier.clone(),
                    None => {
                        let (lost, ended) = (CancellationToken::new(), CancellationToken::new());
                        let lease = Lease { lost, ended, renewed_at: Instant::now() };
                        leases.insert(job_id, lease.clone());
                        return lease;
                    }
                }
            };
            earlier.lost.cancel();
            earlier.ended.cancelled().await;
        }
    }

    pub(super) fn end(&self, job_id: JobId) {
        if let Some(lease) = self.0.lock().remove(&job_id) {
            lease.ended.cancel();
        }
    }

    fn held(&self) -> Vec<i64> {
        self.0.lock().keys().map(|job_id| job_id.0).collect()
    }

    fn renewed(&self, asked: &[i64], held: &[JobId]) {
        let held: HashSet<JobId> = held.iter().copied().collect();
        let mut leases = self.0.lock();
        for job_id in asked.iter().map(|number| JobId(*number)) {
            let Some(lease) = leases.get_mut(&job_id) else { continue };
            if held.contains(&job_id) {
                lease.renewed_at = Instant::now();
            } else {
                lease.lost.cancel();
            }
        }
    }

    /// Drops what others may have taken by now.
    fn drop_older_than(&self, length: Duration) {
        let leases = self.0.lock();
        leases.values().filter(|lease| lease.renewed_at.elapsed() >= length).for_each(|lease| lease.lost.cancel());
    }
}

/// Renews the leases of whatever runs here, until it is dropped. A node that runs nothing writes nothing.
pub(super) async fn renew(database: Database, clock: Arc<dyn Clock>, node: String, length: Duration, leases: &Leases) {
    // Two renewals may fail.
    let interval = (length / 3).max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(interval).await;
        let jobs = leases.held();
        if jobs.is_empty() {
            continue;
        }
        let until = clock.now().plus(length);
        match tokio::time::timeout(interval, database.renew_job_leases(node.clone(), jobs.clone(), until)).await {
            Ok(Ok(held)) => leases.renewed(&jobs, &held),
            Ok(Err(error)) => tracing::warn!(%error, "the leases of running jobs were not renewed"),
            Err(_) => tracing::warn!("the leases of running jobs were not renewed in time"),
        }
        leases.drop_older_than(length);
    }
}
