//! Who is there.
//!
//! A user is there as long as a client of theirs asks what is new, on whichever node. Each node counts its own clients in memory and
//! writes what others are told when it changes; what is written is told by the log. Users whom a node has left behind, because it
//! was killed, are offline after a while.
//!
//! Who waits for something new is woken by presence once a second at most: where many come and go, each of them would otherwise
//! wake everybody else.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

mod around;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeserver_core::{Clock, DeviceSn, RoomSn, UserSn};
use parking_lot::{Mutex, RwLock};
use ruma::UserId;
pub use storage::PresenceState;
use storage::{Database, Engine, Interned, LogEntry, LogObserver, NewPresence, Presence, StorageError};
use tasks::loops::Loops;
use tokio::time::MissedTickBehavior;

use self::around::Around;
use accounts::rate_limits::Failure;
use accounts::sessions::Requester;
use event_log::{UserRoomsCache, Wakeups};
use rooms::wire::{push_number, push_string};

/// How often it is looked whose presence has changed by itself, and who waits for the presence of others is woken.
const TICK: Duration = Duration::from_secs(1);
/// How often a node writes who is still there, and looks for users whom others have left behind.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Who was not seen for so long was left behind.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Of how many users one transaction tells: others wait for it.
const AT_ONCE: usize = 50;
/// The longest status message, in bytes.
const MAX_STATUS_MESSAGE_BYTES: usize = 2_048;

/// When users count as idle and as offline.
#[derive(Clone, Copy, Debug)]
pub struct PresenceOptions {
    /// Whether anybody is told of anybody's presence.
    pub enabled: bool,
    /// Who has done nothing for so long is idle.
    pub idle_after: Duration,
    /// Who has not asked what is new for so long is offline.
    pub offline_after: Duration,
}

/// Why presence cannot be read or changed. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The users share no room, or the other one is not known.
    #[error("You can see the presence only of users with whom you share a room.")]
    NotVisible,
    /// The status message is too long.
    #[error("status_msg: must have {MAX_STATUS_MESSAGE_BYTES} bytes at most")]
    StatusTooLong,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Failure for PresenceError {
    fn is_refused_write(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_refused_write())
    }
}

/// A user's presence as it is now.
#[derive(Clone, Debug)]
pub struct PresenceNow {
    /// Whether the user is there.
    pub state: PresenceState,
    /// What the user says about that.
    pub status_message: Option<Box<str>>,
    /// How long ago the user did something; `None` if that is not known.
    pub last_active_ago: Option<Duration>,
}

/// The presence of users, and what their clients say about it.
pub struct Presences {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    user_rooms: Arc<UserRoomsCache>,
    wakeups: Arc<Wakeups>,
    options: PresenceOptions,
    present: Arc<PresentUsers>,
    /// The users whose clients this node serves.
    around: Mutex<HashMap<UserSn, Around>>,
}

impl Presences {
    /// Knows who is there by `database`, follows its log, and tells of changes in one of the
    /// server's `loops`. To be started after
    /// what shows the log, so that whoever is woken finds why.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read who is there.
    pub async fn start(
        database: Database,
        interned: Arc<Interned>,
        clock: Arc<dyn Clock>,
        user_rooms: Arc<UserRoomsCache>,
        wakeups: Arc<Wakeups>,
        options: PresenceOptions,
        loops: &Loops,
    ) -> Result<Arc<Self>, StorageError> {
        let present = Arc::new(PresentUsers::default());
        let around = Mutex::default();
        if options.enabled {
            // Followed before it is read, so that nothing is missed.
            database.observe(present.clone());
            present.restore(database.present_users().await?);
        }
        let presences = Self { database, interned, clock, user_rooms, wakeups, options, present, around };
        let presences = Arc::new(presences);
        if options.enabled {
            presences.database.observe(presences.clone());
            let running = presences.clone();
            loops.spawn("presence", move || running.clone().run());
        }
        Ok(presences)
    }

