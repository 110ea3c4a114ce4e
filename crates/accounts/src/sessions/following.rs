//! Notices what other processes on the same database have changed: other nodes, and commands of the operator.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeserver_core::{Position, UserSn};
use storage::StorageError;
use tokio_util::sync::CancellationToken;

use super::Sessions;

/// How soon a change is noticed. One look is one read by the primary key.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Changes that are looked at together.
const AT_ONCE: i64 = 1_000;
/// Changes are kept for an hour. A process that has not looked for so long checks all the sessions that it remembers.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

impl Sessions {
    /// Begins to follow what other processes change, until `stopping` is cancelled.
    ///
    /// # Errors
    /// [`StorageError`] if the last change cannot be read.
    pub async fn follow(self: &Arc<Self>, stopping: CancellationToken) -> Result<(), StorageError> {
        let after = self.database.last_account_change().await?;
        let sessions = self.clone();
        tokio::spawn(async move { stopping.run_until_cancelled(sessions.follow_forever(after)).await });
        Ok(())
    }

    async fn follow_forever(&self, mut after: Position) {
        let mut looked_at = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let is_late = looked_at.elapsed() > LONGEST_PAUSE;
            match self.look(after, is_late).await {
                Ok(position) => (after, looked_at) = (position, Instant::now()),
                Err(error) => tracing::debug!(%error, "sessions that ended elsewhere are not known yet"),
            }
        }
    }

    /// Looks at the changes after `after`, and at all sessions if `everybody` says so. Returns the last change.
    async fn look(&self, mut after: Position, everybody: bool) -> Result<Position, StorageError> {
        if everybody {
            after = self.database.last_account_change().await?;
            self.check(None).await?;
        }
        loop {
            let changes = self.database.account_changes(after, AT_ONCE).await?;
            let Some((last, _)) = changes.last() else { return Ok(after) };
            after = *last;
            let users: HashSet<UserSn> = changes.iter().map(|(_, user_sn)| *user_sn).collect();
            self.check(Some(&users)).await?;
        }
    }

    /// Forgets what is remembered of users' sessions, and ends those that are not in the database any more.
    async fn check(&self, users: Option<&HashSet<UserSn>>) -> Result<(), StorageError> {
        self.endings.note_change();
        let known = self.endings.of_users(users);
        if known.is_empty() {
            return Ok(());
        }
        for hash in &known {
            self.remembered.remove(hash);
        }
        let existing: HashSet<_> = self.database.existing_access_tokens(&known).await?.into_iter().collect();
        known.iter().filter(|hash| !existing.contains(*hash)).for_each(|hash| self.endings.end(hash));
        Ok(())
    }
}
