//! Rule 4: changes of memberships.

use ruma::UserId;

use super::{Action, AuthError, StateLookup, invite, room::Room, selection::MALFORMED_AUTHORISING_USER};
use crate::{JoinRule, Membership, Pdu};

/// [Rule 4](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
pub(super) fn check_member<S: StateLookup + ?Sized>(event: &Pdu, room: &Room<'_, S>) -> Result<(), AuthError> {
    let state_key = event.state_key().ok_or(AuthError::MemberWithoutUser)?;
    let target = <&UserId>::try_from(state_key).map_err(|_| AuthError::MemberWithoutUser)?;
    match event.member()?.membership {
        Some(Membership::Join) => check_join(event, target, room),
        Some(Membership::Invite) => invite::check_invite(event, target, room),
        Some(Membership::Leave) if event.sender() == target => check_leave(target, room),
        Some(Membership::Leave) => check_kick(event.sender(), target, room),
        Some(Membership::Ban) => check_ban(event.sender(), target, room),
        Some(Membership::Knock) if room.rules().knocking => check_knock(event.sender(), target, room),
        Some(Membership::Knock) | None => Err(AuthError::UnknownMembership),
    }
}

/// [Rule 4.3](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_join<S: StateLookup + ?Sized>(event: &Pdu, target: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    if is_creators_first_join(event, target, room) {
        return Ok(());
    }
    check_joins_for_self(event.sender(), target)?;
    check_is_not_banned(target, room)?;
    let rules = room.rules();
    match room.join_rule() {
        JoinRule::Public => Ok(()),
        JoinRule::Invite => check_is_in_or_invited(target, room),
        JoinRule::Knock if rules.knocking => check_is_in_or_invited(target, room),
        JoinRule::Restricted if rules.restricted_join_rule => check_restricted_join(event, target, room),
        JoinRule::KnockRestricted if rules.knock_restricted_join_rule => check_restricted_join(event, target, room),
        _ => Err(AuthError::NotInvited),
    }
}

/// Rule 4.3.1: right after the create event, the creator joins.
fn is_creators_first_join<S: StateLookup + ?Sized>(event: &Pdu, target: &UserId, room: &Room<'_, S>) -> bool {
    let creator = if room.rules().use_room_create_sender {
        Some(room.create().sender())
    } else {
        room.create_content().creator.as_deref()
    };
    let follows_create = matches!(event.prev_events(), [only] if only == room.create().event_id());
    follows_create && creator == Some(target)
}

/// Rule 4.3.2.
fn check_joins_for_self(sender: &UserId, target: &UserId) -> Result<(), AuthError> {
    if sender == target { Ok(()) } else { Err(AuthError::JoinForOther) }
}

/// Rule 4.3.3.
fn check_is_not_banned<S: StateLookup + ?Sized>(user: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    match room.membership(user) {
        Membership::Ban => Err(AuthError::Banned { user: user.to_owned() }),
        _ => Ok(()),
    }
}

/// Rules 4.3.4 and 4.3.5.1.
fn check_is_in_or_invited<S: StateLookup + ?Sized>(user: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    match room.membership(user) {
        Membership::Join | Membership::Invite => Ok(()),
        _ => Err(AuthError::NotInvited),
    }
}

/// [Rule 4.3.5](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules), since version 8.
fn check_restricted_join<S: StateLookup + ?Sized>(
    event: &Pdu,
    target: &UserId,
    room: &Room<'_, S>,
) -> Result<(), AuthError> {
    check_is_in_or_invited(target, room).or_else(|_| check_is_vouched_for(event, room))
}

/// Rule 4.3.5.2: a joined user who may invite authorises the join.
fn check_is_vouched_for<S: StateLookup + ?Sized>(event: &Pdu, room: &Room<'_, S>) -> Result<(), AuthError> {
    let refused = |reason| Err(AuthError::RestrictedJoinRefused { reason });
    let authorising = event.member()?.join_authorised_via_users_server.as_ref();
    let Some(authorising) = authorising.map_err(|_| MALFORMED_AUTHORISING_USER)? else {
        return refused("no member vouches for your joining by another room");
    };
    if !room.is_joined(authorising) {
        return refused("the user who vouches for you is not in the room");
    }
    match invite::check_may_invite(authorising, &room.power_levels()?) {
        Ok(()) => Ok(()),
        Err(AuthError::InsufficientPower { .. }) => refused("the user who vouches for you may not invite"),
        Err(error) => Err(error),
    }
}

/// [Rule 4.5.1](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): leaving, refusing an invite, taking a
/// knock back.
fn check_leave<S: StateLookup + ?Sized>(user: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    match room.membership(user) {
        Membership::Join | Membership::Invite => Ok(()),
        Membership::Knock if room.rules().knocking => Ok(()),
        Membership::Ban => Err(AuthError::Banned { user: user.to_owned() }),
        Membership::Leave | Membership::Knock => Err(AuthError::NothingToLeave),
    }
}

/// [Rules 4.5.2 to 4.5.5](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): kicking, and lifting a ban,
/// which takes both levels.
fn check_kick<S: StateLookup + ?Sized>(sender: &UserId, target: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    if !room.is_joined(sender) {
        return Err(AuthError::SenderNotJoined);
    }
    let levels = room.power_levels()?;
    let action = if room.membership(target) == Membership::Ban {
        levels.require(sender, levels.ban(), || Action::Unban)?;
        Action::Unban
    } else {
        Action::Kick
    };
    levels.require(sender, levels.kick(), || action.clone())?;
    levels.require_above(sender, target, action)
}

/// [Rule 4.6](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_ban<S: StateLookup + ?Sized>(sender: &UserId, target: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    if !room.is_joined(sender) {
        return Err(AuthError::SenderNotJoined);
    }
    let levels = room.power_levels()?;
    levels.require(sender, levels.ban(), || Action::Ban)?;
    levels.require_above(sender, target, Action::Ban)
}

/// [Rule 4.7](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules), since version 7.
fn check_knock<S: StateLookup + ?Sized>(sender: &UserId, target: &UserId, room: &Room<'_, S>) -> Result<(), AuthError> {
    match room.join_rule() {
        JoinRule::Knock => {}
        JoinRule::KnockRestricted if room.rules().knock_restricted_join_rule => {}
        _ => return Err(AuthError::KnockingNotAllowed),
    }
    if sender != target {
        return Err(AuthError::KnockForOther);
    }
    match room.membership(sender) {
        Membership::Ban | Membership::Invite | Membership::Join => Err(AuthError::NoNeedToKnock),
        Membership::Leave | Membership::Knock => Ok(()),
    }
}
