//! Rooms that the user is invited to, or has asked to be let into: what somebody sees who is not in the room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use std::sync::Arc;

use bytes::Bytes;
use rooms::RoomError;
use storage::Membership;

use super::changes::{Before, RoomUpdate};
use super::{Pass, Providers};

/// The state that introduces a room to somebody who is not in it.
const INTRODUCTION: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.history_visibility",
];

/// A room seen from outside.
pub(crate) struct StrippedRoom {
    pub(crate) room_id: Arc<str>,
    pub(crate) membership: Membership,
    /// Client JSON of the state events.
    pub(crate) state: Vec<Bytes>,
}

impl Providers {
    pub(crate) async fn stripped_rooms(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
    ) -> Result<Vec<StrippedRoom>, RoomError> {
        let mut rooms = Vec::new();
        for update in updates {
            let is_outside = matches!(update.membership, Membership::Invite | Membership::Knock);
            if is_outside && update.before != Before::Unchanged {
                rooms.extend(self.stripped_room(pass, update).await?);
            }
        }
        Ok(rooms)
    }

    /// The room seen from outside; `None` if the user is invited by somebody whom the user ignores.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
    async fn stripped_room(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<Option<StrippedRoom>, RoomError> {
        // The event that made it so.
        let own = self.database.events(&[update.since.0]).await?.pop();
        let is_invite = update.membership == Membership::Invite;
        if is_invite && own.as_ref().is_some_and(|own| pass.ignored.has_sent(own)) {
            return Ok(None);
        }
        let empty_key = self.interned.state_key("").await?;
        let mut state = Vec::with_capacity(INTRODUCTION.len() + 2);
        for event_type in INTRODUCTION {
            let type_sn = self.interned.event_type(event_type).await?;
            if let Some(event) = self.database.state_event(&update.state, type_sn, empty_key).await? {
                state.push(event.client_json);
            }
        }
        if let Some(own) = own {
            // The member who sent it.
            if is_invite {
                let inviter = self.interned.user_id(own.sender_sn).await?;
                let inviter_key = self.interned.state_key(&inviter).await?;
                if let Some(event) = self.database.state_event(&update.state, own.type_sn, inviter_key).await? {
                    state.push(event.client_json);
                }
            }
            state.push(own.client_json);
        }
        let room_id = update.room_id.clone();
        Ok(Some(StrippedRoom { room_id, membership: update.membership, state }))
    }
}
