//! The content of member events.

use accounts::profiles::MemberProfile;
use room_engine::{CanonicalObject, Membership, Numbers, Pdu};
use serde_json::{Map, Value};

use super::RoomError;
use crate::wire;

/// The content of an event, before it is made canonical.
pub type ContentMap = Map<String, Value>;

/// The key that names the user who authorised the join of a restricted room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>
pub(super) const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

/// The canonical form of an event's content.
///
/// # Errors
/// [`RoomError::Event`] if events cannot hold it.
pub(super) fn canonical(content: &ContentMap) -> Result<CanonicalObject, RoomError> {
    Ok(CanonicalObject::from_serialize(content, Numbers::Strict)?)
}

/// Adds the fields of a profile that the content of a member event does not have.
pub(super) fn fill_profile(content: &mut ContentMap, profile: &MemberProfile) {
    for (key, value) in entries(profile) {
        if let (Some(value), false) = (value, content.contains_key(key)) {
            content.insert(key.to_owned(), value.into());
        }
    }
}

/// Replaces the profile in the content of a member event, or one field of it.
pub(super) fn replace_profile(content: &mut ContentMap, profile: &MemberProfile, field: Option<&str>) {
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

/// Whether a member event with `content` would change nothing.
pub(super) fn says_the_same(current: &Pdu, membership: Membership, content: &ContentMap) -> bool {
    let current = wire::values(current.content().as_bytes());
    if membership != Membership::Join {
        return current == *content;
    }
    // The reason of a join and the user who authorised it stay while the user is in the room.
    let of_joining = |key: &str| matches!(key, "reason" | AUTHORISED_VIA);
    let lasting = |content: &ContentMap| content.iter().filter(|(key, _)| !of_joining(key)).count();
    lasting(&current) == lasting(content)
        && content.iter().filter(|(key, _)| !of_joining(key)).all(|(key, value)| current.get(key) == Some(value))
}
