use std::sync::Arc;

use api::state::RoomsComponents;
use config::Config;
use push::unread::Audiences;
use rooms::{
    Aliases, Directory, Memberships, RoomCreation, Sending, Timeline,
    mutual_rooms::MutualRooms,
    reading::{History, RoomSnapshots, RoomState, Search},
    reports::Reports,
    serving::Serving,
    user_directory::UserDirectory,
};

use super::{accounts::AccountsParts, foundation::Foundation, log::LogParts};

/// Rooms, and what is in them.
pub(crate) struct RoomsParts {
    pub(super) components: RoomsComponents,
}

impl RoomsParts {
    /// The timeline follows the log from here on.
    pub(super) fn new(config: &Config, foundation: &Foundation, log: &LogParts, accounts: &AccountsParts) -> Self {
        let Foundation { database, interned, identity, clock, rate_limits, heavy_work, .. } = foundation;
        let LogParts { states, .. } = log;
        let profiles = &accounts.components.profiles;
        let timeline = Arc::new(Timeline::new(
            database.clone(),
            interned.clone(),
            states.clone(),
            identity.clone(),
            clock.clone(),
            heavy_work.signature_checks.clone(),
            Audiences::follow(database, interned.clone()),
        ));
        timeline.follow();
        let aliases =
            Aliases::new(database.clone(), interned.clone(), identity.clone(), timeline.clone(), clock.clone());
        let aliases = Arc::new(aliases);
        let room_creation = RoomCreation::new(
            database.clone(),
            interned.clone(),
            identity.clone(),
            timeline.clone(),
            aliases.clone(),
            profiles.clone(),
            config.rooms.default_version.clone(),
            rate_limits.clone(),
            heavy_work.room_creation.clone(),
        );
        let memberships = Arc::new(Memberships::new(
            database.clone(),
            interned.clone(),
            identity.clone(),
            timeline.clone(),
            aliases.clone(),
            profiles.clone(),
            rate_limits.clone(),
        ));
        let sending =
            Sending::new(timeline.clone(), aliases.clone(), memberships.clone(), rate_limits.clone(), clock.clone());
        let searching = heavy_work.room_directory_search.clone();
        let directory = Directory::new(database.clone(), interned.clone(), timeline.clone(), searching);
        let searching = heavy_work.user_directory_search.clone();
        let user_directory = UserDirectory::new(database.clone(), interned.clone(), rate_limits.clone(), searching);
        let reports = Reports::new(database.clone(), interned.clone(), rate_limits.clone(), clock.clone());
        let (history, serving, room_state) = readers(foundation, log, &timeline);
        let (history, room_state) = (Arc::new(history), Arc::new(room_state));
        let search = Search::new(history.clone(), rate_limits.clone(), heavy_work.message_search.clone());
        let components = RoomsComponents {
            room_creation: Arc::new(room_creation),
            memberships,
            sending: Arc::new(sending),
            aliases,
            directory: Arc::new(directory),
            user_directory: Arc::new(user_directory),
            mutual_rooms: Arc::new(MutualRooms::new(database.clone(), interned.clone())),
            reports: Arc::new(reports),
            timeline,
            room_snapshots: Arc::new(RoomSnapshots::new(history.clone(), room_state.clone())),
            search: Arc::new(search),
            history,
            serving: Arc::new(serving),
            room_state,
        };
        Self { components }
    }

    /// Takes over the version of new rooms.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.components.room_creation.reconfigure(config.rooms.default_version.clone());
    }
}

/// What reads rooms, for clients and for other servers.
fn readers(foundation: &Foundation, log: &LogParts, timeline: &Arc<Timeline>) -> (History, Serving, RoomState) {
    let Foundation { database, interned, identity, clock, heavy_work, .. } = foundation;
    let LogParts { states, ignored_users, tail, .. } = log;
    let history = History::new(
        database.clone(),
        interned.clone(),
        states.clone(),
        clock.clone(),
        ignored_users.clone(),
        tail.clone(),
    );
    let large_rooms = heavy_work.large_room_state.clone();
    let serving = Serving::new(
        database.clone(),
        interned.clone(),
        states.clone(),
        timeline.clone(),
        identity.clone(),
        clock.clone(),
        large_rooms.clone(),
    );
    let room_state = RoomState::new(database.clone(), interned.clone(), states.clone(), clock.clone(), large_rooms);
    (history, serving, room_state)
}
