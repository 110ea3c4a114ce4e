//! The content of member events.

use accounts::profiles::MemberProfile;
use room_engine::{CanonicalObject, Membership, Numbers, Pdu};
use serde_json::{Map, Value};

use super::RoomError;
use crate::wire;

/// A JSON object on its way to become the content of an event.
pub type Content = Map<String, Value>;

/// The key that names who vouched for a user who joined a restricted room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>
pub(super) const VOUCHER: &str = "join_authorised_via_users_server";

/// The canonical form of an event's content.
///
/// # Errors
/// [`RoomError::Event`] if events cannot hold it.
pub(super) fn canonical(content: &Content) -> Result<CanonicalObject, RoomError> {
    Ok(CanonicalObject::from_serialize(content, Numbers::Strict)?)
}

/// Adds a profile to the content of a member event that does not have one of its own.
pub(super) fn fill_profile(content: &mut Content, profile: &MemberProfile) {
    for (key, value) in entries(profile) {
        if let (Some(value), false) = (value, content.contains_key(key)) {
            content.insert(key.to_owned(), value.into());
        }
    }
}

/// Puts a profile, or one field of it, in place of what the content of a member event has.
pub(super) fn replace_profile(content: &mut Content, profile: &MemberProfile, field: Option<&str>) {
    for (key, value) in entries(profile).into_iter().filter(|(key, _)| field.is_none_or(|field| field == *key)) {
        match value {
            Some(value) => content.insert(key.to_owned(), value.into()),
            None => content.remove(key),
        };
    }
}

fn entries(profile: &MemberProfile) -> [(&'static str, Option<&str>); 2] {
    [("displayname", profile.display_name.as_deref()), ("avatar_url", profile.avatar_url.as_deref())]
}

/// Whether a member event with `content` would say nothing that `current` does not say.
pub(super) fn says_the_same(current: &Pdu, membership: Membership, content: &Content) -> bool {
    let current = wire::values(current.content().as_bytes());
    if membership != Membership::Join {
        return current == *content;
    }
    // Why and by whose help somebody joined does not change while they are in the room.
    let of_joining = |key: &str| matches!(key, "reason" | VOUCHER);
    let lasting = |content: &Content| content.iter().filter(|(key, _)| !of_joining(key)).count();
    lasting(&current) == lasting(content)
        && content.iter().filter(|(key, _)| !of_joining(key)).all(|(key, value)| current.get(key) == Some(value))
}
