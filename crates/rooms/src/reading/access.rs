//! Whether a user may read a room at all.

use accounts::sessions::Requester;
use homeserver_core::{Position, RoomSn};
use ruma::RoomId;
use storage::{Database, Interned, KnownState, Membership, RoomStates};

use super::Visibility;
use super::fetched::FetchedViews;
use crate::RoomError;

/// A room that a user may read, at least in part.
pub(super) struct Access<'a> {
    pub(super) requester: &'a Requester,
    pub(super) room_id: &'a RoomId,
    pub(super) room_sn: RoomSn,
    /// The known state of the room.
    pub(super) state: KnownState,
    pub(super) visibility: Visibility,
    pub(super) fetched: FetchedViews,
}

impl<'a> Access<'a> {
    /// Admits joined members, former members who have not forgotten the room, and everybody if it is world-readable.
    pub(super) async fn open(
        database: &Database,
        interned: &Interned,
        states: &RoomStates,
        requester: &'a Requester,
        room_id: &'a RoomId,
    ) -> Result<Self, RoomError> {
        let room_sn = interned.find_room(room_id.as_str()).await?.ok_or(RoomError::NoSuchRoom)?;
        let state = states.of(room_sn);
        let visibility = Visibility::load(database, interned, &state, requester.user_sn, Position::START).await?;
        let access = Self { requester, room_id, room_sn, state, visibility, fetched: FetchedViews::default() };
        if access.is_joined() || access.was_joined() || access.visibility.is_world_readable() {
            Ok(access)
        } else {
            Err(RoomError::NotInRoom)
        }
    }

    pub(super) fn is_joined(&self) -> bool {
        self.visibility.current_membership() == Some(Membership::Join)
    }

    fn was_joined(&self) -> bool {
        self.visibility.was_ever_joined() && !self.visibility.is_forgotten()
    }

    /// The position at which the user left and whose state the user sees; `None` if the user sees the current state.
    pub(super) fn ends_at(&self) -> Option<Position> {
        self.visibility.left_at().filter(|_| self.was_joined())
    }
}
