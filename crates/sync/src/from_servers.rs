//! What other servers say of their users. [`Typing`](crate::typing::Typing), [`Receipts`](crate::receipts::Receipts) and
//! [`Presences`](crate::presence::Presences) each take the EDUs of their type. A server is believed only about its own users, and only
//! about rooms that they are in.

use homeserver_core::{RoomSn, UserSn};
use ruma::{RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{Database, Interned, Membership, StorageError};

/// How JSON writes the character that PostgreSQL does not store, nor looks for.
const NUL: &str = r"\u0000";

/// The contents of the form `T`, in their order. Others are left out.
pub(crate) fn readable<'a, T: Deserialize<'a>>(origin: &ServerName, contents: &'a [Box<RawValue>]) -> Vec<T> {
    let texts = contents.iter().map(|content| content.get()).filter(|text| !text.contains(NUL));
    let read = |text: &'a str| match serde_json::from_str(text) {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::debug!(%origin, %error, "the content of an EDU cannot be read");
            None
        }
    };
    texts.filter_map(read).collect()
}

/// The numbers of a room and of a user of `origin` who is in it; `None` if the user is of another server, or not in the room. While not all
/// members of the room are known, users who are not known count as in it if their server is.
pub(crate) async fn member(
    (database, interned): (&Database, &Interned),
    origin: &ServerName,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<Option<(RoomSn, UserSn)>, StorageError> {
    if user_id.server_name() != origin {
        return Ok(None);
    }
    let Some(room_sn) = interned.find_room(room_id.as_str()).await? else { return Ok(None) };
    let user_sn = interned.find_user(user_id.as_str()).await?;
    let place = match user_sn {
        Some(user_sn) => database.membership(room_sn, user_sn).await?,
        None => None,
    };
    if let Some((user_sn, place)) = user_sn.zip(place) {
        return Ok((place.membership == Membership::Join).then_some((room_sn, user_sn)));
    }
    if !database.rooms_told_of_server(origin.as_str()).await?.contains(&room_sn) {
        return Ok(None);
    }
    Ok(Some((room_sn, interned.user(user_id.as_str()).await?)))
}
