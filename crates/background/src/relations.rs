//! Finding the relations of events that a version of this server stored that kept none.

use homeserver_core::Clock;
use serde::{Deserialize, Serialize};
use storage::{Database, StorageError};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

use crate::REST;

/// So many events are looked through at a time.
const EVENTS_AT_ONCE: i64 = 500;

/// Finds what old events relate to, the newest first.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct FindOldRelations {}

impl Job for FindOldRelations {
    const NAME: &str = "find_old_relations";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;

    fn key(&self) -> Option<String> {
        Some(String::new())
    }
}

impl FindOldRelations {
    /// Schedules the work if there is any: after an upgrade from a version that did not keep relations.
    ///
    /// # Errors
    /// [`StorageError`] if the database fails.
    pub async fn schedule_if_needed(database: &Database, clock: &dyn Clock) -> Result<(), StorageError> {
        if database.old_relations().await?.is_none() {
            return Ok(());
        }
        let now = clock.now();
        database.write(async move |tx| Self {}.schedule(tx, now).await.map(drop)).await
    }
}

/// Looks through old events. After an interruption it goes on where it was.
pub struct RelationFinder {
    database: Database,
}

impl RelationFinder {
    /// Looks through the events in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

impl Handle<FindOldRelations> for RelationFinder {
    async fn run(&self, _: FindOldRelations, run: &Run) -> Result<(), JobError> {
        while let Some(left) = self.database.index_old_relations(EVENTS_AT_ONCE).await? {
            let note = format!("The events up to number {} are left", left.missing_up_to);
            run.progress(0, 0, note).await;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }
}
