//! Rooms that this server is not in, as others tell of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, AskingError};
use homeserver_core::HeapSize;
use rooms::summaries::{RoomSummary, SpaceRoom};
use ruma::{OwnedRoomId, OwnedServerName, RoomId};
use tokio::time::Instant;

use super::Hierarchies;
use crate::requests::ToldHierarchy;

/// So many servers are asked for one room, one after the other.
pub(super) const MAX_SERVERS: usize = 3;
/// How long one of them may take.
const TIME_FOR_ONE: Duration = Duration::from_secs(10);
/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_mins(5);

/// A room and its children, as another server tells them to this one. Users may know of less.
#[derive(Debug)]
pub(super) struct RemoteHierarchy {
    pub(super) room: SpaceRoom,
    pub(super) children: HashMap<OwnedRoomId, RoomSummary>,
    pub(super) inaccessible: HashSet<OwnedRoomId>,
}

impl RemoteHierarchy {
    fn new(told: ToldHierarchy, suggested_only: bool) -> Self {
        let ToldHierarchy { mut room, children, inaccessible_children } = told;
        if !room.summary.is_space() {
            room.children.clear();
        }
        room.children.retain(|child| child.is_suggested || !suggested_only);
        room.children.sort_by(rooms::summaries::SpaceChild::compare);
        let named: HashSet<&RoomId> = room.children.iter().map(|child| &*child.room_id).collect();
        let children = children.into_iter().map(|child| (child.room.room_id.clone(), child));
        let children = children.filter(|(room_id, _)| named.contains(&**room_id)).collect();
        let inaccessible = inaccessible_children.into_iter().filter(|room_id| named.contains(&**room_id)).collect();
        Self { room, children, inaccessible }
    }
}

impl HeapSize for RemoteHierarchy {
    fn heap_bytes(&self) -> usize {
        self.room.heap_bytes() + self.children.heap_bytes() + self.inaccessible.heap_bytes()
    }
}

impl Hierarchies {
    /// What one of the servers tells of a room, now or a short while ago; `None` if none does now: by an invitation, or a join, a room
    /// becomes one that may be known.
    ///
    /// # Errors
    /// [`AskingError`] if they are asked too often.
    pub(super) async fn ask(
        &self,
        asker: Asker<'_>,
        (room_id, servers): (&RoomId, &[OwnedServerName]),
        suggested_only: bool,
        deadline: Instant,
    ) -> Result<Option<Arc<RemoteHierarchy>>, AskingError> {
        let mut asked: Vec<&OwnedServerName> = Vec::with_capacity(MAX_SERVERS);
        for server in servers {
            let is_other = *server != self.parts.identity.server_name;
            if is_other && asked.len() < MAX_SERVERS && !asked.contains(&server) {
                asked.push(server);
            }
        }
        // The key has the servers, too: what one server tells is not shown to users who have named other servers.
        let mut key = format!("{room_id} {suggested_only}");
        asked.iter().for_each(|server| key.extend([" ", server.as_str()]));
        if let Some(told) = self.told.get(&key) {
            return Ok(Some(told));
        }
        let told = self.ask_each(asker, room_id, &asked, suggested_only, deadline).await?.map(Arc::new);
        if let Some(told) = &told {
            self.told.insert_for(key, told.clone(), Some(BELIEVED));
        }
        Ok(told)
    }

    async fn ask_each(
        &self,
        asker: Asker<'_>,
        room_id: &RoomId,
        servers: &[&OwnedServerName],
        suggested_only: bool,
        deadline: Instant,
    ) -> Result<Option<RemoteHierarchy>, AskingError> {
        for server in servers {
            let _place = self.parts.shares.take_place(asker).await?;
            let deadline = deadline.min(Instant::now() + TIME_FOR_ONE);
            match self.parts.requests.hierarchy(server, room_id, suggested_only, deadline).await {
                Ok(told) => return Ok(Some(RemoteHierarchy::new(told, suggested_only))),
                Err(error) => tracing::debug!(%error, %room_id, %server, "a server did not tell of a room"),
            }
        }
        Ok(None)
    }
}
