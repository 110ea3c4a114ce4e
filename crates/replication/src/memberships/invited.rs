//! Invitations of users of this server by other servers, and their withdrawal.

use std::time::Duration;

use accounts::rate_limits::LimitedAction;
use bytes::Bytes;
use homeserver_core::{RoomSn, UserSn};
use room_engine::receipt::{Form, ReceivedPdu};
use room_engine::{CanonicalObject, Numbers, ParseLimits, Pdu, RoomVersion};
use rooms::wire::write_stripped;
use rooms::{Reception, RoomError};
use ruma::{EventId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use storage::{Membership, RemoteMembership, Standing};
use tokio::time::Instant;

use super::SharedMemberships;
use crate::HandshakeError;
use crate::event_keys::keys_of_event;

/// How long the keys of the inviting server may take.
const KEYS_LIMIT: Duration = Duration::from_secs(20);
/// So many events may introduce a room.
const MAX_STATE_EVENTS: usize = 50;
/// Of one of them, before it is read as an event.
const LIMITS: ParseLimits = ParseLimits { numbers: Numbers::Lenient, max_bytes: 64 << 10, max_nesting: 100 };

/// An invitation as another server sends it. Nothing of it is checked.
pub struct ReceivedInvite<'a> {
    /// The room that the request names.
    pub room_id: &'a RoomId,
    /// The event that the request names.
    pub event_id: &'a EventId,
    /// The version of the room.
    pub room_version: &'a str,
    /// The member event.
    pub event: &'a RawValue,
    /// State events that introduce the room: whole or stripped.
    pub state: &'a [Box<RawValue>],
}

