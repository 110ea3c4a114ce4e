use std::sync::Arc;

use ::sync::typing::Typing;
use accounts::ignoring::IgnoredUsers;
use config::Config;
use encryption::{
    keys::Keys,
    to_device::{QueueLimits, ToDevice},
};
use event_log::{LogFollower, LogProgress, LogTail, RoomServers, UserRoomsCache, Wakeups};
use storage::RoomStates;

use super::{foundation::Foundation, observing};
use crate::StartError;

/// What follows the log before any request reads it.
pub(crate) struct LogParts {
    pub(super) states: Arc<RoomStates>,
    pub(super) typing: Arc<Typing>,
    pub(super) ignored_users: Arc<IgnoredUsers>,
    pub(super) to_device: Arc<ToDevice>,
    pub(super) keys: Arc<Keys>,
    pub(super) tail: Arc<LogTail>,
    pub(super) user_rooms: Arc<UserRoomsCache>,
    pub(super) room_servers: Arc<RoomServers>,
    pub(super) wakeups: Arc<Wakeups>,
    pub(super) progress: Arc<LogProgress>,
}

impl LogParts {
    /// Begins to follow. The database tells these parts of a commit in the order in which they are made here.
    pub(super) async fn follow(config: &Config, foundation: &Foundation) -> Result<Self, StartError> {
        let Foundation { database, interned, identity, clock, stopping, loops, metrics, .. } = foundation;
        let timeout = config.rooms.full_state_timeout.duration();
        let states = RoomStates::follow(database, identity.server_name.as_str(), timeout, stopping.clone()).await?;
        let tail = Arc::new(LogTail::new(database.settled_position().await?));
        let user_rooms = Arc::new(UserRoomsCache::new(database.clone()));
        let wakeups = Arc::new(Wakeups::default());
        // These come before the tail: a reader that finds their change in the tail asks them for the rest.
        let typing = Typing::start(database.clone(), interned.clone(), clock.clone(), loops).await?;
        let ignored_users = IgnoredUsers::follow(database);
        let room_servers = RoomServers::follow(database, interned.clone(), identity.server_name.as_str());
        let to_device = {
            let (interned, limits, rates) = (interned.clone(), QueueLimits::default(), foundation.rate_limits.clone());
            ToDevice::follow(database, interned, clock.clone(), limits, rates)
        };
        let keys = Keys::follow(database, interned.clone(), clock.clone(), identity.server_name.clone());
        let log = metrics.log().clone();
        let lag = Box::new(move |lag| log.followed(lag));
        let progress = LogFollower::start_observed(database, tail.clone(), user_rooms.clone(), wakeups.clone(), lag);
        observing::observe_log(metrics, progress.clone());
        let typing = Arc::new(typing);
        Ok(Self { states, typing, ignored_users, to_device, keys, tail, user_rooms, room_servers, wakeups, progress })
    }

    /// Takes over how long a request waits for the whole state of a room.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.states.set_patience(config.rooms.full_state_timeout.duration());
    }
}
