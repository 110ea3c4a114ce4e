//! Events, and what came before them.

use std::collections::HashSet;

use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use storage::Standing;

use super::graph::WalkBack;
use super::{Serving, no_such_event};
use crate::RoomError;

/// The most events of one answer to a request for history.
const MAX_BACKFILLED: usize = 100;
/// The most events of one answer to a request for missing events.
const MAX_MISSING: usize = 20;
/// The most events that a request names.
const MAX_NAMED: usize = 50;

/// A request for the events between others.
#[derive(Clone, Debug)]
pub struct MissingEvents {
    /// The events that the server has, before which it wants none.
    pub earliest: Vec<OwnedEventId>,
    /// The events whose predecessors it wants.
    pub latest: Vec<OwnedEventId>,
    /// The most events.
    pub limit: usize,
    /// The least depth.
    pub min_depth: i64,
}

impl Serving {
    /// One event: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if it is not known here, [`RoomError::Forbidden`] if the server is not in its room.
    pub async fn event(&self, server: &ServerName, event_id: &EventId) -> Result<Vec<u8>, RoomError> {
        let found = self.database.graph_event(event_id.as_str()).await?;
        let event = found.filter(|event| event.standing != Standing::Rejected).ok_or_else(no_such_event)?;
        let room_id = self.interned.room_id(event.stored.room_sn).await?;
        let room_id = <&RoomId>::try_from(&*room_id).map_err(|_| no_such_event())?;
        let served = self.open(server, room_id).await?;
        self.transaction(&served, &[event]).await
    }

    /// Events and those before them, the newest first: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the server is not in the room.
    pub async fn backfill(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        let from = from.get(..MAX_NAMED).unwrap_or(from);
        let limit = limit.min(MAX_BACKFILLED);
        let mut walk = WalkBack::from(&self.database, &served.room, from, limit).await?;
        let events = walk.collect(limit, |_| true).await?;
        self.transaction(&served, &events).await
    }

    /// The events between others, the oldest first: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the server is not in the room.
    pub async fn missing_events(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        request: &MissingEvents,
    ) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        let latest = request.latest.get(..MAX_NAMED).unwrap_or(&request.latest);
        let earliest: HashSet<&EventId> = request.earliest.iter().take(MAX_NAMED).map(AsRef::as_ref).collect();
        let limit = request.limit.min(MAX_MISSING);
        let mut walk = WalkBack::from(&self.database, &served.room, latest, limit).await?;
        let mut first = Vec::with_capacity(latest.len());
        while let Some(visited) = walk.next()? {
            first.push(visited);
        }
        for visited in &first {
            walk.follow(visited).await?;
        }
        let is_wanted = |visited: &super::graph::Visited| {
            visited.pdu.depth() >= request.min_depth && !earliest.contains(visited.pdu.event_id())
        };
        let mut events = walk.collect(limit, is_wanted).await?;
        events.reverse();
        let mut out = b"{\"events\":".to_vec();
        self.write_seen(&mut out, &served, &events).await?;
        out.push(b'}');
        Ok(out)
    }
}
