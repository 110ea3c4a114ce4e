//! The presence of users: online, idle or offline.
//!
//! A user is there as long as a client of theirs asks any node what is new. Each node counts its own clients in memory
//! ([`around`]), and writes a user's presence when it changes ([`tending`]); the log tells it to all ([`present`]). When a node is
//! killed, the users that it leaves behind go offline after a while.
//!
//! Changes of presence wake waiting requests once a second at most: where many users come and go, each would otherwise wake all
//! others.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

mod around;
mod from_servers;
mod present;
mod tending;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::rate_limits::Failure;
use accounts::sessions::Requester;
use event_log::{UserRoomsCache, Wakeups};
use homeserver_core::{Clock, DeviceSn, UserSn};
use parking_lot::Mutex;
use rooms::wire::{push_number, push_string};
use ruma::UserId;
pub use storage::PresenceState;
use storage::{Database, Interned, NewPresence, Presence, StorageError};
use tasks::loops::Loops;

use self::around::Around;
use self::present::PresentUsers;

/// The longest status message, in bytes.
const MAX_STATUS_MESSAGE_BYTES: usize = 2_048;

/// When users count as idle and as offline.
#[derive(Clone, Copy, Debug)]
pub struct PresenceOptions {
    /// Whether anybody is told of anybody's presence.
    pub enabled: bool,
    /// After how long without an action a user is idle.
    pub idle_after: Duration,
    /// After how long without a request a user is offline.
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
    /// Reads from `database` who is online, follows its log, and writes changes in one of the server's `loops`. Start it after what
    /// shows the log: then a request that it wakes finds what is new.
    ///
    /// # Errors
    /// [`StorageError`] if the presence of users cannot be read.
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
        // Boxed: a request that waits afterwards does not keep memory for it.
        if tells_at_once && let Err(error) = Box::pin(self.write(&[user_sn], None)).await {
            tracing::warn!(%error, "presence could not be written");
        }
        Some(connected)
    }

    /// The user did something that shows that they are there.
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
            if !self.user_rooms.of_other(user_sn).await?.is_in_any_of(&own) {
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
        // A user who is online counts as active until they are idle: there is no event in between.
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
