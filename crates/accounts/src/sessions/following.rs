//! Notices what ends or changes sessions elsewhere: on other nodes, and by commands of the operator.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::UserSn;
use parking_lot::Mutex;
use storage::{LogEntry, LogObserver, StorageError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Sessions;

/// How long to wait before it is looked again which sessions have ended, when that failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The users whose accounts were changed elsewhere, and whose sessions have not been looked at since.
#[derive(Default)]
pub(super) struct Changed {
    users: Mutex<HashSet<UserSn>>,
    bell: Notify,
}

impl Sessions {
    /// Begins to follow the log for what ends sessions, until `stopping` is cancelled.
    pub fn follow(self: &Arc<Self>, stopping: CancellationToken) {
        self.database.observe(self.clone());
        let sessions = self.clone();
        tokio::spawn(async move { stopping.run_until_cancelled(sessions.follow_forever()).await });
    }

    async fn follow_forever(&self) {
        loop {
            self.changed.bell.notified().await;
            let users = std::mem::take(&mut *self.changed.users.lock());
            if let Err(error) = self.end_those_gone(&users).await {
                tracing::debug!(%error, "sessions that ended elsewhere are not known yet");
                tokio::time::sleep(RETRY_AFTER).await;
                self.changed.users.lock().extend(users);
                self.changed.bell.notify_one();
            }
        }
    }

    /// Ends the sessions of users that are not in the database any more, for the requests that wait.
    async fn end_those_gone(&self, users: &HashSet<UserSn>) -> Result<(), StorageError> {
        let known = self.endings.of_users(users);
        if known.is_empty() {
            return Ok(());
        }
        let existing: HashSet<_> = self.database.existing_access_tokens(&known).await?.into_iter().collect();
        known.iter().filter(|hash| !existing.contains(*hash)).for_each(|hash| self.endings.end(hash));
        Ok(())
    }
}

impl LogObserver<LogEntry> for Sessions {
    fn committed(&self, _: &[LogEntry]) {}

    /// What this process changes it forgets by itself.
    fn committed_elsewhere(&self, entries: &[LogEntry]) {
        let changed = entries.iter().filter_map(|entry| match entry {
            LogEntry::Account { user_sn, has_ended, .. } => Some((*user_sn, *has_ended)),
            _ => None,
        });
        let (users, ended): (HashSet<UserSn>, Vec<_>) =
            changed.map(|(user_sn, has_ended)| (user_sn, has_ended.then_some(user_sn))).unzip();
        if users.is_empty() {
            return;
        }
        // From now on each token is looked up again before it is believed.
        self.endings.note_change();
        for hash in self.endings.of_users(&users) {
            self.remembered.remove(&hash);
        }
        self.changed.users.lock().extend(ended.into_iter().flatten());
        self.changed.bell.notify_one();
    }
}
