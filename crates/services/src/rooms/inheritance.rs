//! What a user has set for a room, in the room that replaced it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-17>

use bytes::Bytes;
use homeserver_core::{RoomSn, UserSn};
use room_engine::{Pdu, string_value};
use ruma::{OwnedRoomId, RoomId};
use serde_json::Value;
use storage::{Database, Interned, KnownState, RoomStates, StorageError};

use super::member_content::Content;
use crate::{push_rules, wire};

/// The room that the room with this create event replaces.
pub(super) fn predecessor_of(create: &Pdu) -> Option<OwnedRoomId> {
    let predecessor = create.content().value("predecessor")?;
    let room_id = wire::member(predecessor, "room_id").and_then(string_value)?;
    RoomId::parse(&*room_id).ok()
}

/// Gives a user's tags and push rules of a room to the room that replaced it, and has it be a direct chat where the other one is.
/// Nothing happens if the user was never in the old room, or the old room does not send people to the new one.
pub(super) async fn inherit(
    database: &Database,
    interned: &Interned,
    states: &RoomStates,
    user_sn: UserSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<(), StorageError> {
    let Some(old_sn) = interned.find_room(old_room_id.as_str()).await? else { return Ok(()) };
    let Some(new_sn) = interned.find_room(new_room_id.as_str()).await? else { return Ok(()) };
    let was_there = database.membership(old_sn, user_sn).await?.is_some();
    if !was_there || !is_replaced_by(database, interned, &states.of(old_sn), new_room_id).await? {
        return Ok(());
    }
    inherit_tags(database, user_sn, old_sn, new_sn).await?;
    inherit_direct_chat(database, user_sn, old_room_id, new_room_id).await?;
    push_rules::follow_upgrade(database, user_sn, old_room_id, new_room_id).await
}

/// Whether the room says that it replaces the other one. Any room can claim to be replaced by it.
pub(super) async fn replaces(
    database: &Database,
    interned: &Interned,
    state: &KnownState,
    old_room_id: &RoomId,
) -> Result<bool, StorageError> {
    let type_sn = interned.event_type("m.room.create").await?;
    let key_sn = interned.state_key("").await?;
    let Some(create) = database.state_event(state, type_sn, key_sn).await? else { return Ok(false) };
    let content = wire::member(&create.client_json, "content").unwrap_or_default();
    let predecessor = wire::member(content, "predecessor").unwrap_or_default();
    let named = wire::member(predecessor, "room_id").and_then(string_value);
    Ok(named.is_some_and(|named| named == old_room_id.as_str()))
}

/// Whether a room's tombstone names another room. Any room can claim to replace it.
async fn is_replaced_by(
    database: &Database,
    interned: &Interned,
    state: &KnownState,
    by: &RoomId,
) -> Result<bool, StorageError> {
    let type_sn = interned.event_type("m.room.tombstone").await?;
    let key_sn = interned.state_key("").await?;
    let Some(tombstone) = database.state_event(state, type_sn, key_sn).await? else { return Ok(false) };
    let content = wire::member(&tombstone.client_json, "content").unwrap_or_default();
    let named = wire::member(content, "replacement_room").and_then(string_value);
    Ok(named.is_some_and(|named| named == by.as_str()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>
async fn inherit_tags(
    database: &Database,
    user_sn: UserSn,
    old_sn: RoomSn,
    new_sn: RoomSn,
) -> Result<(), StorageError> {
    let Some(old) = read(database, user_sn, Some(old_sn), "m.tag").await? else { return Ok(()) };
    let Some(Value::Object(tags)) = old.get("tags").cloned() else { return Ok(()) };
    change(database, user_sn, Some(new_sn), "m.tag", move |before| {
        let mut after = before.cloned().unwrap_or_default();
        let mut tags = tags.clone();
        // What the user has said of the new room counts.
        if let Some(Value::Object(own)) = after.remove("tags") {
            tags.extend(own);
        }
        after.insert("tags".to_owned(), tags.into());
        Some(after)
    })
    .await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#mdirect>
async fn inherit_direct_chat(
    database: &Database,
    user_sn: UserSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<(), StorageError> {
    let (old_room_id, new_room_id) = (old_room_id.to_owned(), new_room_id.to_owned());
    let inherited = move |before: Option<&Content>| {
        let mut after = before?.clone();
        for rooms in after.values_mut().filter_map(Value::as_array_mut) {
            let has = |room_id: &RoomId| rooms.iter().any(|room| room == room_id.as_str());
            if has(&old_room_id) && !has(&new_room_id) {
                rooms.push(new_room_id.as_str().into());
            }
        }
        Some(after)
    };
    // Most users have nothing to inherit, and need no write.
    let before = read(database, user_sn, None, "m.direct").await?;
    if inherited(before.as_ref()) == before {
        return Ok(());
    }
    change(database, user_sn, None, "m.direct", inherited).await
}

async fn read(
    database: &Database,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &str,
) -> Result<Option<Content>, StorageError> {
    Ok(parse(database.account_data(user_sn, room_sn, data_type).await?))
}

fn parse(content: Option<Bytes>) -> Option<Content> {
    content.and_then(|content| serde_json::from_slice(&content).ok())
}

/// Writes what is not the same as before. Between reading and writing nobody else writes.
async fn change(
    database: &Database,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &'static str,
    change: impl Fn(Option<&Content>) -> Option<Content> + Send + Sync + 'static,
) -> Result<(), StorageError> {
    let change = move |before| {
        let before = parse(before);
        let after = change(before.as_ref()).filter(|after| before.as_ref() != Some(after))?;
        Some(Value::Object(after).to_string().into())
    };
    database.change_account_data(user_sn, room_sn, data_type, change).await
}
