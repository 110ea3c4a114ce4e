//! Joining rooms of other servers, and knocking on them.

use std::collections::BTreeMap;
use std::time::Duration;

use accounts::asking::Asker;
use accounts::sessions::Requester;
use bytes::Bytes;
use federation::RequestError;
use room_engine::{EventTemplate, Pdu};
use rooms::{ContentMap, RoomError, RoomImport};
use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use storage::{Membership, RemoteMembership};
use tokio::time::Instant;

use super::candidates::Attempts;
use super::invited::stripped_state;
use super::{MembershipError, RefusedHere, SharedMemberships};
use crate::requests::{Handshake, JoinAnswer, Template};

/// How long one server may take to send the state of a room.
const STATE_LIMIT: Duration = Duration::from_mins(10);
/// How long the keys of the servers in a room may take.
const KEYS_LIMIT: Duration = Duration::from_secs(60);

impl SharedMemberships {
    /// Joins a room or knocks on it by way of other servers, one after the other until one helps.
    pub(super) async fn enter(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        via: Vec<OwnedServerName>,
        (handshake, content): (Handshake, ContentMap),
    ) -> Result<(), MembershipError> {
        let remote = self.remote_membership(requester, room_id).await?;
        let candidates = self.candidates(room_id, via, remote.as_ref()).await?;
        self.spend(requester)?;
        let _place = self.parts.shares.take_place(Asker::User(requester)).await?;
        let mut attempts = Attempts::new();
        for server in candidates {
            if attempts.is_over() {
                break;
            }
            let _lock = self.entering.lock(room_id).await;
            if handshake == Handshake::Join && self.has_joined(requester, room_id, &content).await? {
                return Ok(());
            }
            let deadline = attempts.deadline;
            let entered = match handshake {
                Handshake::Join => Box::pin(self.join_via(requester, room_id, &server, &content, deadline)).await,
                _ => self.knock_via(requester, room_id, &server, &content, deadline).await,
            };
            match entered {
                Ok(()) => return Ok(()),
                // Another server would not change that.
                Err(error @ MembershipError::Room(RoomError::Storage(_))) => return Err(error),
                Err(error) => attempts.note(room_id, &server, error),
            }
        }
        let sentence = format!("The room {room_id} is not known here, and no other server can be asked for it.");
        Err(attempts.failure(RoomError::NotFound(sentence).into()))
    }

    /// Joins by itself if another user of this server has joined in the meantime.
    async fn has_joined(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        content: &ContentMap,
    ) -> Result<bool, MembershipError> {
        if !self.is_resident(room_id, requester).await? {
            return Ok(false);
        }
        let joined = self.parts.memberships.join(requester, room_id.into(), content.clone()).await;
        if self.may_others_help(room_id, RefusedHere::of(&joined)).await? {
            return Ok(false);
        }
        Ok(joined.map(|_| true)?)
    }

    async fn join_via(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        server: &ServerName,
        content: &ContentMap,
        deadline: Instant,
    ) -> Result<(), MembershipError> {
        let requests = &self.parts.requests;
        let template = requests.template(server, Handshake::Join, room_id, &requester.user_id, deadline).await?;
        let template = checked(template, Handshake::Join, room_id, &requester.user_id, server)?;
        let event = self.sign(requester, &template, content).await?;
        let names = (room_id, event.event_id());
        // From here on it only matters that the state arrives.
        let deadline = Instant::now() + STATE_LIMIT;
        // What is known of a room that this server is in must not become less.
        let is_in_room = match self.parts.interned.find_room(room_id.as_str()).await? {
            Some(room_sn) => self.parts.database.is_in_room(room_sn).await?,
            None => false,
        };
        let answer = requests.send_join(server, names, event.to_json().into(), !is_in_room, deadline).await?;
        self.take_in(&event, server, answer).await
    }

