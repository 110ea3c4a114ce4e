//! Rooms as they are summarised for people and servers that are not in them, and the children of spaces.
//!
//! [`Summaries`] reads those of the rooms that this server is in, many at once, and says of each whether who asks may know of it. What other
//! servers tell of their rooms has the same form.

mod access;
mod child;

use std::collections::HashMap;
use std::sync::Arc;

use event_log::RoomServers;
use homeserver_core::{HeapSize, RoomSn, TypeSn, allocation_bytes};
use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Database, Interned, Membership, SummarisedRoom};

pub use self::access::Viewer;
pub use self::child::SpaceChild;
use crate::shown_state::ShownState;
use crate::{PublicRoom, RoomError};

/// The type of rooms that have children.
pub const SPACE: &str = "m.space";
/// The most children of a space.
const MAX_CHILDREN: i64 = 10_000;
/// So many rooms of a restricted room's rule are told and looked at.
const MAX_ALLOWED_ROOMS: usize = 100;

/// What is told of a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct RoomSummary {
    /// What the directory tells too.
    #[serde(flatten)]
    pub room: PublicRoom,
    /// Of a restricted room, the rooms whose members may join it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_room_ids: Option<Vec<OwnedRoomId>>,
    /// The algorithm by which messages are encrypted, if they are.
    #[serde(default, alias = "im.nheko.summary.encryption", skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The version of the room.
    #[serde(default, alias = "im.nheko.summary.room_version", skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
}

/// A room in a hierarchy of spaces.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct SpaceRoom {
    /// What is told of it.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// The children of a space, in order.
    #[serde(default, rename = "children_state", deserialize_with = "child::told_children")]
    pub children: Vec<SpaceChild>,
}

/// A room that this server is in.
#[derive(Debug)]
pub struct KnownRoom {
    /// The room.
    pub room: SpaceRoom,
    /// Whether who asks may know of it.
    pub is_accessible: bool,
}

/// Summaries of rooms that this server is in.
pub struct Summaries {
    database: Database,
    interned: Arc<Interned>,
    room_servers: Arc<RoomServers>,
}

impl RoomSummary {
    /// Whether the room is one that has children.
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.room.room_type.as_deref() == Some(SPACE)
    }

    fn new(found: &SummarisedRoom, room_id: OwnedRoomId, shown: &ShownState) -> Self {
        let mut room = PublicRoom::new(room_id, found.joined_count, shown);
        // A room without a rule is not public, which is what others would think.
        let join_rule = room.join_rule.get_or_insert_with(|| "invite".to_owned());
        let is_restricted = matches!(join_rule.as_str(), "restricted" | "knock_restricted");
        let allowed_room_ids = is_restricted.then(|| allowed_rooms(shown.value("m.room.join_rules", "allow")));
        let encryption = shown.text("m.room.encryption", "algorithm").map(str::to_owned);
        Self { room, allowed_room_ids, encryption, room_version: Some(found.room_version.to_string()) }
    }
}

