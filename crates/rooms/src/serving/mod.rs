//! What other servers may read of the rooms that they are in.
//!
//! [`Serving`] answers their requests: events, what came before events, and the state of rooms. A server is answered while one
//! of its users is in the room. Events that the room's history visibility hides from all users of the server are redacted.

mod auth_chain;
mod graph;
mod history;
mod state;
mod timestamp;
mod visibility;

use std::sync::Arc;

use homeserver_core::{Clock, Identity};
use room_engine::RoomVersion;
use ruma::{OwnedServerName, RoomId, ServerName};
use storage::{Database, GraphEvent, Interned, RoomStates};
use tasks::limits::Limit;

pub use self::history::MissingEvents;
pub(crate) use self::timestamp::LOOKED_AT;
pub use self::timestamp::{TimeDirection, answer_at_time, none_at_time};
use crate::resolving::RoomIdentity;
use crate::wire::{push_number, push_string};
use crate::{RoomError, Timeline};

/// Reads rooms for other servers.
pub struct Serving {
    database: Database,
    interned: Arc<Interned>,
    states: Arc<RoomStates>,
    timeline: Arc<Timeline>,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    whole_states: Arc<Limit>,
}

/// A room, as a server that is in it reads it.
struct ServedRoom {
    room: RoomIdentity,
    server: OwnedServerName,
}

impl Serving {
    /// The rooms in `database`. `whole_states` limits how many states are read at once.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        states: Arc<RoomStates>,
        timeline: Arc<Timeline>,
        identity: Arc<Identity>,
        clock: Arc<dyn Clock>,
        whole_states: Arc<Limit>,
    ) -> Self {
        Self { database, interned, states, timeline, identity, clock, whole_states }
    }

    /// Admits servers that are in the room and that its list does not keep out.
    async fn open(&self, server: &ServerName, room_id: &RoomId) -> Result<ServedRoom, RoomError> {
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or_else(not_in_room)?;
        let head = self.database.room_head(room_sn).await?.ok_or_else(not_in_room)?;
        let version: RoomVersion = head.room_version.parse()?;
        let is_in_room = self.database.is_server_in_room(room_sn, server.as_str()).await?
            // Its members may not be known yet.
            || self.database.rooms_told_of_server(server.as_str()).await?.contains(&room_sn);
        if !is_in_room {
            return Err(not_in_room());
        }
        if !self.timeline.admits_server(room_sn, server).await? {
            return Err(RoomError::Forbidden("The room does not let your server take part.".to_owned()));
        }
        let room = RoomIdentity { room_sn, room_id: room_id.to_owned(), version };
        Ok(ServedRoom { room, server: server.to_owned() })
    }

    /// The answer that is a list of events: those as the server sees them.
    async fn transaction(&self, served: &ServedRoom, events: &[GraphEvent]) -> Result<Vec<u8>, RoomError> {
        let mut out = Vec::with_capacity(events.len() * 1024 + 128);
        out.extend_from_slice(b"{\"origin\":");
        push_string(&mut out, self.identity.server_name.as_str());
        out.extend_from_slice(b",\"origin_server_ts\":");
        push_number(&mut out, self.clock.now().0);
        out.extend_from_slice(b",\"pdus\":");
        self.write_seen(&mut out, served, events).await?;
        out.push(b'}');
        Ok(out)
    }
}

fn not_in_room() -> RoomError {
    RoomError::Forbidden("Your server is not in this room.".to_owned())
}

fn no_such_event() -> RoomError {
    RoomError::NotFound("There is no such event in this room.".to_owned())
}