    /// Takes in the join with what the other server told of the room.
    async fn take_in(&self, event: &Pdu, server: &ServerName, answer: JoinAnswer) -> Result<(), MembershipError> {
        let JoinAnswer { state, auth_chain, event: signed, members_omitted, mut servers_in_room } = answer;
        // The one that has let the user in comes first.
        servers_in_room.retain(|known| known != server && *known != self.parts.identity.server_name);
        servers_in_room.insert(0, server.to_owned());
        let member_event = signed_form(event, signed, server)?;
        let room_id = event.room_id();
        let told = [state.as_slice(), &auth_chain, std::slice::from_ref(&member_event)].concat();
        let needed = self.parts.timeline.needed_keys(event.version(), &told).await?;
        drop(told);
        let keys = self.parts.keys.for_events(&needed, Instant::now() + KEYS_LIMIT).await;
        let import = RoomImport {
            room_id: room_id.to_owned(),
            room_version: event.version(),
            state,
            auth_chain,
            member_event,
            is_partial: members_omitted,
            servers_in_room,
        };
        match self.parts.timeline.import_room(&import, &keys).await {
            Ok(_) => Ok(()),
            Err(RoomError::Invalid(reason)) => Err(RequestError::bad_answer(server, &reason).into()),
            Err(error) => Err(error.into()),
        }
    }

    async fn knock_via(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        server: &ServerName,
        content: &ContentMap,
        deadline: Instant,
    ) -> Result<(), MembershipError> {
        let requests = &self.parts.requests;
        let template = requests.template(server, Handshake::Knock, room_id, &requester.user_id, deadline).await?;
        let template = checked(template, Handshake::Knock, room_id, &requester.user_id, server)?;
        let event = self.sign(requester, &template, content).await?;
        let json = Bytes::from(event.to_json());
        let state = requests.send_knock(server, room_id, event.event_id(), json.clone(), deadline).await?;
        let room_sn = self.parts.interned.room(room_id.as_str()).await?;
        let before = self.parts.database.membership(room_sn, requester.user_sn).await?;
        let knocked = RemoteMembership {
            room_sn,
            user_sn: requester.user_sn,
            membership: Membership::Knock,
            room_version: template.version.as_str().into(),
            event: Some(json),
            state: stripped_state(state.iter().map(|event| RawValue::get(event))),
        };
        // If it is something else now, the invitation that answers the knock came first.
        self.parts.database.set_remote_membership(knocked, before.map(|before| before.membership)).await?;
        Ok(())
    }
}

/// The template, if it is that of the user's own member event with the right membership.
pub(super) fn checked(
    template: Template,
    handshake: Handshake,
    room_id: &RoomId,
    user_id: &UserId,
    server: &ServerName,
) -> Result<EventTemplate, RequestError> {
    let bad = |reason: &str| RequestError::bad_answer(server, reason);
    let version = template.room_version;
    let template = EventTemplate::parse(version, template.event.get().as_bytes());
    let template = template.map_err(|error| bad(&error.to_string()))?;
    let is_own = template.event_type == "m.room.member"
        && template.sender == user_id
        && template.state_key.as_deref() == Some(user_id.as_str())
        && template.content.string("membership").as_deref() == Some(handshake.membership().as_str());
    if !is_own {
        return Err(bad("the event is not the one that was asked for"));
    }
    if template.room_id != room_id {
        return Err(bad("the event is of another room"));
    }
    Ok(template)
}

/// The event with the signatures that the other server has added.
fn signed_form(event: &Pdu, signed: Option<Bytes>, server: &ServerName) -> Result<Bytes, RequestError> {
    let Some(signed) = signed else { return Ok(event.to_json().into()) };
    let bad = |error: room_engine::EventError| RequestError::bad_answer(server, &error.to_string());
    let signed = Pdu::parse(event.version(), &signed).map_err(bad)?;
    Ok(merged(event, &signed, server)?.to_json().into())
}

/// `event` with the signatures of `server` in `signed`, and nothing else of that.
pub(super) fn merged(event: &Pdu, signed: &Pdu, server: &ServerName) -> Result<Pdu, RequestError> {
    let of_server = signed.signatures().and_then(|all| room_engine::member(all, server.as_str())).unwrap_or(b"{}");
    let bad = |reason: String| RequestError::bad_answer(server, &reason);
    let signatures: BTreeMap<String, String> =
        serde_json::from_slice(of_server).map_err(|error| bad(error.to_string()))?;
    let signatures = signatures.iter().map(|(key_id, signature)| (key_id.as_str(), signature.as_str()));
    event.with_signatures(server, signatures).map_err(|error| bad(error.to_string()))
}
