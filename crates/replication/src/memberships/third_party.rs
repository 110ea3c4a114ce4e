//! Invitations of addresses, whose owners are known by now.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use accounts::asking::Asker;
use rooms::{ContentMap, RoomError};
use ruma::{OwnedUserId, RoomId, ServerName};

use super::{MembershipError, SharedMemberships};

/// The invitation that is to take the place of that of an address.
pub struct ThirdPartyInvite {
    /// The user of this server who has invited the address.
    pub sender: OwnedUserId,
    /// The user to whom the address belongs.
    pub target: OwnedUserId,
    /// The content of the member event, with the proof of an identity server.
    pub content: ContentMap,
}

impl SharedMemberships {
    /// Invites a user of `origin`, whose address was invited before, and who sends the proof of that.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn exchange_third_party_invite(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        invite: &ThirdPartyInvite,
        asker: Asker<'_>,
    ) -> Result<(), MembershipError> {
        let ThirdPartyInvite { sender, target, content } = invite;
        if target.server_name() != origin {
            return Err(RoomError::Forbidden("The invited user is not one of your server.".to_owned()).into());
        }
        if !self.parts.identity.is_local(sender) {
            return Err(RoomError::Forbidden("The inviting user is not one of this server.".to_owned()).into());
        }
        if content.get("membership").and_then(|word| word.as_str()) != Some("invite")
            || content.get("third_party_invite").is_none_or(|invite| !invite.is_object())
        {
            return Err(RoomError::Malformed("The event is not the invitation of an address.".to_owned()).into());
        }
        let _place = self.parts.shares.take_place(asker).await?;
        let memberships = &self.parts.memberships;
        let proposed = memberships.propose_third_party_invite(room_id, sender, target, content).await?;
        let event = Box::pin(self.signed_by_other(origin, &proposed)).await?;
        self.send_invite(room_id, &event).await
    }
}
