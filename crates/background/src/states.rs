//! Working out the states of rooms that are older than stored states.

use std::sync::Arc;

use homeserver_core::Clock;
use rooms::RoomCheck;
use serde::{Deserialize, Serialize};
use storage::{Database, Interned, StorageError};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

/// The states of rooms that are older than stored states are to be worked out. Until then nothing is sent into those rooms.
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
    ///
    /// # Errors
    /// [`StorageError`] if the database fails.
    pub async fn schedule_if_needed(database: &Database, clock: &dyn Clock) -> Result<(), StorageError> {
        if database.rooms_without_state().await?.is_empty() {
            return Ok(());
        }
        let now = clock.now();
        database.write(async move |tx| Self {}.schedule(tx, now).await.map(drop)).await
    }
}

/// Works them out, room by room. What is stored when it is interrupted stays.
pub struct StateCompletion {
    database: Database,
    check: RoomCheck,
}

impl StateCompletion {
    /// Works out the states of rooms in `database`.
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
            run.progress(done, total, "Working out the states of rooms").await;
            // One room that cannot be read must not keep the others waiting.
            if let Err(error) = self.check.complete(room_sn).await {
                tracing::warn!(%room_sn, %error, "the states of a room could not be worked out");
                failed.push(format!("room {room_sn}: {error}"));
            }
        }
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(JobError::Retry(format!("{} of {total} rooms have no states; {first}", failed.len()))),
        }
    }
}
