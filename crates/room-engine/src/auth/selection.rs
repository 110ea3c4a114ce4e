//! Which state an event needs.

use ruma::UserId;

use super::AuthError;
use crate::{CanonicalObject, MemberContent, Membership, RoomVersion};

/// The type and state key of a state event.
pub type AuthType = (&'static str, String);

/// The [auth events selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection): the types and
/// state keys whose current state events, where there are any, become the `auth_events` of an event.
///
/// Since version 12 the create event is not among them.
///
/// # Errors
/// When a member event is not of the form that the selection needs.
pub fn auth_types_for_event(
    version: RoomVersion,
    event_type: &str,
    sender: &UserId,
    state_key: Option<&str>,
    content: &CanonicalObject,
) -> Result<Vec<AuthType>, AuthError> {
    if event_type == "m.room.create" {
        return Ok(Vec::new());
    }
    let mut needed = Vec::with_capacity(6);
    if !version.room_id_is_create_hash() {
        needed.push(("m.room.create", String::new()));
    }
    needed.push(("m.room.power_levels", String::new()));
    needed.push(("m.room.member", sender.to_string()));
    if event_type == "m.room.member" {
        add_for_member(version, state_key, &MemberContent::parse(content), &mut needed)?;
    }
    Ok(needed)
}

fn add_for_member(
    version: RoomVersion,
    target: Option<&str>,
    content: &MemberContent,
    needed: &mut Vec<AuthType>,
) -> Result<(), AuthError> {
    let mut add = |event_type: &'static str, state_key: &str| {
        if !needed.iter().any(|known| known.0 == event_type && known.1 == state_key) {
            needed.push((event_type, state_key.to_owned()));
        }
    };
    add("m.room.member", target.ok_or(AuthError::MemberWithoutUser)?);
    let membership = content.membership.ok_or(AuthError::UnknownMembership)?;
    if matches!(membership, Membership::Join | Membership::Invite | Membership::Knock) {
        add("m.room.join_rules", "");
    }
    if membership == Membership::Invite {
        let invite = content.third_party_invite.as_ref().map_err(|_| MALFORMED_INVITE)?;
        if let Some(invite) = invite {
            add("m.room.third_party_invite", &invite.token);
        }
    }
    if membership == Membership::Join && version.rules().authorization.restricted_join_rule {
        let authorising = content.join_authorised_via_users_server.as_ref().map_err(|_| MALFORMED_AUTHORISING_USER)?;
        if let Some(user) = authorising {
            add("m.room.member", user.as_str());
        }
    }
    Ok(())
}

pub(super) const MALFORMED_INVITE: AuthError =
    AuthError::ThirdPartyInviteRefused { reason: "`signed` with `mxid` and `token` is missing" };

pub(super) const MALFORMED_AUTHORISING_USER: AuthError =
    AuthError::RestrictedJoinRefused { reason: "`join_authorised_via_users_server` is not a user ID" };
