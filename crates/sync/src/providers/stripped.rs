//! Rooms that the user is invited to, or has asked to be let into: what somebody sees who is not in the room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{EventSn, TimelineOrder, Timestamp};
use room_engine::{Pdu, elements};
use rooms::RoomError;
use rooms::introduction::INTRODUCTION;
use storage::{Membership, RemoteMembership, StoredEvent};

use super::changes::{Before, RoomUpdate};
use super::{Pass, Providers};

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

    /// The event by which the user is not invited any more, or knocks no more, to a room that this server is not in. It is in no
    /// timeline here, and stands at the position of the change.
    pub(crate) async fn remote_departure(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
    ) -> Result<Option<Arc<StoredEvent>>, RoomError> {
        let user_sn = pass.requester.user_sn;
        let remote = self.database.remote_membership(update.room_sn, user_sn).await?;
        let Some((position, remote)) = remote.filter(|(position, _)| *position == update.since) else {
            return Ok(None);
        };
        let (Some(json), Ok(version)) = (&remote.event, remote.room_version.parse()) else { return Ok(None) };
        let Ok(pdu) = Pdu::parse(version, json) else { return Ok(None) };
        let sn = EventSn(position.0);
        Ok(Some(Arc::new(StoredEvent {
            sn,
            order: TimelineOrder::of(sn),
            follows_gap: false,
            event_id: pdu.event_id().as_str().into(),
            room_sn: update.room_sn,
            type_sn: self.interned.event_type(pdu.event_type()).await?,
            state_key_sn: Some(self.interned.state_key(pdu.state_key().unwrap_or_default()).await?),
            sender_sn: self.interned.user(pdu.sender().as_str()).await?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            countable_total: 0,
            client_json: pdu.client_json().clone(),
            replaces_sn: None,
            replaced_json: None,
            redacted_because: None,
            transaction: None,
            membership: Some((user_sn, remote.membership)),
            redacts: None,
            unread: None,
            previous_sn: None,
            sender_erased_at: None,
            unsigned_erased_at: None,
        })))
    }

    /// The room seen from outside; `None` if the user is invited by somebody whom the user ignores.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
    async fn stripped_room(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<Option<StrippedRoom>, RoomError> {
        let remote = self.database.remote_membership(update.room_sn, pass.requester.user_sn).await?;
        if let Some((position, remote)) = remote
            && position == update.since
        {
            return Ok(remote_room(pass, update, &remote));
        }
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

/// A room that this server is not in, as another server introduced it.
fn remote_room(pass: &Pass<'_>, update: &RoomUpdate, remote: &RemoteMembership) -> Option<StrippedRoom> {
    let own = remote.event.as_ref();
    if update.membership == Membership::Invite && own.is_some_and(|own| pass.ignored.have_sent(own)) {
        return None;
    }
    let state = elements(&remote.state).map(|event| remote.state.slice_ref(event)).chain(own.cloned());
    Some(StrippedRoom { room_id: update.room_id.clone(), membership: update.membership, state: state.collect() })
}
