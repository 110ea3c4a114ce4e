//! Removing expired rows of accounts, media, other servers and the log.

use std::sync::Arc;
use std::time::Duration;

use accounts::sessions::Sessions;
use accounts::threepids::MAX_SESSIONS;
use homeserver_core::{Clock, DeviceSn, Position, UserSn};
use media::ContentRepository;
use serde::{Deserialize, Serialize};
use storage::Database;
use tasks::queue::{Handle, Job, JobError, Priority, Run};

use super::REST;

/// One step looks at, or removes, so many rows.
const AT_ONCE: i64 = 500;
/// Expired rows are kept for so long, so that clients still learn that they expired.
const KEEP_EXPIRED: Duration = Duration::from_secs(24 * 3600);
/// Longer than a session of user-interactive authentication, or a nonce of the shared secret, is valid.
const KEEP_UIA_SESSIONS: Duration = Duration::from_secs(3600);
/// Longer than a node can be suspended and still continue with the log.
const KEEP_LOG_ENTRIES: Duration = Duration::from_secs(6 * 3600);
/// Longer than a client can be away and still show that a user types.
const KEEP_TYPING: Duration = Duration::from_secs(3600);
/// For so long the keys of servers are kept that share no room, and events are kept ready for a server that is not reached.
const KEEP_OF_SERVERS: Duration = Duration::from_secs(30 * 24 * 3600);
/// A repeated transaction ID has the same answer for so long.
const KEEP_TRANSACTIONS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Removes expired tokens, sessions, transaction IDs and media, and what is not needed any more of other servers.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct RemoveExpired {}

impl Job for RemoveExpired {
    const NAME: &str = "remove_expired";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Deletes devices that were not used for a long time.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct RemoveUnseenDevices {}

impl Job for RemoveUnseenDevices {
    const NAME: &str = "remove_unseen_devices";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Removes the entries of the log that all nodes have read.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct RemoveReadLog {}

impl Job for RemoveReadLog {
    const NAME: &str = "remove_read_log";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Runs these jobs in small steps.
#[derive(Clone)]
pub struct CleanUp {
    database: Database,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    media: Arc<ContentRepository>,
    /// Devices unused for longer are deleted.
    unseen_for: Option<Duration>,
}

impl CleanUp {
    /// Cleans up in `database`. Devices that were not seen for `unseen_for` are deleted; if `None`, no device is.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        sessions: Arc<Sessions>,
        media: Arc<ContentRepository>,
        unseen_for: Option<Duration>,
    ) -> Self {
        Self { database, clock, sessions, media, unseen_for }
    }

    /// Forgets what is kept of other servers and not needed any more.
    async fn forget_servers(&self, run: &Run) -> Result<(), JobError> {
        let (database, long_ago) = (&self.database, self.clock.now().minus(KEEP_OF_SERVERS));
        let what = "Removing keys of servers that share no rooms";
        until_nothing_is_left(run, what, || database.remove_keys_of_strangers(long_ago, AT_ONCE)).await?;
        let what = "Removing notes of events that were passed on";
        until_nothing_is_left(run, what, || database.remove_forwarded_events(long_ago, AT_ONCE)).await
    }

