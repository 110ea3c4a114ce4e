//! Inviting users of other servers.

use std::collections::BTreeSet;
use std::time::Duration;

use accounts::asking::Asker;
use accounts::sessions::Requester;
use federation::{NeededKeys, RequestError};
use room_engine::Pdu;
use rooms::{ContentMap, NewRoom, ProposedInvite, Reception, RoomError};
use ruma::{RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use storage::Standing;
use tokio::time::Instant;

use super::entering::merged;
use super::{MembershipError, SharedMemberships, SharedMembershipsParts};
use crate::requests::InviteRequest;

/// How long the other server may take to sign an invitation.
const INVITE_LIMIT: Duration = Duration::from_secs(45);

impl SharedMemberships {
    /// Invites a user. One of another server is invited once that server has signed the invitation. `content` goes into the member event.
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(name = "invite_user", level = "debug", skip_all)]
    pub async fn invite(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        content: ContentMap,
    ) -> Result<(), MembershipError> {
        let SharedMembershipsParts { memberships, identity, .. } = &self.parts;
        if identity.is_local(target) {
            let reason = content.get("reason").and_then(|reason| reason.as_str()).map(ToOwned::to_owned);
            return Ok(memberships.invite(requester, room_id, target, reason).await?);
        }
        let invite = memberships.propose_invite(requester, room_id, target, content).await?;
        let _place = self.parts.shares.take_place(Asker::User(requester)).await?;
        let event = Box::pin(self.signed_by_other(target.server_name(), &invite)).await?;
        self.send_invite(room_id, &event).await
    }

    /// Invites the users of other servers who are to be invited to a new room. The room is there without them: an invitation that fails
    /// can be repeated.
    pub async fn invite_to_new_room(&self, requester: &Requester, room_id: &RoomId, new_room: &NewRoom) {
        let content = new_room.is_direct.then(|| ("is_direct".to_owned(), true.into()));
        let content: ContentMap = content.into_iter().collect();
        for target in new_room.invite.iter().filter(|user_id| !self.parts.identity.is_local(user_id)) {
            if let Err(error) = self.invite(requester, room_id, target, content.clone()).await {
                tracing::warn!(%error, %room_id, %target, "a user of another server was not invited to a new room");
            }
        }
    }

    /// The invitation with the signature of the other server.
    pub(super) async fn signed_by_other(
        &self,
        server: &ServerName,
        invite: &ProposedInvite,
    ) -> Result<Pdu, MembershipError> {
        let event = &invite.event;
        let raw = |pdu: &Pdu| RawValue::from_string(String::from_utf8_lossy(&pdu.to_json()).into_owned());
        let unreadable = |error: serde_json::Error| RequestError::bad_answer(server, &error.to_string());
        let introduction: Vec<Box<RawValue>> =
            invite.introduction.iter().map(raw).collect::<Result<_, _>>().map_err(unreadable)?;
        let json = raw(event).map_err(unreadable)?;
        let room_version = event.version().as_str();
        let request = InviteRequest { room_version, event: &json, invite_room_state: &introduction };
        let deadline = Instant::now() + INVITE_LIMIT;
        let answer = self.parts.requests.invite(server, event.room_id(), event.event_id(), &request, deadline).await?;
        let signed = Pdu::parse(event.version(), answer.get().as_bytes());
        let signed = signed.map_err(|error| RequestError::bad_answer(server, &error.to_string()))?;
        Ok(merged(event, &signed, server)?)
    }

    /// Puts the invitation into the room. The room has perhaps moved on meanwhile, as for an event of another server.
    pub(super) async fn send_invite(&self, room_id: &RoomId, event: &Pdu) -> Result<(), MembershipError> {
        let own = self.parts.identity.server_name.clone();
        let needed = NeededKeys::from_iter([(own, BTreeSet::new())]);
        let keys = self.parts.keys.for_events(&needed, Instant::now()).await;
        match self.parts.timeline.receive(room_id, &event.to_json(), &keys).await? {
            Reception::Stored(Standing::Accepted, _) | Reception::Known(Standing::Accepted) => Ok(()),
            Reception::Stored(_, reason) => Err(RoomError::Forbidden(reason.unwrap_or_default()).into()),
            Reception::Known(_) | Reception::Missing(_) => Err(RoomError::Contended.into()),
            Reception::Dropped(reason) => Err(RoomError::Forbidden(reason.to_string()).into()),
        }
    }
}
