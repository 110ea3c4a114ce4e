//! Rooms that name a replaced room as part of a space.

use std::sync::Arc;

use accounts::sessions::Requester;
use futures::{StreamExt, TryStreamExt, stream};
use homeserver_core::RoomSn;
use room_engine::{Membership, Pdu};
use ruma::{RoomId, ServerName};
use serde_json::{Value, json};
use storage::{Database, Interned};

use crate::member_content::{ContentMap, canonical};
use crate::wire;
use crate::{Draft, OpenRoom, RoomChange, RoomError, StagedChange, Timeline};

/// So many rooms are read at once.
const ROOMS_AT_ONCE: usize = 500;
/// The most links that are changed.
const MAX_LINKS: usize = 1_000;
/// So many rooms are changed at the same time.
const ROOM_CONCURRENCY: usize = 8;

/// Replaces a room by its new version in the spaces that name it, and in the rooms of a space: in rooms that the upgrader is
/// in and may change.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#spaces>
pub(super) struct Relinking<'a> {
    pub(super) database: &'a Database,
    pub(super) interned: &'a Arc<Interned>,
    pub(super) timeline: &'a Timeline,
    pub(super) server_name: &'a ServerName,
    pub(super) requester: &'a Requester,
    pub(super) old_room_id: &'a RoomId,
    pub(super) new_room_id: &'a RoomId,
}

/// A room with an event that names the old room.
struct Link {
    room_sn: RoomSn,
    event_type: &'static str,
}

impl Relinking<'_> {
    pub(super) async fn run(&self) -> Result<(), RoomError> {
        let changes = self.links().await?.into_iter().map(|link| self.relink(link));
        stream::iter(changes).buffer_unordered(ROOM_CONCURRENCY).try_collect().await
    }

    async fn links(&self) -> Result<Vec<Link>, RoomError> {
        let child = self.interned.event_type("m.space.child").await?;
        let parent = self.interned.event_type("m.space.parent").await?;
        let Some(key_sn) = self.interned.find_key(self.old_room_id.as_str()).await? else { return Ok(Vec::new()) };
        let rooms = self.database.rooms_of_user(self.requester.user_sn, Membership::Join).await?;
        let rooms: Vec<i64> = rooms.into_iter().map(|room_sn| room_sn.0).collect();
        let mut links = Vec::new();
        for rooms in rooms.chunks(ROOMS_AT_ONCE) {
            for (room_sn, type_sn, json) in
                self.database.state_json_of_rooms(rooms, &[child.0, parent.0], key_sn).await?
            {
                let content = wire::member(&json, "content").unwrap_or_default();
                if wire::member(content, "via").is_some() && links.len() < MAX_LINKS {
                    let event_type = if type_sn == child { "m.space.child" } else { "m.space.parent" };
                    links.push(Link { room_sn, event_type });
                }
            }
        }
        Ok(links)
    }

    async fn relink(&self, Link { room_sn, event_type }: Link) -> Result<(), RoomError> {
        match self.timeline.change(room_sn, &Relink { relinking: self, event_type }).await {
            Err(RoomError::Refused(reason)) => {
                tracing::debug!(%reason, %room_sn, event_type, "a link to a replaced room was left as it was");
                Ok(())
            }
            result => result,
        }
    }
}

/// Replaces the old room by the new one in one link.
struct Relink<'a> {
    relinking: &'a Relinking<'a>,
    event_type: &'static str,
}

impl RoomChange for Relink<'_> {
    type Answer = ();

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<()>, RoomError> {
        let Self { relinking: &Relinking { requester, old_room_id, new_room_id, server_name, .. }, event_type } = *self;
        let is_joined = room.membership(&requester.user_id).await? == Some(Membership::Join);
        let old = room.state(event_type, old_room_id.as_str()).await?;
        let Some(mut link) = old.as_ref().and_then(link_of).filter(|_| is_joined) else { return Ok(((), None)) };
        if room.state(event_type, new_room_id.as_str()).await?.as_ref().and_then(link_of).is_none() {
            // Only this server is in the new room yet.
            link.insert("via".to_owned(), json!([server_name]));
            let draft = Draft::state(event_type, new_room_id.as_str(), canonical(&link)?);
            room.stage(requester.user_sn, &requester.user_id, &draft).await?;
        }
        let draft = Draft::state(event_type, old_room_id.as_str(), canonical(&ContentMap::new())?);
        room.stage(requester.user_sn, &requester.user_id, &draft).await?;
        Ok(((), None))
    }
}

/// The content of a link to another room, unless the link was withdrawn.
fn link_of(event: &Pdu) -> Option<ContentMap> {
    let content = wire::values(event.content().as_bytes());
    content.get("via").is_some_and(Value::is_array).then_some(content)
}