    async fn remove_access_tokens(&self, run: &Run) -> Result<(), JobError> {
        let expired_before = self.clock.now().minus(KEEP_EXPIRED);
        let (mut after, mut removed) = (Vec::new(), 0);
        loop {
            let swept = self.database.sweep_access_tokens(&after, expired_before, AT_ONCE).await?;
            removed += swept.removed;
            run.progress(removed, 0, "Removing access tokens that have expired").await;
            let Some(next) = swept.next else { return Ok(()) };
            after = next;
            tokio::time::sleep(REST).await;
        }
    }
}

impl CleanUp {
    /// Removes changes of devices that later ones make superfluous, and the keys of users of other servers with whom no room is shared.
    async fn remove_device_lists(&self, run: &Run) -> Result<(), JobError> {
        let (mut after, mut removed) = ((UserSn(0), Position::START), 0);
        loop {
            let swept = self.database.sweep_device_list_changes(after, AT_ONCE).await?;
            removed += swept.removed;
            run.progress(removed, 0, "Removing superfluous changes of devices").await;
            let Some(next) = swept.next else { break };
            after = next;
            tokio::time::sleep(REST).await;
        }
        let mut after = UserSn(0);
        while let Some(next) = self.database.forget_unshared_device_lists(after, AT_ONCE).await? {
            after = next;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }
}

impl CleanUp {
    /// Removes what is left of backups of keys that were deleted when the server ended.
    async fn remove_deleted_backups(&self, run: &Run) -> Result<(), JobError> {
        let mut after = (UserSn(0), 0);
        loop {
            let (unfinished, last) = self.database.unfinished_backup_deletions(after, AT_ONCE).await?;
            for (user_sn, version) in unfinished {
                let what = "Removing what is left of deleted backups of keys";
                let step = || self.database.remove_sessions_of_deleted_backup(user_sn, version, AT_ONCE);
                until_nothing_is_left(run, what, step).await?;
            }
            let Some(last) = last else { return Ok(()) };
            after = last;
            tokio::time::sleep(REST).await;
        }
    }
}

impl Handle<RemoveExpired> for CleanUp {
    async fn run(&self, _: RemoveExpired, run: &Run) -> Result<(), JobError> {
        let (database, now) = (&self.database, self.clock.now());
        self.remove_access_tokens(run).await?;
        let opened_before = now.minus(KEEP_UIA_SESSIONS);
        let what = "Removing sessions of user-interactive authentication";
        until_nothing_is_left(run, what, || database.remove_old_uia_sessions(opened_before, AT_ONCE)).await?;
        let expired_before = now.minus(KEEP_EXPIRED);
        let what = "Removing registration tokens";
        until_nothing_is_left(run, what, || database.remove_spent_registration_tokens(expired_before, AT_ONCE)).await?;
        let sent_before = now.minus(KEEP_TRANSACTIONS);
        let what = "Removing transaction IDs";
        until_nothing_is_left(run, what, || database.remove_old_transactions(sent_before, AT_ONCE)).await?;
        until_nothing_is_left(run, what, || database.remove_old_to_device_transactions(sent_before, AT_ONCE)).await?;
        let what = "Removing attempts to confirm e-mail addresses";
        until_nothing_is_left(run, what, || database.prune_validation_sessions(now, MAX_SESSIONS)).await?;
        let ended_before = now.minus(KEEP_TYPING);
        let what = "Removing ended typing notices";
        until_nothing_is_left(run, what, || database.remove_ended_typing(ended_before, AT_ONCE)).await?;
        self.remove_device_lists(run).await?;
        self.remove_deleted_backups(run).await?;
        let what = "Removing expired login tokens";
        until_nothing_is_left(run, what, || database.remove_expired_login_tokens(now, AT_ONCE)).await?;
        let what = "Removing expired OpenID tokens";
        until_nothing_is_left(run, what, || database.remove_expired_openid_tokens(now, AT_ONCE)).await?;
        self.forget_servers(run).await?;
        let (what, media) = ("Removing media", &self.media);
        media.remove_abandoned().await?;
        until_nothing_is_left(run, what, || media.remove_expired(AT_ONCE)).await?;
        until_nothing_is_left(run, what, || media.remove_fetched(AT_ONCE)).await?;
        until_nothing_is_left(run, what, || media.remove_unneeded(AT_ONCE)).await
    }
}

impl Handle<RemoveReadLog> for CleanUp {
    async fn run(&self, _: RemoveReadLog, run: &Run) -> Result<(), JobError> {
        let (database, written_before) = (&self.database, self.clock.now().minus(KEEP_LOG_ENTRIES));
        let what = "Removing log entries that all nodes have read";
        until_nothing_is_left(run, what, || database.remove_old_log_entries(written_before, AT_ONCE)).await?;
        database.forget_old_nodes(written_before).await?;
        Ok(())
    }
}

impl Handle<RemoveUnseenDevices> for CleanUp {
    async fn run(&self, _: RemoveUnseenDevices, run: &Run) -> Result<(), JobError> {
        let Some(unseen_for) = self.unseen_for else { return Ok(()) };
        // The newest times at which devices were seen may be in memory.
        self.sessions.flush().await?;
        let unseen_since = self.clock.now().minus(unseen_for);
        let (mut after, mut removed) = (DeviceSn(0), 0);
        loop {
            let (swept, revoked) = self.database.sweep_unseen_devices(after, unseen_since, AT_ONCE).await?;
            self.sessions.end(&revoked);
            removed += swept.removed;
            run.progress(removed, 0, "Deleting devices that were not seen for long").await;
            let Some(next) = swept.next else { break };
            after = next;
            tokio::time::sleep(REST).await;
        }
        if removed > 0 {
            tracing::info!(removed, "deleted devices that were not seen for long");
        }
        Ok(())
    }
}

async fn until_nothing_is_left<F, E>(run: &Run, what: &str, step: impl Fn() -> F) -> Result<(), JobError>
where
    F: Future<Output = Result<u64, E>>,
    JobError: From<E>,
{
    let mut removed = 0;
    loop {
        let some = step().await?;
        removed += some;
        run.progress(removed, 0, what).await;
        if some == 0 {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
    }
}
