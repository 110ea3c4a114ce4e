//! Declining invitations of other servers, withdrawing knocks, and leaving.

use accounts::asking::Asker;
use accounts::sessions::Requester;
use bytes::Bytes;
use room_engine::{EventTemplate, Pdu, RoomVersion};
use rooms::{ContentMap, RoomError};
use ruma::{RoomId, ServerName};
use serde_json::json;
use storage::{Membership, RemoteMembership};
use tokio::time::Instant;

use super::candidates::Attempts;
use super::entering::checked;
use super::{MembershipError, SharedMemberships};
use crate::requests::Handshake;

impl SharedMemberships {
    /// Leaves a room, declines an invitation, or withdraws a knock. An invitation of servers that cannot be reached is declined all the
    /// same, though they do not learn of it.
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(name = "leave_room", level = "debug", skip_all)]
    pub async fn leave(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), MembershipError> {
        let Some(remote) = self.remote_membership(requester, room_id).await? else {
            return Ok(self.parts.memberships.leave(requester, room_id, reason).await?);
        };
        let content: ContentMap = reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect();
        let event = match Box::pin(self.leave_by_others(requester, room_id, &remote, &content)).await {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::info!(%error, %room_id, user_id = %requester.user_id, "other servers do not know that a user has left");
                self.leave_alone(requester, &remote, room_id, &content).await
            }
        };
        let expected = Some(remote.membership);
        let state = Bytes::from_static(b"[]");
        let left = RemoteMembership { membership: Membership::Leave, event, state, ..remote };
        if self.parts.database.set_remote_membership(left, expected).await?.is_none() {
            return Err(RoomError::Contended.into());
        }
        Ok(())
    }

    /// The event by which the user leaves, for the user's own clients: no server of the room could be told. It follows the event that it ends.
    async fn leave_alone(
        &self,
        requester: &Requester,
        remote: &RemoteMembership,
        room_id: &RoomId,
        content: &ContentMap,
    ) -> Option<Bytes> {
        let version: RoomVersion = remote.room_version.parse().ok()?;
        let ended = Pdu::parse(version, remote.event.as_ref()?).ok()?;
        let reference = ended.reference();
        let reference = match &reference.sha256 {
            Some(sha256) => json!([reference.event_id, { "sha256": sha256 }]),
            None => json!(reference.event_id),
        };
        let template = json!({
            "type": "m.room.member",
            "room_id": room_id,
            "sender": requester.user_id,
            "state_key": requester.user_id,
            "content": { "membership": "leave" },
            "prev_events": [&reference],
            "auth_events": [&reference],
            "depth": ended.depth().saturating_add(1),
        });
        let template = EventTemplate::parse(version, template.to_string().as_bytes()).ok()?;
        let event = self.sign(requester, &template, content).await.ok()?;
        Some(event.to_json().into())
    }

    /// Sends the event by which the user leaves to one of the servers that are in the room.
    async fn leave_by_others(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        remote: &RemoteMembership,
        content: &ContentMap,
    ) -> Result<Bytes, MembershipError> {
        let candidates = self.candidates(room_id, Vec::new(), Some(remote)).await?;
        let _place = self.parts.shares.take_place(Asker::User(requester)).await?;
        let mut attempts = Attempts::new();
        for server in candidates {
            if attempts.is_over() {
                break;
            }
            match self.leave_via(requester, room_id, &server, content, attempts.deadline).await {
                Ok(event) => return Ok(event),
                Err(error) => attempts.note(room_id, &server, error),
            }
        }
        Err(attempts.failure(RoomError::NoSuchRoom.into()))
    }

    async fn leave_via(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        server: &ServerName,
        content: &ContentMap,
        deadline: Instant,
    ) -> Result<Bytes, MembershipError> {
        let requests = &self.parts.requests;
        let template = requests.template(server, Handshake::Leave, room_id, &requester.user_id, deadline).await?;
        let template = checked(template, Handshake::Leave, room_id, &requester.user_id, server)?;
        let event = self.sign(requester, &template, content).await?;
        let json = Bytes::from(event.to_json());
        requests.send_leave(server, room_id, event.event_id(), json.clone(), deadline).await?;
        Ok(json)
    }
}