    /// Whether anybody is told of anybody's presence.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.options.enabled
    }

    /// A client asks what is new and says by that whether its user is there, for as long as it waits for the answer and some time
    /// after that.
    pub async fn connect(self: &Arc<Self>, requester: &Requester, wants: PresenceState) -> Option<Connected> {
        if !self.options.enabled {
            return None;
        }
        let (user_sn, device_sn) = (requester.user_sn, requester.device_sn);
        if wants == PresenceState::Offline {
            // Becomes offline by itself, if the user was anything else.
            if let Some(user) = self.around.lock().get_mut(&user_sn) {
                user.hide(device_sn);
            }
            return None;
        }
        let tells_at_once = {
            let told = self.present.state(user_sn);
            let mut around = self.around.lock();
            let user = around.entry(user_sn).or_insert_with(|| Around::new(self.clock.now()));
            user.ask(device_sn, wants, self.clock.now());
            let is_news = user.state(&self.options) != told;
            let tells_at_once = is_news && user.may_tell_at_once();
            if is_news && !tells_at_once {
                user.said = None;
            }
            tells_at_once
        };
        let connected = Connected { presences: self.clone(), user_sn, device_sn };
        // In a box of its own: whoever waits afterwards does not keep room for it.
        if tells_at_once && let Err(error) = Box::pin(self.write(&[user_sn], None)).await {
            tracing::warn!(%error, "who is there could not be written");
        }
        Some(connected)
    }

    /// The user did something that only somebody does who is there.
    pub fn act(&self, requester: &Requester) {
        if !self.options.enabled {
            return;
        }
        if let Some(user) = self.around.lock().get_mut(&requester.user_sn) {
            user.act(requester.device_sn, self.clock.now());
        }
    }

    /// The user says whether they are there, and something about it.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn set(
        &self,
        requester: &Requester,
        state: PresenceState,
        status_message: Option<String>,
    ) -> Result<(), PresenceError> {
        if status_message.as_ref().is_some_and(|message| message.len() > MAX_STATUS_MESSAGE_BYTES) {
            return Err(PresenceError::StatusTooLong);
        }
        if !self.options.enabled {
            return Ok(());
        }
        {
            let mut around = self.around.lock();
            let user = around.entry(requester.user_sn).or_insert_with(|| Around::new(self.clock.now()));
            user.say(requester.device_sn, state, self.clock.now());
        }
        let status_message = status_message.filter(|message| !message.is_empty()).map(Into::into);
        Ok(self.write(&[requester.user_sn], Some(status_message)).await?)
    }

    /// The presence of a user, as far as the requester may see it.
    ///
    /// # Errors
    /// [`PresenceError::NotVisible`].
    pub async fn of(&self, requester: &Requester, user_id: &UserId) -> Result<PresenceNow, PresenceError> {
        let user_sn = self.interned.find_user(user_id.as_str()).await?.ok_or(PresenceError::NotVisible)?;
        if user_sn != requester.user_sn {
            let own = self.user_rooms.of(requester.user_sn).await?.joined();
            if !self.user_rooms.of(user_sn).await?.is_in_any_of(&own) {
                return Err(PresenceError::NotVisible);
            }
        }
        let presence = if self.options.enabled { self.database.presence(user_sn).await? } else { None };
        let Some(presence) = presence else {
            let (state, status_message) = (PresenceState::Offline, None);
            return Ok(PresenceNow { state, status_message, last_active_ago: None });
        };
        let last_active_ago = Some(self.last_active_ago(&presence));
        Ok(PresenceNow { state: presence.state, status_message: presence.status_message, last_active_ago })
    }

    /// The presence of a user who is not offline.
    #[must_use]
    pub fn present(&self, user_sn: UserSn) -> Option<Arc<Presence>> {
        self.present.users.read().get(&user_sn).cloned()
    }

    /// Writes the `content` of an `m.presence` event.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#mpresence>
    pub fn write_content(&self, out: &mut Vec<u8>, presence: &Presence) {
        out.extend_from_slice(br#"{"presence":"#);
        push_string(out, presence.state.as_str());
        let ago = self.last_active_ago(presence).as_millis();
        out.extend_from_slice(br#","last_active_ago":"#);
        push_number(out, i64::try_from(ago).unwrap_or(i64::MAX));
        // Whoever is online for others is active, until they are idle: nobody is told in between.
        let is_active = presence.state == PresenceState::Online;
        out.extend_from_slice(if is_active { br#","currently_active":true"# } else { br#","currently_active":false"# });
        if let Some(status_message) = &presence.status_message {
            out.extend_from_slice(br#","status_msg":"#);
            push_string(out, status_message);
        }
        out.push(b'}');
    }

    fn last_active_ago(&self, presence: &Presence) -> Duration {
        let around = self.around.lock().get(&presence.user_sn).map(|user| user.last_active_at);
        let last_active_at = around.map_or(presence.last_active_at, |around| around.max(presence.last_active_at));
        self.clock.now().since(last_active_at)
    }

    /// Writes the presence of users whose clients this node serves.
    async fn write(&self, users: &[UserSn], status_message: Option<Option<Box<str>>>) -> Result<(), StorageError> {
        let changes: Vec<NewPresence> = {
            let around = self.around.lock();
            let changes = users.iter().filter_map(|user_sn| {
                let user = around.get(user_sn)?;
                Some(NewPresence {
                    user_sn: *user_sn,
                    state: user.state(&self.options),
                    devices: user.devices(&self.options),
                    status_message: status_message.clone(),
                    last_active_at: Some(user.last_active_at),
                })
            });
            changes.collect()
        };
        let said: Vec<_> = changes.iter().map(|change| (change.user_sn, change.state)).collect();
        self.database.set_presence(changes, self.clock.now()).await?;
        let mut around = self.around.lock();
        for (user_sn, state) in said {
            if let Some(user) = around.get_mut(&user_sn) {
                user.said = Some(state);
            }
        }
        Ok(())
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refreshed: Option<Instant> = None;
        loop {
            ticks.tick().await;
            if let Err(error) = self.tend(&mut refreshed).await {
                tracing::warn!(%error, "who is there could not be read or written");
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

    /// Whose presence is not what others were told, or what this node has said. Forgets those who are offline and of whom others know
    /// that.
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

    /// Wakes those who wait and are in a room with somebody whose presence has changed.
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
            if changed.contains(&user_sn) || self.user_rooms.of(user_sn).await?.is_in_any_of(&rooms) {
                readers.push(user_sn);
            }
        }
        self.wakeups.wake(readers);
        Ok(())
    }

    /// Says of the users of this node that they are still there, and of those of whom no node says so that they are not.
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
    /// If others are told less of a user than this node knows, it says once more what it knows.
    fn committed(&self, entries: &[LogEntry]) {
        self.for_less_present(entries, |user| user.said = None);
    }

    /// A user of whom another node says less than this one knows has said so there: a client that does not wait here at the moment has gone
    /// there.
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

/// Whoever is not offline, as the log has told.
#[derive(Default)]
struct PresentUsers {
    users: RwLock<HashMap<UserSn, Arc<Presence>>>,
    /// Whose presence has changed since those who wait were last woken.
    changed: Mutex<HashSet<UserSn>>,
}

impl PresentUsers {
    fn restore(&self, stored: Vec<Presence>) {
        let mut users = self.users.write();
        for presence in stored {
            // What the log has told in the meantime is newer.
            users.entry(presence.user_sn).or_insert_with(|| Arc::new(presence));
        }
    }

    fn state(&self, user_sn: UserSn) -> PresenceState {
        self.users.read().get(&user_sn).map_or(PresenceState::Offline, |presence| presence.state)
    }
}

impl LogObserver<LogEntry> for PresentUsers {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            let LogEntry::Presence(presence) = entry else { continue };
            if presence.state == PresenceState::Offline {
                self.users.write().remove(&presence.user_sn);
            } else {
                self.users.write().insert(presence.user_sn, presence.clone());
            }
            self.changed.lock().insert(presence.user_sn);
        }
    }
}

/// A request of a client that waits; its user is there as long as this lives, and some time after that.
pub struct Connected {
    presences: Arc<Presences>,
    user_sn: UserSn,
    device_sn: Option<DeviceSn>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(user) = self.presences.around.lock().get_mut(&self.user_sn) {
            user.answered(self.device_sn);
        }
    }
}
