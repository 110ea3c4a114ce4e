//! Rules 4.4 and 6: invites, also by third parties.

use ruma::{SigningKeyAlgorithm, UserId, signatures::verify_canonical_json_bytes};

use super::{Action, AuthError, PowerLevels, StateLookup, room::Room, selection::MALFORMED_INVITE};
use crate::{
    Membership, Pdu, SignedInvite,
    canonical::{elements, member, string_value},
    content::decode_base64,
};

/// [Rule 4.4](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
pub(super) fn check_invite<S: StateLookup + ?Sized>(
    event: &Pdu,
    target: &UserId,
    room: &Room<'_, S>,
) -> Result<(), AuthError> {
    let third_party_invite = event.member()?.third_party_invite.as_ref().map_err(|_| MALFORMED_INVITE)?;
    if let Some(invite) = third_party_invite {
        return check_third_party_invite(event, invite, target, room);
    }
    if !room.is_joined(event.sender()) {
        return Err(AuthError::SenderNotJoined);
    }
    match room.membership(target) {
        Membership::Join => return Err(AuthError::AlreadyJoined { user: target.to_owned() }),
        Membership::Ban => return Err(AuthError::Banned { user: target.to_owned() }),
        Membership::Invite | Membership::Leave | Membership::Knock => {}
    }
    check_may_invite(event.sender(), &room.power_levels()?)
}

/// Rules 4.4.4 and [6](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): the user has the invite level.
pub(super) fn check_may_invite(user: &UserId, levels: &PowerLevels) -> Result<(), AuthError> {
    levels.require(user, levels.invite(), || Action::Invite)
}

/// [Rule 4.4.1](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): an invite that an identity server
/// signed over to the user who turned out to own the address.
fn check_third_party_invite<S: StateLookup + ?Sized>(
    event: &Pdu,
    invite: &SignedInvite,
    target: &UserId,
    room: &Room<'_, S>,
) -> Result<(), AuthError> {
    let refused = |reason| Err(AuthError::ThirdPartyInviteRefused { reason });
    if room.membership(target) == Membership::Ban {
        return Err(AuthError::Banned { user: target.to_owned() });
    }
    if invite.mxid != target.as_str() {
        return refused("it is for another user");
    }
    let Some(original) = room.third_party_invite(&invite.token) else {
        return refused("the room has no invite with its token");
    };
    if original.sender() != event.sender() {
        return refused("another user sent it");
    }
    if is_signed(invite, original) { Ok(()) } else { refused("no signature matches a key of the invite") }
}

/// Rule 4.4.1.7.
fn is_signed(invite: &SignedInvite, original: &Pdu) -> bool {
    let content = original.content();
    let listed = content.value("public_keys").map(elements).into_iter().flatten();
    let keys: Vec<Vec<u8>> = listed
        .filter_map(|entry| member(entry, "public_key"))
        .chain(content.value("public_key"))
        .filter_map(|key| decode_base64(&string_value(key)?))
        .collect();
    invite.signatures.iter().any(|signature| {
        keys.iter().any(|key| {
            verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, key, signature, &invite.signed_json).is_ok()
        })
    })
}