impl SharedMemberships {
    /// Tells a user of this server of an invitation, and returns the event with this server's signature, as JSON.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
    ///
    /// # Errors
    /// [`HandshakeError`], and the user is not told.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn receive_invite(
        &self,
        origin: &ServerName,
        invite: &ReceivedInvite<'_>,
    ) -> Result<Vec<u8>, HandshakeError> {
        let unknown = |_| HandshakeError::IncompatibleVersion(invite.room_version.to_owned());
        let version: RoomVersion = invite.room_version.parse().map_err(unknown)?;
        let received = ReceivedPdu::parse(version, Some(invite.room_id), invite.event.get().as_bytes())?;
        let target = check(&received, origin, invite.event_id)?;
        let user_sn = self.invitee(&target).await?;
        self.check_acl(origin, invite.room_id).await?;
        check_state(version, invite)?;
        let needed = keys_of_event(&received);
        let keys = self.parts.keys.for_events(&needed, Instant::now() + KEYS_LIMIT).await;
        let event = received.event().clone();
        received.verify(&keys)?;
        let key = self.parts.rate_limits.account(target.as_str());
        self.parts.rate_limits.spend(LimitedAction::InvitesPerUser, key, None).map_err(RoomError::from)?.keep();
        let identity = &self.parts.identity;
        let signed = event.signed(&identity.server_name, &identity.key_pair);
        let signed = signed.map_err(|error| HandshakeError::Invalid(error.to_string()))?;
        let room_sn = self.parts.interned.room(invite.room_id.as_str()).await?;
        if self.parts.database.is_in_room(room_sn).await? {
            self.invite_into_known_room(&signed, &keys).await?;
        } else {
            self.tell_of_invite(room_sn, user_sn, &signed, invite).await?;
        }
        Ok(signed.to_json())
    }

    /// Whether a room that this server is in lets the other one take part.
    async fn check_acl(&self, origin: &ServerName, room_id: &RoomId) -> Result<(), HandshakeError> {
        let Some(room_sn) = self.parts.interned.find_room(room_id.as_str()).await? else { return Ok(()) };
        if self.parts.database.is_in_room(room_sn).await? && !self.parts.timeline.admits_server(room_sn, origin).await?
        {
            return Err(HandshakeError::Refused("The room does not let your server take part.".to_owned()));
        }
        Ok(())
    }

    /// The number of the invited user, who must have an account that is in use.
    async fn invitee(&self, user_id: &UserId) -> Result<UserSn, HandshakeError> {
        let refused = || HandshakeError::Refused(format!("{user_id} cannot be invited."));
        if !self.parts.identity.is_local(user_id) {
            return Err(HandshakeError::Invalid("The invited user is not one of this server.".to_owned()));
        }
        let user_sn = self.parts.interned.find_user(user_id.as_str()).await?.ok_or_else(refused)?;
        let account = self.parts.database.account(user_sn).await?.ok_or_else(refused)?;
        if account.deactivated_at.is_some() { Err(refused()) } else { Ok(user_sn) }
    }

    /// The event also comes with the other events of the room: if it follows some that are not here, it is left to that.
    async fn invite_into_known_room(&self, event: &Pdu, keys: &federation::FetchedKeys) -> Result<(), HandshakeError> {
        match self.parts.timeline.receive(event.room_id(), &event.to_json(), keys).await? {
            Reception::Stored(Standing::Accepted, _) | Reception::Known(Standing::Accepted) | Reception::Missing(_) => {
                Ok(())
            }
            Reception::Stored(_, reason) => Err(HandshakeError::Refused(reason.unwrap_or_default())),
            Reception::Known(_) => Err(HandshakeError::Refused("The invitation was refused before.".to_owned())),
            Reception::Dropped(reason) => Err(reason.into()),
        }
    }

    async fn tell_of_invite(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        event: &Pdu,
        invite: &ReceivedInvite<'_>,
    ) -> Result<(), HandshakeError> {
        let before = self.parts.database.membership(room_sn, user_sn).await?.map(|before| before.membership);
        if before == Some(Membership::Invite)
            && let Some((_, known)) = self.parts.database.remote_membership(room_sn, user_sn).await?
            && known.event.is_some_and(|known| known == event.to_json())
        {
            return Ok(());
        }
        let invited = RemoteMembership {
            room_sn,
            user_sn,
            membership: Membership::Invite,
            room_version: event.version().as_str().into(),
            event: Some(event.to_json().into()),
            state: stripped_state(invite.state.iter().map(|event| RawValue::get(event))),
        };
        match self.parts.database.set_remote_membership(invited, before).await? {
            Some(_) => Ok(()),
            None => Err(RoomError::Contended.into()),
        }
    }

    /// Takes an invitation away, or a knock, by the event of a room that this server is not in. Returns whether it did.
    ///
    /// The state of the room is not here to judge the event by, so it must name the one that it ends, whose ID others do not know; and
    /// an invitation is withdrawn only by the user who sent it.
    ///
    /// # Errors
    /// [`RoomError`] if something cannot be read or written.
    pub async fn receive_retraction(&self, room_id: &RoomId, json: &[u8]) -> Result<bool, RoomError> {
        let Some(room_sn) = self.parts.interned.find_room(room_id.as_str()).await? else { return Ok(false) };
        let Ok(object) = CanonicalObject::parse_within(json, LIMITS) else { return Ok(false) };
        let target = object.string("state_key").and_then(|target| UserId::parse(target).ok());
        let Some(target) = target.filter(|user_id| self.parts.identity.is_local(user_id)) else { return Ok(false) };
        let Some(user_sn) = self.parts.interned.find_user(target.as_str()).await? else { return Ok(false) };
        let Some((_, known)) = self.parts.database.remote_membership(room_sn, user_sn).await? else { return Ok(false) };
        let Ok(version) = known.room_version.parse::<RoomVersion>() else { return Ok(false) };
        let Ok(received) = ReceivedPdu::parse(version, Some(room_id), json) else { return Ok(false) };
        let keys = self.parts.keys.for_events(&keys_of_event(&received), Instant::now() + KEYS_LIMIT).await;
        let event = received.event().clone();
        if received.verify(&keys).is_err() || !ends(&event, &known, version) {
            return Ok(false);
        }
        let Some(membership) = event.membership() else { return Ok(false) };
        let expected = Some(known.membership);
        let state = Bytes::from_static(b"[]");
        let ended = RemoteMembership { membership, event: Some(json.to_vec().into()), state, ..known };
        Ok(self.parts.database.set_remote_membership(ended, expected).await?.is_some())
    }
}

