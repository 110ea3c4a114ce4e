//! The background work on presence: finds changes that time brings about, writes them, and wakes waiting requests.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeserver_core::{RoomSn, UserSn};
use storage::{Engine, LogEntry, LogObserver, StorageError};
use tokio::time::MissedTickBehavior;

use super::Presences;
use super::around::Around;

/// How often users are looked for whose presence has changed by itself, and waiting requests are woken by presence.
const TICK: Duration = Duration::from_secs(1);
/// How often a node writes that its users are still there, and looks for users that other nodes left behind.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// A user whom no node has seen for so long was left behind.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Most users in one write: other writes wait for it.
const AT_ONCE: usize = 50;

impl Presences {
    pub(super) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refreshed: Option<Instant> = None;
        loop {
            ticks.tick().await;
            if let Err(error) = self.tend(&mut refreshed).await {
                tracing::warn!(%error, "presence could not be read or written");
            }
        }
    }

    async fn tend(&self, refreshed: &mut Option<Instant>) -> Result<(), StorageError> {
        self.wake().await?;
        for changed in self.changed().chunks(AT_ONCE) {
            self.write(changed, None).await?;
        }
        if refreshed.is_none_or(|refreshed| refreshed.elapsed() >= REFRESH) {
            self.refresh().await?;
            *refreshed = Some(Instant::now());
        }
        Ok(())
    }

    /// The users whose presence is not what others were told, or not what this node has said. Forgets users who are offline when
    /// others know it.
    fn changed(&self) -> Vec<UserSn> {
        // Other nodes may say of a user more than this one does.
        let has_others = self.database.engine() == Engine::Postgres;
        let mut changed = Vec::new();
        self.around.lock().retain(|user_sn, user| {
            let (now, told) = (user.state(&self.options), self.present.state(*user_sn));
            let is_changed = if has_others { user.said != Some(now) } else { now != told };
            if is_changed {
                changed.push(*user_sn);
            }
            is_changed || user.has_devices(&self.options)
        });
        changed
    }

    /// Wakes the waiting users who are in a room with somebody whose presence has changed.
    async fn wake(&self) -> Result<(), StorageError> {
        let changed = std::mem::take(&mut *self.present.changed.lock());
        let waiting = self.wakeups.users();
        if changed.is_empty() || waiting.is_empty() {
            return Ok(());
        }
        let mut rooms: HashSet<RoomSn> = HashSet::new();
        for user_sn in &changed {
            rooms.extend(self.user_rooms.of(*user_sn).await?.joined());
        }
        let mut readers = Vec::new();
        for user_sn in waiting {
            if changed.contains(&user_sn) || self.user_rooms.of_other(user_sn).await?.is_in_any_of(&rooms) {
                readers.push(user_sn);
            }
        }
        self.wakeups.wake(readers);
        Ok(())
    }

    /// Writes that the users of this node are still there, and that users of whom no node says so are offline.
    async fn refresh(&self) -> Result<(), StorageError> {
        let around: Vec<i64> = self.around.lock().keys().map(|user_sn| user_sn.0).collect();
        let now = self.clock.now();
        if !around.is_empty() {
            self.database.see_present(around, now).await?;
        }
        loop {
            let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
            let missed = self.database.remove_old_presence_claims(now, limit).await?;
            if missed.is_empty() {
                break;
            }
            self.database.miss_present(missed, now).await?;
        }
        loop {
            let (seen_since, latest) = (now.minus(STALE_AFTER), now.plus(STALE_AFTER));
            let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
            let stale = self.database.stale_presence(seen_since, latest, limit).await?;
            if stale.is_empty() {
                return Ok(());
            }
            tracing::debug!(users = stale.len(), "users were left behind as online");
            self.database.miss_present(stale, now).await?;
        }
    }
}

impl LogObserver<LogEntry> for Presences {
    /// Others are told less of a user than this node knows: it says once more what it knows.
    fn committed(&self, entries: &[LogEntry]) {
        self.for_less_present(entries, |user| user.said = None);
    }

    /// Another node says less of a user than this one knows: the user's clients that do not wait here have gone to that node.
    fn committed_elsewhere(&self, entries: &[LogEntry]) {
        self.for_less_present(entries, Around::forget_those_gone);
    }
}

impl Presences {
    /// Does `change` to each user of whom `entries` tell others less than this node knows.
    fn for_less_present(&self, entries: &[LogEntry], change: impl Fn(&mut Around)) {
        let mut changes = entries.iter().filter_map(|entry| match entry {
            LogEntry::Presence(presence) => Some(presence),
            _ => None,
        });
        let Some(first) = changes.next() else { return };
        let mut around = self.around.lock();
        for presence in std::iter::once(first).chain(changes) {
            if let Some(user) = around.get_mut(&presence.user_sn)
                && presence.state < user.state(&self.options)
            {
                change(user);
            }
        }
    }
}
