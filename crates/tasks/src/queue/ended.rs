//! Removing jobs that ended long ago.

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::Clock;
use serde::{Deserialize, Serialize};
use storage::Database;

use super::handlers::Handle;
use super::job::{Job, JobError, Priority};
use super::run::Run;

/// Jobs removed in one transaction.
const AT_ONCE: i64 = 500;

/// Jobs that ended long ago are to be removed. Every [`JobQueue`](super::JobQueue) sees to it by itself.
#[derive(Default, Serialize, Deserialize, Debug)]
pub struct RemoveEndedJobs {}

impl Job for RemoveEndedJobs {
    const NAME: &str = "remove_ended_jobs";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Removes them.
pub(super) struct Remover {
    pub(super) database: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keep_finished: Duration,
    pub(super) keep_given_up: Duration,
}

impl Handle<RemoveEndedJobs> for Remover {
    async fn run(&self, _: RemoveEndedJobs, run: &Run) -> Result<(), JobError> {
        let now = self.clock.now();
        let (finished, given_up) = (now.minus(self.keep_finished), now.minus(self.keep_given_up));
        let mut removed = 0;
        loop {
            let some = self.database.remove_ended_jobs(finished, given_up, AT_ONCE).await?;
            removed += some;
            run.progress(removed, 0, "Removing jobs that ended long ago").await;
            if some < AT_ONCE.unsigned_abs() {
                return Ok(());
            }
        }
    }
}