/// Whether the event takes away the invitation or the knock that is known.
fn ends(event: &Pdu, known: &RemoteMembership, version: RoomVersion) -> bool {
    let is_end = matches!(event.membership(), Some(Membership::Leave | Membership::Ban));
    let Some(Ok(ended)) = known.event.as_ref().map(|json| Pdu::parse(version, json)) else { return false };
    let may_end = match known.membership {
        Membership::Invite => event.sender() == ended.sender(),
        Membership::Knock => true,
        _ => false,
    };
    let names_it = event.auth_events().iter().any(|event_id| event_id == ended.event_id());
    event.event_type() == "m.room.member" && is_end && may_end && names_it
}

/// Checks that it is an invitation by a user of `origin`, with that ID, and returns the invited user.
fn check(received: &ReceivedPdu, origin: &ServerName, event_id: &EventId) -> Result<ruma::OwnedUserId, HandshakeError> {
    let event = received.event();
    let invalid = |sentence: &str| Err(HandshakeError::Invalid(sentence.to_owned()));
    if received.form() == Form::Redacted {
        return invalid("The content hash of the event is wrong.");
    }
    if event.event_id() != event_id {
        return invalid("The event has another ID than the path.");
    }
    if event.event_type() != "m.room.member" || event.membership() != Some(Membership::Invite) {
        return invalid("The event is not an invitation.");
    }
    if event.sender().server_name() != origin {
        return invalid("The sender of the event is not a user of your server.");
    }
    let target = event.state_key().and_then(|user_id| UserId::parse(user_id).ok());
    target.ok_or_else(|| HandshakeError::Invalid("The event does not name the invited user.".to_owned()))
}

/// Since version 12 the ID of a room proves its first event, which must be whole. The others should be, but Synapse strips them.
fn check_state(version: RoomVersion, invite: &ReceivedInvite<'_>) -> Result<(), HandshakeError> {
    if invite.state.len() > MAX_STATE_EVENTS {
        return Err(HandshakeError::Invalid(format!("More than {MAX_STATE_EVENTS} events introduce the room.")));
    }
    if !version.room_id_is_create_hash() {
        return Ok(());
    }
    let mut has_create = false;
    for event in invite.state {
        let stated = CanonicalObject::parse_within(event.get().as_bytes(), LIMITS);
        if !stated.is_ok_and(|event| event.string("type").as_deref() == Some("m.room.create")) {
            continue;
        }
        let event = ReceivedPdu::parse(version, Some(invite.room_id), event.get().as_bytes())?;
        has_create |= event.event().is_state("m.room.create", "");
    }
    if has_create {
        return Ok(());
    }
    Err(HandshakeError::Invalid("The state that introduces the room lacks its m.room.create event.".to_owned()))
}

/// State events of another server as a list of stripped ones, as canonical JSON. What is malformed is left out.
pub(super) fn stripped_state<'a>(events: impl Iterator<Item = &'a str>) -> Bytes {
    let mut out = vec![b'['];
    for event in events.take(MAX_STATE_EVENTS) {
        let Ok(event) = CanonicalObject::parse_within(event.as_bytes(), LIMITS) else { continue };
        let is_event = ["type", "sender", "state_key"].iter().all(|key| event.string(key).is_some());
        if is_event && event.value("content").is_some_and(|content| content.starts_with(b"{")) {
            if out.len() > 1 {
                out.push(b',');
            }
            write_stripped(&mut out, event.as_bytes());
        }
    }
    out.push(b']');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_introduces_a_room_is_stripped_and_what_is_malformed_is_left_out() {
        let events = [
            r#"{ "type": "m.room.name", "state_key": "", "sender": "@a:x", "content": {"name": "x"}, "origin_server_ts": 5 }"#,
            r#"{"type":"m.room.topic","state_key":"","content":{},"sender":5}"#,
            r#"{"type":"m.room.topic","state_key":"","sender":"@a:x","content":5}"#,
            "5",
            "{",
        ];
        let state = stripped_state(events.into_iter());
        let expected = r#"[{"content":{"name":"x"},"sender":"@a:x","state_key":"","type":"m.room.name"}]"#;
        assert_eq!(state, expected.as_bytes());
        assert_eq!(stripped_state([].into_iter()), &b"[]"[..]);
    }
}
