//! Statistics of the server: users, rooms and messages.

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock, Position, Timestamp};
use serde::{Deserialize, Serialize};
use storage::{Database, ServerStatistics, StorageError};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Statistics are kept for so long.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);
/// One statement counts the messages in so many positions of the log.
const POSITIONS_AT_ONCE: i64 = 20_000;
/// The most counts that are shown at once.
const MAX_SHOWN: u32 = 1_000;

/// Counts users, rooms and messages.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct CountStatistics {}

impl Job for CountStatistics {
    const NAME: &str = "count_statistics";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Counts users, rooms and messages.
pub struct Counting {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl Counting {
    /// Counts in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    async fn messages_since(&self, since: Timestamp) -> Result<(i64, i64), StorageError> {
        let (mut after, end) = (self.database.position_at(since).await?, self.database.position().await?);
        let (mut all, mut sent) = (0, 0);
        while after < end {
            let until = Position(after.0.saturating_add(POSITIONS_AT_ONCE)).min(end);
            let counted = self.database.count_messages(after, until).await?;
            (all, sent) = (all + counted.0, sent + counted.1);
            after = until;
            tokio::task::yield_now().await;
        }
        Ok((all, sent))
    }
}

impl Handle<CountStatistics> for Counting {
    async fn run(&self, _: CountStatistics, run: &Run) -> Result<(), JobError> {
        run.progress(0, 0, "Counting users, rooms and messages").await;
        let (database, now) = (&self.database, self.clock.now());
        let (daily_messages, daily_sent_messages) = self.messages_since(now.minus(DAY)).await?;
        let counted = ServerStatistics {
            counted_at: now,
            local_users: database.count_users().await?,
            daily_active_users: database.count_active_users(now.minus(DAY)).await?,
            monthly_active_users: database.count_active_users(now.minus(MONTH)).await?,
            rooms: database.count_rooms().await?,
            daily_messages,
            daily_sent_messages,
        };
        database.store_statistics(counted, now.minus(KEEP)).await?;
        Ok(())
    }
}

/// Shows the stored counts.
pub struct Statistics {
    database: Database,
}

impl Statistics {
    /// The counts in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The last `limit` counts, newest first, and at most a thousand.
    pub async fn last(&self, limit: u32) -> Result<Vec<ServerStatistics>, StorageError> {
        self.database.statistics(limit.min(MAX_SHOWN).into()).await
    }
}
