//! What a user has set for a room, in the room that replaced it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-17>

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
    let Some(Value::Object(mut tags)) = old.get("tags").cloned() else { return Ok(()) };
    let before = read(database, user_sn, Some(new_sn), "m.tag").await?.unwrap_or_default();
    let mut after = before.clone();
    // Whatever the user has said of the new room counts.
    if let Some(Value::Object(own)) = after.remove("tags") {
        tags.extend(own);
    }
    after.insert("tags".to_owned(), tags.into());
    write(database, user_sn, Some(new_sn), "m.tag", &before, after).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#mdirect>
async fn inherit_direct_chat(
    database: &Database,
    user_sn: UserSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<(), StorageError> {
    let Some(before) = read(database, user_sn, None, "m.direct").await? else { return Ok(()) };
    let mut after = before.clone();
    for rooms in after.values_mut().filter_map(Value::as_array_mut) {
        let has = |room_id: &RoomId| rooms.iter().any(|room| room == room_id.as_str());
        if has(old_room_id) && !has(new_room_id) {
            rooms.push(new_room_id.as_str().into());
        }
    }
    write(database, user_sn, None, "m.direct", &before, after).await
}

async fn read(
    database: &Database,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &str,
) -> Result<Option<Content>, StorageError> {
    let content = database.account_data(user_sn, room_sn, data_type).await?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// Writes what is not the same as before.
async fn write(
    database: &Database,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &str,
    before: &Content,
    after: Content,
) -> Result<(), StorageError> {
    if *before == after {
        return Ok(());
    }
    let content = Value::Object(after).to_string().into();
    database.set_account_data(user_sn, room_sn, data_type.to_owned(), content).await.map(drop)
}
