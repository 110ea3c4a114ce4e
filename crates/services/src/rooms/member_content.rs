//! The content of member events.

use homeserver_core::UserSn;
use room_engine::{CanonicalObject, Membership, Numbers, Pdu};
use serde_json::{Map, Value};
use storage::Database;

use super::RoomError;

/// A JSON object on its way to become the content of an event.
pub type Content = Map<String, Value>;

/// The canonical form of an event's content.
///
/// # Errors
/// [`RoomError::Event`] if events cannot hold it.
pub(super) fn canonical(content: &Content) -> Result<CanonicalObject, RoomError> {
    Ok(CanonicalObject::from_serialize(content, Numbers::Strict)?)
}

/// The part of a user's profile that member events carry.
#[derive(Clone, Default, Debug)]
pub(super) struct MemberProfile {
    displayname: Option<Value>,
    avatar_url: Option<Value>,
}

impl MemberProfile {
    /// Reads the profile of a user of this server; it is empty for others.
    pub(super) async fn load(database: &Database, user_sn: UserSn) -> Result<Self, RoomError> {
        let mut profile = Self::default();
        for (field, value) in database.profile(user_sn).await? {
            let place = match field.as_str() {
                "displayname" => &mut profile.displayname,
                "avatar_url" => &mut profile.avatar_url,
                _ => continue,
            };
            *place = serde_json::from_str(&value).ok().filter(Value::is_string);
        }
        Ok(profile)
    }

    pub(super) fn new(displayname: Option<&str>, avatar_url: Option<&str>) -> Self {
        Self { displayname: displayname.map(Value::from), avatar_url: avatar_url.map(Value::from) }
    }

    /// Adds the profile, where the content does not have one of its own.
    pub(super) fn fill(&self, content: &mut Content) {
        for (key, value) in self.entries() {
            if let (Some(value), false) = (value, content.contains_key(key)) {
                content.insert(key.to_owned(), value.clone());
            }
        }
    }

    /// Puts the profile in place of the one that the content has.
    pub(super) fn replace(&self, content: &mut Content) {
        for (key, value) in self.entries() {
            match value {
                Some(value) => content.insert(key.to_owned(), value.clone()),
                None => content.remove(key),
            };
        }
    }

    fn entries(&self) -> [(&'static str, &Option<Value>); 2] {
        [("displayname", &self.displayname), ("avatar_url", &self.avatar_url)]
    }
}

/// Whether a member event with `content` would say nothing that `current` does not say.
pub(super) fn says_the_same(current: &Pdu, membership: Membership, content: &Content) -> bool {
    let Ok(current) = serde_json::from_slice::<Content>(current.content().as_bytes()) else { return false };
    if membership != Membership::Join {
        return current == *content;
    }
    // Why and by whose help somebody joined does not change while they are in the room.
    let of_joining = |key: &str| matches!(key, "reason" | "join_authorised_via_users_server");
    let lasting = |content: &Content| content.iter().filter(|(key, _)| !of_joining(key)).count();
    lasting(&current) == lasting(content)
        && content.iter().filter(|(key, _)| !of_joining(key)).all(|(key, value)| current.get(key) == Some(value))
}