impl Summaries {
    /// Summaries of the rooms in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, room_servers: Arc<RoomServers>) -> Self {
        Self { database, interned, room_servers }
    }

    /// Those of some rooms that this server is in. Of a space, only the children that are suggested if `suggested_only` is set.
    ///
    /// # Errors
    /// [`RoomError::Storage`].
    #[tracing::instrument(name = "summarise_rooms", level = "debug", skip_all)]
    pub async fn of(
        &self,
        rooms: &[OwnedRoomId],
        viewer: Viewer<'_>,
        suggested_only: bool,
    ) -> Result<HashMap<OwnedRoomId, KnownRoom>, RoomError> {
        let room_ids: Vec<String> = rooms.iter().map(ToString::to_string).collect();
        let found = self.database.summarised_rooms(&room_ids).await?;
        let numbers: Vec<i64> = found.iter().map(|room| room.room_sn.0).collect();
        let mut shown = ShownState::of_rooms(&self.database, &self.interned, &numbers).await?;
        let mut summaries = Vec::with_capacity(found.len());
        for room in &found {
            let Ok(room_id) = RoomId::parse(&*room.room_id) else { continue };
            let shown = shown.remove(&room.room_sn).unwrap_or_default();
            summaries.push((room.room_sn, RoomSummary::new(room, room_id, &shown)));
        }
        let spaces = summaries.iter().filter(|(_, summary)| summary.is_space());
        let spaces: Vec<i64> = spaces.map(|(room_sn, _)| room_sn.0).collect();
        let mut children = self.children(&spaces, suggested_only).await?;
        let accessible = self.accessible(&summaries, viewer).await?;
        let known = summaries.into_iter().map(|(room_sn, summary)| {
            let children = children.remove(&room_sn).unwrap_or_default();
            let room_id = summary.room.room_id.clone();
            let is_accessible = accessible.contains(&room_sn);
            (room_id, KnownRoom { room: SpaceRoom { summary, children }, is_accessible })
        });
        Ok(known.collect())
    }

    /// What a user is to a room, wherever it is.
    ///
    /// # Errors
    /// [`RoomError::Storage`].
    pub async fn membership(&self, viewer: Viewer<'_>, room_id: &RoomId) -> Result<Option<Membership>, RoomError> {
        let Viewer::User(user_sn) = viewer else { return Ok(None) };
        let Some(room_sn) = self.interned.find_room(room_id.as_str()).await? else { return Ok(None) };
        Ok(self.database.membership(room_sn, user_sn).await?.map(|found| found.membership))
    }

    /// The children of spaces, in order.
    async fn children(
        &self,
        spaces: &[i64],
        suggested_only: bool,
    ) -> Result<HashMap<RoomSn, Vec<SpaceChild>>, RoomError> {
        let mut children: HashMap<RoomSn, Vec<SpaceChild>> = HashMap::new();
        let child_type: Option<TypeSn> = self.interned.find_type("m.space.child").await?;
        let Some(child_type) = child_type.filter(|_| !spaces.is_empty()) else { return Ok(children) };
        for (room_sn, json) in self.database.state_json_of_type(spaces, child_type, MAX_CHILDREN).await? {
            let child = SpaceChild::of(&json).filter(|child| child.is_suggested || !suggested_only);
            children.entry(room_sn).or_default().extend(child);
        }
        children.values_mut().for_each(|children| children.sort_by(SpaceChild::compare));
        Ok(children)
    }
}

fn allowed_rooms(allow: Option<&Value>) -> Vec<OwnedRoomId> {
    let conditions = allow.and_then(Value::as_array).into_iter().flatten();
    let rooms = conditions.filter_map(|condition| {
        let is_membership = condition.get("type")?.as_str()? == "m.room_membership";
        RoomId::parse(condition.get("room_id")?.as_str()?).ok().filter(|_| is_membership)
    });
    rooms.take(MAX_ALLOWED_ROOMS).collect()
}

impl HeapSize for RoomSummary {
    fn heap_bytes(&self) -> usize {
        let PublicRoom { room_id, name, topic, avatar_url, canonical_alias, join_rule, room_type, .. } = &self.room;
        let texts =
            [name, topic, avatar_url, canonical_alias, join_rule, room_type, &self.encryption, &self.room_version];
        let texts: usize = texts.into_iter().map(HeapSize::heap_bytes).sum();
        let allowed = self.allowed_room_ids.iter().flatten();
        let allowed: usize = allowed.map(|room| size_of::<OwnedRoomId>() + allocation_bytes(room.as_str().len())).sum();
        allocation_bytes(room_id.as_str().len()) + texts + allowed
    }
}

impl HeapSize for SpaceRoom {
    fn heap_bytes(&self) -> usize {
        self.summary.heap_bytes() + self.children.heap_bytes()
    }
}
