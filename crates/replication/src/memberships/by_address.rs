//! Inviting people by their addresses, and what becomes of that when the addresses turn out to be of users of this server.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use accounts::asking::Asker;
use accounts::sessions::Requester;
use accounts::threepids::{EMAIL, canonical_email, hashed_address};
use federation::{IdentityServer, StoredInvite};
use rooms::{ContentMap, RoomError};
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::{Value, json};

use super::{MembershipError, SharedMemberships};

/// The algorithms by which an address is looked up, best first.
const ALGORITHMS: [&str; 2] = ["sha256", "none"];

/// An address that is to be invited.
pub struct InvitedAddress {
    /// The identity server that is asked for its user.
    pub identity_server: IdentityServer,
    /// The kind of address: `email` or `msisdn`.
    pub medium: String,
    /// The address.
    pub address: String,
}

/// An invitation of an address that was found to be of a user of this server. Nothing of it is checked.
pub struct BoundInvite {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The user who has invited the address.
    pub sender: OwnedUserId,
    /// The user of this server.
    pub target: OwnedUserId,
    /// What the identity server has signed: the token, the user, and the signatures.
    pub signed: ContentMap,
}

impl SharedMemberships {
    /// Invites an address: its user if the identity server knows one, else the first user who later proves to own it. `content` goes into the
    /// member event of a known user.
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn invite_address(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        invited: &InvitedAddress,
        content: ContentMap,
    ) -> Result<(), MembershipError> {
        let InvitedAddress { identity_server, medium, address } = invited;
        let canonical = match medium.as_str() {
            EMAIL => canonical_email(address).map_err(|reason| RoomError::Invalid(format!("address: {reason}")))?,
            _ => address.clone(),
        };
        let mut told = self.parts.memberships.begin_inviting_address(requester, room_id).await?;
        let place = self.parts.shares.take_place(Asker::User(requester)).await?;
        if let Some(user_id) = self.user_of(identity_server, medium, &canonical).await? {
            drop(place);
            return Box::pin(self.invite(requester, room_id, &user_id, content)).await;
        }
        told.insert("medium".to_owned(), medium.as_str().into());
        told.insert("address".to_owned(), canonical.into());
        let stored = self.parts.identity_servers.store_invite(identity_server, told).await?;
        let content = content_of(identity_server, &stored);
        Ok(self.parts.memberships.invite_address(requester, room_id, &stored.token, &content).await?)
    }

    /// Invites addresses to a new room. The room is there without them: an invitation that fails can be repeated.
    pub async fn invite_addresses_to_new_room(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        invited: Vec<InvitedAddress>,
        is_direct: bool,
    ) {
        let content = is_direct.then(|| ("is_direct".to_owned(), true.into()));
        let content: ContentMap = content.into_iter().collect();
        for address in &invited {
            if let Err(error) = Box::pin(self.invite_address(requester, room_id, address, content.clone())).await {
                tracing::warn!(%error, %room_id, "an address was not invited to a new room");
            }
        }
    }

    async fn user_of(
        &self,
        server: &IdentityServer,
        medium: &str,
        address: &str,
    ) -> Result<Option<OwnedUserId>, MembershipError> {
        let servers = &self.parts.identity_servers;
        let details = servers.hash_details(server).await?;
        let algorithm = ALGORITHMS.into_iter().find(|known| details.algorithms.iter().any(|named| named == known));
        let pepper = &details.lookup_pepper;
        let hashed =
            algorithm.and_then(|algorithm| Some((algorithm, hashed_address(algorithm, pepper, medium, address)?)));
        let Some((algorithm, hashed)) = hashed else {
            let sentence = "The identity server looks addresses up in a way that this server does not know.";
            return Err(RoomError::Forbidden(sentence.to_owned()).into());
        };
        Ok(servers.lookup(server, (algorithm, pepper), &hashed).await?)
    }

    /// Has a user of this server invited to the rooms to which an address was invited that is the user's now. An invitation that fails
    /// keeps none of the others from being sent.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind>
    ///
    /// # Errors
    /// [`MembershipError`] if others are asked too often.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn address_was_bound(&self, invites: &[BoundInvite], asker: Asker<'_>) -> Result<(), MembershipError> {
        for invite in invites {
            let _place = self.parts.shares.take_place(asker).await?;
            if let Err(error) = Box::pin(self.exchange(invite)).await {
                let BoundInvite { room_id, sender, target, .. } = invite;
                tracing::info!(%error, %room_id, %sender, %target, "the invitation of an address became none of a user");
            }
        }
        Ok(())
    }

    async fn exchange(&self, invite: &BoundInvite) -> Result<(), MembershipError> {
        let BoundInvite { room_id, sender, target, signed } = invite;
        let is_for_target = signed.get("mxid").and_then(Value::as_str) == Some(target.as_str());
        if !is_for_target || !self.parts.identity.is_local(target) {
            return Err(RoomError::Forbidden("The invitation is not for a user of this server.".to_owned()).into());
        }
        let member = |name: Option<String>| {
            let name = name.unwrap_or_default();
            let content =
                json!({ "membership": "invite", "third_party_invite": { "display_name": name, "signed": signed } });
            content.as_object().cloned().unwrap_or_default()
        };
        let memberships = &self.parts.memberships;
        if self.parts.identity.is_local(sender) {
            let token = signed.get("token").and_then(Value::as_str).unwrap_or_default();
            let content = member(memberships.name_of_invited_address(room_id, token).await?);
            let proposed = memberships.propose_third_party_invite(room_id, sender, target, &content).await?;
            return self.send_invite(room_id, &proposed.event).await;
        }
        let event = json!({
            "type": "m.room.member", "room_id": room_id, "sender": sender, "state_key": target, "content": member(None),
        });
        Ok(self.parts.requests.exchange_third_party_invite(sender.server_name(), room_id, &event).await?)
    }
}

/// The content of the event that invites the address.
fn content_of(server: &IdentityServer, stored: &StoredInvite) -> ContentMap {
    let validity = |key: &federation::InviteKey| {
        let usual = || format!("https://{}/_matrix/identity/v2/pubkey/isvalid", server.name);
        key.key_validity_url.clone().unwrap_or_else(usual)
    };
    let mut content = ContentMap::from_iter([
        ("display_name".to_owned(), stored.display_name.as_str().into()),
        ("public_keys".to_owned(), json!(stored.public_keys)),
    ]);
    if let Some(key) = stored.public_keys.first() {
        content.insert("public_key".to_owned(), key.public_key.as_str().into());
        content.insert("key_validity_url".to_owned(), validity(key).into());
    }
    content
}
