//! Copying a user's settings of a room to the room that replaced it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-17>

use accounts::push_rules;
use bytes::Bytes;
use homeserver_core::{RoomSn, UserSn};
use room_engine::{Pdu, string_value};
use ruma::{OwnedRoomId, RoomId};
use serde_json::Value;
use storage::{Database, Interned, KnownState, RoomStates, StorageError, Tx};

use super::RoomError;
use super::member_content::ContentMap;
use super::membership::{Memberships, ReportProgress};
use crate::wire;

/// The type of account data of a room's tags.
const TAGS: &str = "m.tag";
/// The type of account data that names direct chats.
const DIRECT_CHATS: &str = "m.direct";
/// The most positions in the log that one user's settings take: tags, direct chats, push rules.
const MAX_CHANGES: i64 = 3;

/// The progress is reported after so many members.
const REPORT_EVERY: usize = 100;

impl Memberships {
    /// Copies the settings of a room for the users who were in the new room before it replaced the old one. It may run again.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if the settings cannot be read or written.
    pub async fn inherit_all(
        &self,
        old_room_id: &RoomId,
        new_room_id: &RoomId,
        progress: &impl ReportProgress,
    ) -> Result<(), RoomError> {
        let Some(new_sn) = self.interned.find_room(new_room_id.as_str()).await? else { return Ok(()) };
        // A tombstone may name any room. Only a room that also names the old one gets its settings.
        let state = self.timeline.states().of(new_sn);
        if !replaces(&self.database, &self.interned, &state, old_room_id).await? {
            return Ok(());
        }
        let members = self.database.local_members(new_sn).await?;
        for (done, user_sn) in members.iter().enumerate() {
            if done % REPORT_EVERY == 0 {
                progress.report(done, members.len()).await;
            }
            self.inherit(*user_sn, old_room_id, new_room_id).await?;
        }
        Ok(())
    }

    pub(super) async fn inherit(
        &self,
        user_sn: UserSn,
        old_room_id: &RoomId,
        new_room_id: &RoomId,
    ) -> Result<(), StorageError> {
        inherit(&self.database, &self.interned, self.timeline.states(), user_sn, old_room_id, new_room_id).await
    }
}

/// The room that the room with this create event replaces.
pub(super) fn predecessor_of(create: &Pdu) -> Option<OwnedRoomId> {
    let predecessor = create.content().value("predecessor")?;
    let room_id = wire::member(predecessor, "room_id").and_then(string_value)?;
    RoomId::parse(&*room_id).ok()
}

/// Copies a user's tags and push rules of a room to the room that replaced it, and its place among the direct chats, in one
/// transaction. Copies nothing if the user was never in the old room, or its tombstone does not name the new one.
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
    if !has_settings(database, user_sn, old_sn, old_room_id, new_room_id).await? {
        // Most users have no settings, and need no write.
        return Ok(());
    }
    let (old_room_id, new_room_id) = (old_room_id.to_owned(), new_room_id.to_owned());
    let inherited = database.write(async move |tx| {
        // This takes the lock of the log before anything is read, so that another node's write is read whole.
        tx.reserve_positions(MAX_CHANGES).await?;
        inherit_tags(tx, user_sn, old_sn, new_sn).await?;
        inherit_direct_chat(tx, user_sn, &old_room_id, &new_room_id).await?;
        push_rules::follow_upgrade(tx, user_sn, &old_room_id, &new_room_id).await
    });
    inherited.await
}

/// Whether there may be settings to copy.
async fn has_settings(
    database: &Database,
    user_sn: UserSn,
    old_sn: RoomSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<bool, StorageError> {
    if database.account_data(user_sn, Some(old_sn), TAGS).await?.is_some() {
        return Ok(true);
    }
    let direct = database.account_data(user_sn, None, DIRECT_CHATS).await?;
    if direct.is_some_and(|content| has_direct_chat(&content, old_room_id)) {
        return Ok(true);
    }
    let rules = database.push_rules(user_sn).await?;
    Ok(push_rules::follows_upgrade(rules.as_ref(), old_room_id, new_room_id))
}

fn has_direct_chat(content: &Bytes, room_id: &RoomId) -> bool {
    let content = serde_json::from_slice::<ContentMap>(content).unwrap_or_default();
    content.values().filter_map(Value::as_array).flatten().any(|room| room == room_id.as_str())
}

/// Whether the room's create event names the other room as its predecessor.
async fn replaces(
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

/// Whether the room's tombstone names the other room as its replacement.
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
async fn inherit_tags(tx: &mut Tx, user_sn: UserSn, old_sn: RoomSn, new_sn: RoomSn) -> Result<(), StorageError> {
    let Some(old) = read(tx, user_sn, Some(old_sn), TAGS).await? else { return Ok(()) };
    let Some(Value::Object(mut tags)) = old.get("tags").cloned() else { return Ok(()) };
    let before = read(tx, user_sn, Some(new_sn), TAGS).await?.unwrap_or_default();
    let mut after = before.clone();
    // The user's own tags of the new room win.
    if let Some(Value::Object(own)) = after.remove("tags") {
        tags.extend(own);
    }
    after.insert("tags".to_owned(), tags.into());
    write(tx, user_sn, Some(new_sn), TAGS, &before, after).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#mdirect>
async fn inherit_direct_chat(
    tx: &mut Tx,
    user_sn: UserSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<(), StorageError> {
    let Some(before) = read(tx, user_sn, None, DIRECT_CHATS).await? else { return Ok(()) };
    let mut after = before.clone();
    for rooms in after.values_mut().filter_map(Value::as_array_mut) {
        let has = |room_id: &RoomId| rooms.iter().any(|room| room == room_id.as_str());
        if has(old_room_id) && !has(new_room_id) {
            rooms.push(new_room_id.as_str().into());
        }
    }
    write(tx, user_sn, None, DIRECT_CHATS, &before, after).await
}

async fn read(
    tx: &mut Tx,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &str,
) -> Result<Option<ContentMap>, StorageError> {
    let content = tx.account_data(user_sn, room_sn, data_type).await?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// Writes account data that has changed.
async fn write(
    tx: &mut Tx,
    user_sn: UserSn,
    room_sn: Option<RoomSn>,
    data_type: &str,
    before: &ContentMap,
    after: ContentMap,
) -> Result<(), StorageError> {
    if *before == after {
        return Ok(());
    }
    let content = Value::Object(after).to_string().into();
    tx.set_account_data(user_sn, room_sn, data_type, &content).await.map(drop)
}
