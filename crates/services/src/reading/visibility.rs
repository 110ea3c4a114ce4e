//! What of a room's history a user may read.

use homeserver_core::{Position, RoomSn, UserSn};
use room_engine::visibility::{HistoryVisibility, Viewpoint};
use storage::{Database, Interned, Membership, StorageError, StoredEvent};

use crate::wire;

/// A user's view of one room: how the room's history visibility and the user's membership changed over time. Loaded once for
/// an answer, asked for each event.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>
#[derive(Clone, Debug)]
pub struct Visibility {
    /// Changes of the visibility, oldest first.
    visibilities: Vec<(Position, HistoryVisibility)>,
    /// Changes of the membership, oldest first.
    memberships: Vec<(Position, Membership)>,
}

impl Visibility {
    /// The view of `user_sn` of the room.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn load(
        database: &Database,
        interned: &Interned,
        room_sn: RoomSn,
        user_sn: UserSn,
    ) -> Result<Self, StorageError> {
        let memberships = database.membership_history(room_sn, user_sn).await?;
        let type_sn = interned.event_type("m.room.history_visibility").await?;
        let key_sn = interned.state_key("").await?;
        let changes = database.state_history(room_sn, type_sn, key_sn).await?;
        let visibilities = changes.iter().map(|event| (event.sn.position(), visibility_of(event))).collect();
        Ok(Self { visibilities, memberships })
    }

    /// Whether the user may read the event.
    #[must_use]
    pub fn may_see(&self, event: &StoredEvent) -> bool {
        let at = event.sn.position();
        let before = Position(at.0 - 1);
        Viewpoint {
            visibility_before: self.visibility_at(before),
            visibility_after: self.visibility_at(at),
            membership_before: engine_membership(self.membership_as_of(before)),
            membership_after: engine_membership(self.membership_as_of(at)),
            joined_later: self.memberships.iter().any(|(position, it)| *position > at && *it == Membership::Join),
        }
        .may_see()
    }

    /// The user's membership when the event had happened; leave before there was any.
    #[must_use]
    pub fn membership_at(&self, event: &StoredEvent) -> Membership {
        self.membership_as_of(event.sn.position())
    }

    /// The user's membership now; `None` if there was never any.
    #[must_use]
    pub fn current_membership(&self) -> Option<Membership> {
        self.memberships.last().map(|(_, membership)| *membership)
    }

    /// When the user got the present membership.
    #[must_use]
    pub fn member_since(&self) -> Option<Position> {
        self.memberships.last().map(|(position, _)| *position)
    }

    /// Whether the user was in the room at any time.
    #[must_use]
    pub fn was_ever_joined(&self) -> bool {
        self.memberships.iter().any(|(_, membership)| *membership == Membership::Join)
    }

    /// Whether anybody may read what happens in the room now.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        self.visibilities.last().is_some_and(|(_, visibility)| *visibility == HistoryVisibility::WorldReadable)
    }

    fn visibility_at(&self, at: Position) -> HistoryVisibility {
        value_at(&self.visibilities, at).unwrap_or(HistoryVisibility::Shared)
    }

    fn membership_as_of(&self, at: Position) -> Membership {
        value_at(&self.memberships, at).unwrap_or(Membership::Leave)
    }
}

fn value_at<T: Copy>(changes: &[(Position, T)], at: Position) -> Option<T> {
    let after = changes.partition_point(|(position, _)| *position <= at);
    changes.get(after.checked_sub(1)?).map(|(_, value)| *value)
}

fn visibility_of(event: &StoredEvent) -> HistoryVisibility {
    let content = wire::member(&event.client_json, "content").unwrap_or_default();
    let word = wire::member(content, "history_visibility").and_then(room_engine::string_value);
    word.map_or(HistoryVisibility::Shared, |word| HistoryVisibility::parse(&word))
}

fn engine_membership(membership: Membership) -> room_engine::Membership {
    match membership {
        Membership::Join => room_engine::Membership::Join,
        Membership::Invite => room_engine::Membership::Invite,
        Membership::Knock => room_engine::Membership::Knock,
        Membership::Leave => room_engine::Membership::Leave,
        Membership::Ban => room_engine::Membership::Ban,
    }
}
