//! Deriving the states of rooms from a version of this server that stored none.

use std::sync::Arc;

use homeserver_core::Clock;
use rooms::RoomCheck;
use serde::{Deserialize, Serialize};
use storage::{Database, Interned, StorageError};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

/// Derives the states of rooms that have none. Until then no event can be sent into them.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct WorkOutStates {}

impl Job for WorkOutStates {
    const NAME: &str = "work_out_states";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;

    fn key(&self) -> Option<String> {
        Some(String::new())
    }
}

impl WorkOutStates {
    /// Schedules the work if there is any: after an upgrade from a version that did not store states.
    pub async fn schedule_if_needed(database: &Database, clock: &dyn Clock) -> Result<(), StorageError> {
        if database.rooms_without_state().await?.is_empty() {
            return Ok(());
        }
        let now = clock.now();
        database.write(async move |tx| Self {}.schedule(tx, now).await.map(drop)).await
    }
}

/// Derives states room by room. After an interruption it continues with the rooms that are left.
pub struct StateCompletion {
    database: Database,
    check: RoomCheck,
}

impl StateCompletion {
    /// Derives the states of rooms in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        let check = RoomCheck::new(database.clone(), interned);
        Self { database, check }
    }
}

impl Handle<WorkOutStates> for StateCompletion {
    async fn run(&self, _: WorkOutStates, run: &Run) -> Result<(), JobError> {
        let rooms = self.database.rooms_without_state().await?;
        let total = rooms.len() as u64;
        let mut failed = Vec::new();
        for (done, room_sn) in (0..).zip(rooms) {
            run.progress(done, total, "Deriving the states of rooms").await;
            // A room that cannot be read must not stop the others.
            if let Err(error) = self.check.complete(room_sn).await {
                tracing::warn!(%room_sn, %error, "the states of a room could not be derived");
                failed.push(format!("room {room_sn}: {error}"));
            }
        }
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(JobError::Retry(format!("{} of {total} rooms have no states; {first}", failed.len()))),
        }
    }
}
