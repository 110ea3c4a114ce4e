//! Removing rooms that all users of this server have left and forgotten.

use homeserver_core::RoomSn;
use serde::{Deserialize, Serialize};
use storage::Database;
use tasks::queue::{Handle, Job, JobError, Priority, Run};

use super::REST;

/// One step looks at so many rooms.
const ROOMS_AT_ONCE: i64 = 200;
/// One step removes so many rows of each table.
const ROWS_AT_ONCE: i64 = 200;

/// Removes rooms that all users of this server have left and forgotten.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct PurgeForgottenRooms {}

impl Job for PurgeForgottenRooms {
    const NAME: &str = "purge_forgotten_rooms";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Removes rooms in small steps. After an interruption the next run continues.
pub struct RoomPurge {
    database: Database,
}

impl RoomPurge {
    /// Removes rooms from `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn begin_all(&self) -> Result<(), JobError> {
        let mut after = RoomSn(i64::MIN);
        loop {
            let (forgotten, next) = self.database.forgotten_rooms(after, ROOMS_AT_ONCE).await?;
            for room_sn in forgotten {
                self.database.begin_room_purge(room_sn).await?;
            }
            let Some(next) = next else { return Ok(()) };
            after = next;
            tokio::time::sleep(REST).await;
        }
    }
}

impl Handle<PurgeForgottenRooms> for RoomPurge {
    async fn run(&self, _: PurgeForgottenRooms, run: &Run) -> Result<(), JobError> {
        self.begin_all().await?;
        let rooms = self.database.room_purges().await?;
        let total = rooms.len() as u64;
        for (done, room_sn) in (0..).zip(rooms) {
            while self.database.continue_room_purge(room_sn, ROWS_AT_ONCE).await? > 0 {
                run.progress(done, total, "Removing rooms that everybody has forgotten").await;
                tokio::time::sleep(REST).await;
            }
        }
        run.progress(total, total, "Removed rooms that everybody had forgotten").await;
        if total > 0 {
            tracing::info!(removed = total, "removed rooms that everybody had forgotten");
        }
        Ok(())
    }
}
